"""Connections and datagrams from a client to a listener of the test's own process."""

from __future__ import annotations

import select
import socket

from inet_lookup import Listener
from inet_lookup.net.udp_reply import UdpReplies
from support.networks import TwoHosts

_SECONDS = 5


def arrives(listener: Listener, hosts: TwoHosts, address: str, port: int) -> bool:
    """Whether what the client sends to an address and port comes to the listener.

    It is answered then, and the answer has to come from there. False where it is refused. Where
    another socket takes it, the test fails.
    """
    if listener.protocol == "tcp":
        return _connection_arrives(listener, hosts, address, port)
    return _datagram_arrives(listener, hosts, address, port)


def is_refused(hosts: TwoHosts, address: str, port: int) -> bool:
    """Whether the server refuses a TCP connection; one that it accepts is closed again."""
    try:
        hosts.client.run(_connected, address, port).close()
    except ConnectionRefusedError:
        return True
    return False


def _connection_arrives(listener: Listener, hosts: TwoHosts, address: str, port: int) -> bool:
    listener.settimeout(_SECONDS)
    try:
        asking = hosts.client.run(_connected, address, port)
    except ConnectionRefusedError:
        return False
    with asking, listener.accept()[0] as accepted:
        assert _plain(accepted.getsockname()) == (address, port)
        assert _plain(accepted.getpeername()) == asking.getsockname()[:2]
        accepted.sendall(b"answer")
        assert asking.recv(100) == b"answer"
    return True


def _datagram_arrives(listener: Listener, hosts: TwoHosts, address: str, port: int) -> bool:
    with (
        hosts.client.run(_connected, address, port, socket.SOCK_DGRAM) as asking,
        hosts.server.run(UdpReplies, listener) as replies,
    ):
        asking.send(b"question")
        # The client hears first where it is refused, by ICMP.
        if asking in select.select([listener, asking], [], [], _SECONDS)[0]:
            try:
                asking.recv(100)
            except ConnectionRefusedError:
                return False
        listener.settimeout(_SECONDS)
        datagram = replies.receive()
        assert datagram.destination == (address, port)
        hosts.server.run(replies.send, b"answer", datagram)
        assert asking.recv(100) == b"answer"
    return True


def _connected(
    address: str, port: int, kind: socket.SocketKind = socket.SOCK_STREAM
) -> socket.socket:
    sock = socket.socket(socket.AF_INET6 if ":" in address else socket.AF_INET, kind)
    try:
        sock.settimeout(_SECONDS)
        sock.connect((address, port))
    except BaseException:
        sock.close()
        raise
    return sock


def _plain(name: tuple[str, int, int, int] | tuple[str, int]) -> tuple[str, int]:
    return name[0].removeprefix("::ffff:"), name[1]
