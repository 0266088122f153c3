"""Sockets of running servers, taken as a user's program takes them."""

from __future__ import annotations

from collections.abc import Callable

from inet_lookup.net import SocketSelector, TakenSocket, take_all
from support.servers import EchoServer

Take = Callable[..., TakenSocket]
"""The type of the fixture ``take``, which closes afterwards what it took."""


def take_socket(server: EchoServer, member: int = 0) -> TakenSocket:
    """Take the socket of a server, or one member of its reuseport group."""
    bound = server.sockets[0]
    found = take_all(SocketSelector(server.pid, server.protocol, bound.address, bound.port))
    wanted = found.pop(member)
    for other in found:
        other.close()
    return wanted
