"""A WSGI application on gunicorn for whole prefixes: ``gunicorn_server.py 192.0.2.0/24``.

This process makes the socket and becomes gunicorn, which takes the socket by its number. With the
socket goes the steering: it lasts as long as gunicorn or one of its workers does. What else is to
be said to gunicorn goes into ``GUNICORN_CMD_ARGS``. The prefixes are local to the machine already,
as by ``ip route add local 192.0.2.0/24 dev lo``.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from inet_lookup import listen


def app(
    environ: dict[str, Any], start_response: Callable[[str, list[tuple[str, str]]], object]
) -> Iterable[bytes]:
    """Answer with where the client connected to."""
    address, port = environ["gunicorn.socket"].getsockname()[:2]
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [f"{address} port {port}\n".encode()]


if __name__ == "__main__":
    listener = listen(sys.argv[1:] or "192.0.2.0/24", 80)
    listener.set_inheritable(True)
    here = Path(__file__)
    command = [sys.executable, "-m", "gunicorn", "--chdir", str(here.parent), "--workers", "2"]
    os.execv(sys.executable, [*command, "--bind", f"fd://{listener.fileno()}", f"{here.stem}:app"])
