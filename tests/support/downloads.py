"""A download that is read bit by bit, from a server in a process of its own."""

from __future__ import annotations

import contextlib
import socket
import struct
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from inet_lookup.net import Namespace, SocketSelector, TakenSocket, take_one

_SOURCE = (Path(__file__).parent / "download_process.py").read_text()
_RECEIVE_BUFFER = 32768


class Download:
    """A connection that is sent the numbers 0, 1, 2, … in eight bytes each."""

    def __init__(self, connection: socket.socket) -> None:
        self._connection = connection
        self._next = 0

    def read(self, count: int) -> None:
        """Read some more numbers, and see that they follow on those read before."""
        raw = bytearray()
        while len(raw) < 8 * count:
            more = self._connection.recv(8 * count - len(raw))
            if not more:
                raise ConnectionError(f"the download ended after {self._next} numbers")
            raw += more
        expected = struct.pack(f"!{count}Q", *range(self._next, self._next + count))
        assert raw == expected, f"the download broke after {self._next} numbers"
        self._next += count


@dataclass(frozen=True)
class DownloadServer:
    """A running server of downloads."""

    pid: int
    port: int

    def take(self) -> TakenSocket:
        """Take its listening socket; the caller closes the copy."""
        return take_one(SocketSelector(self.pid, "tcp", port=self.port))


@contextlib.contextmanager
def download_server(namespace: Namespace, address: str) -> Iterator[DownloadServer]:
    """Start a server of downloads on a port that the kernel picks, and end it afterwards."""
    process = namespace.popen(
        [sys.executable, "-I", "-S", "-c", _SOURCE, address],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    with process:
        try:
            yield DownloadServer(process.pid, int(process.stdout.readline()))
        finally:
            process.kill()


@contextlib.contextmanager
def download(namespace: Namespace, address: str, port: int) -> Iterator[Download]:
    """Open a download from a namespace."""
    with namespace.run(_connect, address, port) as connection:
        yield Download(connection)


def _connect(address: str, port: int) -> socket.socket:
    connection = socket.socket(socket.AF_INET6 if ":" in address else socket.AF_INET)
    try:
        # Small, so that what is read was not on its way already long before.
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _RECEIVE_BUFFER)
        connection.settimeout(5)
        connection.connect((address, port))
    except BaseException:
        connection.close()
        raise
    return connection
