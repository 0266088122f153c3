"""Listeners of this process, and which of them a connection or datagram reaches."""

from __future__ import annotations

import contextlib
import socket
from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field

from inet_lookup.net import Namespace

IPV6_V6ONLY = socket.IPV6_V6ONLY


@dataclass
class Listeners:
    """Named sockets that listen in a namespace."""

    namespace: Namespace
    _stack: ExitStack
    sockets: dict[str, socket.socket] = field(default_factory=dict)

    def __getitem__(self, name: str) -> socket.socket:
        return self.sockets[name]

    def add(
        self,
        name: str,
        address: str = "127.0.0.1",
        port: int = 0,
        *,
        udp: bool = False,
        reuseport: bool = False,
        v6only: bool | None = None,
        device: str | None = None,
    ) -> socket.socket:
        """Make a socket that listens, or receives."""
        made = self.namespace.run(_make, address, port, udp, reuseport, v6only, device)
        self.sockets[name] = self._stack.enter_context(made)
        return made

    def close(self, name: str) -> None:
        self.sockets.pop(name).close()

    def reached(self, port: int, address: str = "127.0.0.1", *, udp: bool = False) -> str:
        """The name of the one that a client in the namespace reaches, or ``refused``."""
        return self.namespace.run(_reach, self.sockets, address, port, udp)


@contextlib.contextmanager
def listeners_in(namespace: Namespace) -> Iterator[Listeners]:
    """Sockets in a namespace; they are closed at the end."""
    with ExitStack() as stack:
        yield Listeners(namespace, stack)


def _make(
    address: str, port: int, udp: bool, reuseport: bool, v6only: bool | None, device: str | None
) -> socket.socket:
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    made = socket.socket(family, socket.SOCK_DGRAM if udp else socket.SOCK_STREAM)
    with ExitStack() as on_failure:
        on_failure.enter_context(made)
        if not udp:
            made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if reuseport:
            made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        if v6only is not None:
            made.setsockopt(socket.IPPROTO_IPV6, IPV6_V6ONLY, v6only)
        if device is not None:
            made.setsockopt(socket.SOL_SOCKET, socket.SO_BINDTODEVICE, device.encode())
        made.bind((address, port))
        if not udp:
            made.listen()
        made.setblocking(False)
        on_failure.pop_all()
    return made


def _reach(sockets: Mapping[str, socket.socket], address: str, port: int, udp: bool) -> str:
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    with socket.socket(family, socket.SOCK_DGRAM if udp else socket.SOCK_STREAM) as client:
        client.settimeout(5)
        try:
            client.connect((address, port))
            if udp:
                client.send(b"hello")
                client.setblocking(False)
        except ConnectionRefusedError:
            return "refused"
        for name, each in sockets.items():
            if (each.type == socket.SOCK_DGRAM) != udp:
                continue
            with contextlib.suppress(BlockingIOError):
                if udp:
                    each.recv(100)
                else:
                    each.accept()[0].close()
                return name
        if udp:
            try:
                client.recv(1)
            except ConnectionRefusedError:
                return "refused"
            except BlockingIOError:
                return "dropped"
    raise AssertionError("somebody else took it")
