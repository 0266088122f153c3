"""``python -m inet_lookup.dispatch.compile``: compile the dispatcher into the package."""

from __future__ import annotations

from pathlib import Path

from .objects import compile_all

if __name__ == "__main__":
    for path in compile_all(Path(__file__).parent):
        print(path.name)
