"""Read the sockets of a network namespace from the kernel: ``NETLINK_SOCK_DIAG``, as ``ss`` does.

See :manpage:`sock_diag(7)`.
"""

from __future__ import annotations

import errno
import os
import socket
import struct
from dataclasses import dataclass
from typing import Final

from inet_lookup.errors import KernelError, UnsupportedError
from inet_lookup.net.netlink_dump import attribute, dump
from inet_lookup.net.sockets import SocketState, TransportProtocol, format_endpoint

_NETLINK_SOCK_DIAG: Final = 4
_SOCK_DIAG_BY_FAMILY: Final = 20

_TCP_ESTABLISHED: Final = 1
_TCP_CLOSE: Final = 7
_TCP_LISTEN: Final = 10
_INET_DIAG_SKV6ONLY: Final = 11

_REQUEST: Final = struct.Struct("=BBBxI48x")  # struct inet_diag_req_v2 with an empty socket id
_MESSAGE: Final = struct.Struct("=BBBB2s2s16s16s8I")  # struct inet_diag_msg
_ATTEMPTS: Final = 3

_PROTOCOLS: Final = {"tcp": socket.IPPROTO_TCP, "udp": socket.IPPROTO_UDP}


@dataclass(frozen=True, slots=True)
class ListedSocket:
    """A socket that listens (TCP) or receives (UDP) in a namespace.

    :ivar family: ``AF_INET`` or ``AF_INET6``.
    :ivar protocol: ``tcp`` or ``udp``.
    :ivar address: the local address; ``0.0.0.0`` or ``::`` for all.
    :ivar port: the local port.
    :ivar state: listening (TCP), bound or connected (UDP).
    :ivar interface: the index of the interface that it is bound to; 0 for any.
    :ivar v6only: whether an IPv6 socket takes IPv6 only; False for IPv4.
    :ivar cookie: SO_COOKIE, unique until reboot.
    :ivar inode: N of ``socket:[N]`` in ``/proc/PID/fd``; 0 when no descriptor refers to it.
    :ivar uid: the user who made it.
    """

    family: socket.AddressFamily
    protocol: TransportProtocol
    address: str
    port: int
    state: SocketState
    interface: int
    v6only: bool
    cookie: int
    inode: int
    uid: int

    @property
    def endpoint(self) -> str:
        """Protocol, address and port, such as ``tcp 127.0.0.1:80`` or ``udp [::1]:53``."""
        return f"{self.protocol} {format_endpoint(self.address, self.port)}"


def list_sockets(protocol: TransportProtocol) -> list[ListedSocket]:
    """The listening TCP sockets, or all bound UDP sockets, of the calling thread's namespace.

    For another namespace: ``namespace.run(list_sockets, "tcp")``. No privilege is needed.

    :raises UnsupportedError: the kernel was built without ``CONFIG_INET_DIAG`` for the protocol.
    :raises KernelError: the kernel refuses for another reason.
    """
    operation = f"list the {protocol} sockets of the network namespace"
    try:
        with socket.socket(
            socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, _NETLINK_SOCK_DIAG
        ) as netlink:
            return [
                found
                for family in (socket.AF_INET, socket.AF_INET6)
                for found in _dump(netlink, family, protocol)
            ]
    except OSError as error:
        number = error.errno or errno.EIO
        if number in (errno.ENOENT, errno.EPROTONOSUPPORT):
            option = "CONFIG_INET_DIAG" if protocol == "tcp" else "CONFIG_INET_UDP_DIAG"
            raise UnsupportedError(
                operation,
                number,
                "the kernel has no socket monitoring for it",
                hint=f"load the module {protocol}_diag, or use a kernel with {option}",
            ) from error
        raise KernelError(operation, number, os.strerror(number)) from error


def _dump(
    netlink: socket.socket, family: socket.AddressFamily, protocol: TransportProtocol
) -> list[ListedSocket]:
    states = 1 << _TCP_LISTEN if protocol == "tcp" else 1 << _TCP_CLOSE | 1 << _TCP_ESTABLISHED
    request = _REQUEST.pack(family, _PROTOCOLS[protocol], 0, states)
    for sequence in range(1, _ATTEMPTS + 1):
        interrupted = False
        # A socket that is seen twice because the list changed while it was read is listed once.
        found: dict[int, ListedSocket] = {}
        for part in dump(netlink, _SOCK_DIAG_BY_FAMILY, request, sequence):
            interrupted |= part.interrupted
            each = _parse(part.payload, protocol)
            found[each.cookie] = each
        if not interrupted:
            break
    return list(found.values())


def _parse(payload: memoryview, protocol: TransportProtocol) -> ListedSocket:
    (
        family,
        state,
        _timer,
        _retransmits,
        source_port,
        _peer_port,
        source,
        _peer,
        interface,
        cookie_low,
        cookie_high,
        _expires,
        _receive_queue,
        _send_queue,
        uid,
        inode,
    ) = _MESSAGE.unpack_from(payload)
    return ListedSocket(
        family=socket.AddressFamily(family),
        protocol=protocol,
        address=socket.inet_ntop(family, source[: 4 if family == socket.AF_INET else 16]),
        port=int.from_bytes(source_port, "big"),
        state={
            _TCP_LISTEN: SocketState.LISTENING,
            _TCP_ESTABLISHED: SocketState.CONNECTED,
        }.get(state, SocketState.BOUND),
        interface=interface,
        v6only=attribute(payload[_MESSAGE.size :], _INET_DIAG_SKV6ONLY) == b"\1",
        cookie=cookie_low | cookie_high << 32,
        inode=inode,
        uid=uid,
    )
