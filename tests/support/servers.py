"""Echo servers in processes of their own, and clients that ask them who they are."""

from __future__ import annotations

import contextlib
import json
import selectors
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from inet_lookup.net.namespaces import Namespace

Protocol = Literal["tcp", "udp"]

_SOURCE = (Path(__file__).parent / "echo_process.py").read_text()
_START_SECONDS = 20


@dataclass(frozen=True)
class Answer:
    """What a server says about a request."""

    server: str
    """The name that the server was started with."""
    socket: int
    """Which of its sockets took the request, from 0."""
    local: tuple[str, int]
    """The destination as the server sees it: the one that the client asked, also when steered."""
    remote: tuple[str, int]
    data: str


@dataclass(frozen=True)
class BoundSocket:
    """A socket of a server."""

    address: str
    port: int
    fd: int
    """The descriptor's number in the server's process."""


@dataclass(frozen=True)
class EchoServer:
    """A running server."""

    name: str
    protocol: Protocol
    process: subprocess.Popen[Any]
    sockets: list[BoundSocket]

    @property
    def pid(self) -> int:
        return self.process.pid

    @property
    def address(self) -> str:
        return self.sockets[0].address

    @property
    def port(self) -> int:
        return self.sockets[0].port

    def kill(self) -> None:
        """End the server at once, its sockets with it."""
        self.process.kill()
        self.process.wait()


Start = Callable[..., EchoServer]
"""The type of the fixture ``echo_server``."""


@contextlib.contextmanager
def start(
    namespace: Namespace,
    protocol: Protocol,
    addresses: str | Sequence[str],
    port: int = 0,
    *,
    name: str = "server",
    sockets: int = 1,
    reuseport: bool | None = None,
    v6only: bool | None = None,
    freebind: bool = False,
    user: int | None = None,
    **options: Any,
) -> Iterator[EchoServer]:
    """Start an echo server in a namespace, wait until it is bound, and end it afterwards.

    :param addresses: one or more addresses to bind to.
    :param port: the port, or 0 for one that the kernel picks.
    :param sockets: how many sockets for each address; several make a reuseport group.
    :param reuseport: set SO_REUSEPORT; by default with several sockets.
    :param v6only: set or clear IPV6_V6ONLY; by default the system's default.
    :param freebind: allow addresses that no interface has, as a local prefix's IPv6 addresses.
    :param user: the uid and gid that the server takes once it is bound.
    :param options: further arguments of :class:`subprocess.Popen`.
    """
    configuration = {
        "protocol": protocol,
        "addresses": [addresses] if isinstance(addresses, str) else list(addresses),
        "port": port,
        "name": name,
        "sockets": sockets,
        "reuseport": sockets > 1 if reuseport is None else reuseport,
        "v6only": v6only,
        "freebind": freebind,
        "user": user,
    }
    process = namespace.popen(
        [sys.executable, "-I", "-S", "-c", _SOURCE, json.dumps(configuration)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        **options,
    )
    with process:
        try:
            yield EchoServer(name, protocol, process, _bound(process))
        finally:
            process.kill()


def ask(
    namespace: Namespace,
    protocol: Protocol,
    address: str,
    port: int,
    data: str = "hello",
    *,
    source: tuple[str, int] | None = None,
    timeout: float = 5.0,
) -> Answer:
    """Send a request from a namespace and return the answer.

    A UDP answer must come from the very address and port that was asked, as clients demand.

    :param source: the address and port to send from.
    :raises ConnectionRefusedError: nothing listens there.
    :raises TimeoutError: no answer.
    """
    return namespace.run(_ask, protocol, address, port, data, source, timeout)


def who_answers(namespace: Namespace, protocol: Protocol, address: str, port: int) -> str:
    """The name of the server that answers a request, or ``refused``."""
    try:
        return ask(namespace, protocol, address, port).server
    except ConnectionRefusedError:
        return "refused"


def _ask(
    protocol: Protocol,
    address: str,
    port: int,
    data: str,
    source: tuple[str, int] | None,
    timeout: float,
) -> Answer:
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    kind = socket.SOCK_STREAM if protocol == "tcp" else socket.SOCK_DGRAM
    with socket.socket(family, kind) as sock:
        sock.settimeout(timeout)
        if source:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            sock.bind(source)
        sock.connect((address, port))
        sock.sendall(data.encode() + (b"\n" if protocol == "tcp" else b""))
        received = sock.recv(65535)
        while protocol == "tcp" and not received.endswith(b"\n"):
            more = sock.recv(65535)
            if not more:
                raise ConnectionResetError(f"{address} port {port} closed before it answered")
            received += more
    answer = json.loads(received)
    return Answer(
        server=answer["server"],
        socket=answer["socket"],
        local=tuple(answer["local"]),
        remote=tuple(answer["remote"]),
        data=answer["data"],
    )


def _bound(process: subprocess.Popen[Any]) -> list[BoundSocket]:
    assert process.stdout is not None
    with selectors.DefaultSelector() as selector:
        selector.register(process.stdout, selectors.EVENT_READ)
        if not selector.select(_START_SECONDS):
            raise TimeoutError(f"the server was not ready within {_START_SECONDS} s")
    line = process.stdout.readline()
    if not line:
        raise RuntimeError(f"the server ended with status {process.wait()} before it was ready")
    return [BoundSocket(**each) for each in json.loads(line)]
