"""``python -m inet_lookup``: the command ``inet-lookup``."""

from __future__ import annotations

import sys

from .cli import main

if __name__ == "__main__":
    sys.exit(main())
