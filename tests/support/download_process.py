"""A server of endless downloads, run as a process of its own: ``python -I -S -c SOURCE ADDRESS``.

It writes its port to stdout when it listens, and ends at the end of its stdin. Each connection is
sent the numbers 0, 1, 2, … in eight bytes each for as long as the client reads, so that a byte
lost, repeated or out of order shows.
"""

from __future__ import annotations

import contextlib
import socket
import struct
import sys
import threading

BLOCK = 8192


def main() -> None:
    address = sys.argv[1]
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    listener = socket.create_server((address, 0), family=family)
    threading.Thread(target=accept, args=(listener,), daemon=True).start()
    print(listener.getsockname()[1], flush=True)
    sys.stdin.read()


def accept(listener: socket.socket) -> None:
    while True:
        connection, _ = listener.accept()
        threading.Thread(target=send_numbers, args=(connection,), daemon=True).start()


def send_numbers(connection: socket.socket) -> None:
    first = 0
    with connection, contextlib.suppress(ConnectionError):
        while True:
            connection.sendall(struct.pack(f"!{BLOCK}Q", *range(first, first + BLOCK)))
            first += BLOCK


main()
