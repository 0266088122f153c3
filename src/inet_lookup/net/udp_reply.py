"""Answer UDP datagrams from the address and port that they were sent to.

A client takes an answer only from where it sent its question. TCP answers from there by itself; a
UDP socket answers from its own address and port, which under steering are not those that the
client sent to. ``IP_PKTINFO`` lets one socket choose the source address of each datagram, but not
the source port: for another port the answer has to leave through a socket that is bound to it.

Example, a server for all ports of its addresses::

    with UdpReplies(sock) as replies:
        while True:
            datagram = replies.receive()
            replies.send(answer_to(datagram.data), datagram)
"""

from __future__ import annotations

import errno
import os
import socket
import struct
import threading
from collections import OrderedDict
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Final

from inet_lookup.bpf.handle import Resource
from inet_lookup.errors import SocketError
from inet_lookup.net.namespaces import netns_cookie
from inet_lookup.net.sockets import describe, format_endpoint, parse_sockaddr

# Not in Python's socket module: linux/in.h and linux/in6.h.
_IP_PKTINFO: Final = 8
_IP_FREEBIND: Final = 15
_IP_ORIGDSTADDR: Final = 20
_IPV6_ORIGDSTADDR: Final = 74
_IPV6_FREEBIND: Final = 78

_IN_PKTINFO: Final = struct.Struct("=I4s4s")  # interface, source of the answer, destination
_IN6_PKTINFO: Final = struct.Struct("=16sI")

_ANCILLARY_BYTES: Final = socket.CMSG_SPACE(28) + socket.CMSG_SPACE(20) + socket.CMSG_SPACE(16) * 2

_MAPPED: Final = "::ffff:"


@dataclass(frozen=True, slots=True)
class Datagram:
    """A datagram that was received.

    :ivar data: its payload.
    :ivar source: where it came from, as :meth:`socket.socket.recvmsg` gives it.
    :ivar destination: the address and port that it was sent to; IPv4 on an IPv6 socket is a plain
        IPv4 address here.
    :ivar interface: the index of the interface it came in by; 0 where the kernel does not say.
    """

    data: bytes
    source: tuple[Any, ...]
    destination: tuple[str, int]
    interface: int


class UdpReplies(Resource):
    """Receives datagrams with their original destination and answers from there.

    It sets options on the socket and keeps up to ``capacity`` further sockets, one for each
    original destination of another port than the socket's own, the least recently used of which is
    closed to make room. These receive nothing: each is connected to its own address, so that the
    look-up of sockets finds it for no packet of anybody else, also when nothing steers any more.
    (Between its bind() and its connect() it could be found; a program that steers goes before it.)

    May be used by several threads. :meth:`close` closes the further sockets and leaves the one
    given as it is.

    :param sock: a bound UDP socket, which the caller owns and keeps open. It must be of the
        network namespace of the threads that use this object.
    :param capacity: the number of further sockets, at most.
    :raises SocketError: it is not a bound UDP socket, or of another network namespace.
    """

    def __init__(self, sock: socket.socket, *, capacity: int = 512) -> None:
        if capacity < 1:
            raise ValueError("capacity must be 1 or more")
        info = describe(sock)
        if info.protocol != "udp" or not info.port:
            raise SocketError(f"cannot answer through {info}: it is not a bound UDP socket")
        self._require_this_namespace(sock, info.endpoint)
        self._sock = sock
        self._port = info.port
        self._capacity = capacity
        self._lock = threading.Lock()
        self._sources: OrderedDict[tuple[str, int, int], socket.socket] = OrderedDict()
        # An IPv6 socket that takes IPv4 too says where IPv4 came to at the level of IPv4.
        sock.setsockopt(socket.IPPROTO_IP, _IP_ORIGDSTADDR, 1)
        if sock.family == socket.AF_INET6:
            sock.setsockopt(socket.IPPROTO_IPV6, _IPV6_ORIGDSTADDR, 1)
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_RECVPKTINFO, 1)
            # A local route does not make its addresses valid IPv6 sources; this does.
            sock.setsockopt(socket.IPPROTO_IPV6, _IPV6_FREEBIND, 1)
        else:
            sock.setsockopt(socket.IPPROTO_IP, _IP_PKTINFO, 1)
        super().__init__()

    def receive(self, size: int = 65535, flags: int = 0) -> Datagram:
        """Receive one datagram.

        :param size: the payload's size at most; what is longer is cut off.
        :param flags: as for :manpage:`recvmsg(2)`.
        :raises OSError: as :meth:`socket.socket.recvmsg`, such as BlockingIOError or TimeoutError.
        """
        data, ancillary, _, source = self._sock.recvmsg(size, _ANCILLARY_BYTES, flags)
        destination, interface = _destination(ancillary)
        return Datagram(data, source, destination, interface)

    def send(self, data: bytes, to: Datagram) -> None:
        """Answer a datagram, from the address and port that it was sent to.

        :raises SocketError: another socket holds that address and port and does not share it.
        :raises OSError: as :meth:`socket.socket.sendto`, such as BlockingIOError.
        """
        if self.closed:
            raise ValueError("this object is closed")
        if to.destination[1] == self._port:
            self._sock.sendmsg([data], [self._source_address(to)], 0, to.source)
            return
        address, _ = to.destination
        client = to.source
        if ":" not in address:
            client = (client[0].removeprefix(_MAPPED), client[1])
        with self._lock:
            self._source(to).sendto(data, client)

    def _source_address(self, to: Datagram) -> tuple[int, int, bytes]:
        """The ancillary message that sets the source address of an answer."""
        address, _ = to.destination
        if ":" in address:
            interface = to.source[3]  # set for link-local addresses, which are nothing without it
            raw = socket.inet_pton(socket.AF_INET6, address)
            return socket.IPPROTO_IPV6, socket.IPV6_PKTINFO, _IN6_PKTINFO.pack(raw, interface)
        raw = socket.inet_pton(socket.AF_INET, address)
        return socket.IPPROTO_IP, _IP_PKTINFO, _IN_PKTINFO.pack(0, raw, b"")

    def _source(self, to: Datagram) -> socket.socket:
        """The socket that is bound to the destination of a datagram."""
        address, port = to.destination
        scope = to.source[3] if ":" in address else 0
        key = (address, port, scope)
        found = self._sources.get(key)
        if found is not None:
            self._sources.move_to_end(key)
            return found
        made = _bound_source(address, port, scope)
        made.settimeout(self._sock.gettimeout())
        self._sources[key] = made
        while len(self._sources) > self._capacity:
            _, oldest = self._sources.popitem(last=False)
            oldest.close()
        return made

    def _release(self) -> None:
        with self._lock:
            for each in self._sources.values():
                each.close()
            self._sources.clear()

    def __repr__(self) -> str:
        return f"<UdpReplies port {self._port}, {len(self._sources)} further sockets>"

    @staticmethod
    def _require_this_namespace(sock: socket.socket, endpoint: str) -> None:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
            here = netns_cookie(probe.fileno())
        if netns_cookie(sock.fileno()) != here:
            raise SocketError(
                f"{endpoint} is of another network namespace than this thread",
                hint="answer from within the socket's namespace, such as by Namespace.run()",
            )


def _destination(ancillary: Iterable[tuple[int, int, bytes]]) -> tuple[tuple[str, int], int]:
    """The original destination, and the interface that a datagram came in by."""
    destination: tuple[str, int] | None = None
    interface = 0
    for level, kind, data in ancillary:
        if (level, kind) in (
            (socket.IPPROTO_IP, _IP_ORIGDSTADDR),
            (socket.IPPROTO_IPV6, _IPV6_ORIGDSTADDR),
        ):
            address, port = parse_sockaddr(data)
            destination = address.removeprefix(_MAPPED) if "." in address else address, port
        elif (level, kind) == (socket.IPPROTO_IP, _IP_PKTINFO):
            interface = _IN_PKTINFO.unpack_from(data)[0]
        elif (level, kind) == (socket.IPPROTO_IPV6, socket.IPV6_PKTINFO):
            interface = _IN6_PKTINFO.unpack_from(data)[1]
    if destination is None:
        raise SocketError("the kernel gave no original destination with a datagram")
    return destination, interface


def _bound_source(address: str, port: int, scope: int) -> socket.socket:
    """A socket that sends from an address and port and receives nothing."""
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    own = (address, port, 0, scope) if family == socket.AF_INET6 else (address, port)
    sock = socket.socket(family, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC)
    try:
        # Others may do the same for the same clients: further processes of one server.
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family == socket.AF_INET6:
            sock.setsockopt(socket.IPPROTO_IPV6, _IPV6_FREEBIND, 1)
        else:
            sock.setsockopt(socket.IPPROTO_IP, _IP_FREEBIND, 1)
        sock.bind(own)
        sock.connect(own)
    except OSError as error:
        sock.close()
        endpoint = format_endpoint(address, port)
        reason = os.strerror(error.errno or errno.EIO)
        hint = None
        if error.errno == errno.EADDRINUSE:
            reason = "another socket is bound to it"
            hint = "set SO_REUSEADDR on that socket too, or let it serve that port"
        elif error.errno in (errno.EACCES, errno.EPERM):
            reason = "binding to a port below net.ipv4.ip_unprivileged_port_start is refused"
            hint = "run the server with CAP_NET_BIND_SERVICE"
        raise SocketError(f"cannot answer from udp {endpoint}: {reason}", hint=hint) from error
    return sock
