"""What a socket is and whether traffic can be steered to it."""

from __future__ import annotations

import errno
import os
import socket
import stat
import struct
from dataclasses import dataclass
from enum import StrEnum
from typing import Final, Literal, Protocol

from inet_lookup.errors import SocketError
from inet_lookup.net.namespaces import netns_cookie
from inet_lookup.net.syscalls import getpeername, getsockname, getsockopt

TransportProtocol = Literal["tcp", "udp"]
"""The protocols whose look-up of sockets is programmable."""

# Not in Python's socket module. The numbers are those of asm-generic/socket.h and linux/in.h.
_SO_COOKIE: Final = 57
_IPPROTO_UDPLITE: Final = 136
_IPPROTO_MPTCP: Final = 262

_PROTOCOL_NAMES: Final = {
    socket.IPPROTO_TCP: "tcp",
    socket.IPPROTO_UDP: "udp",
    socket.IPPROTO_SCTP: "sctp",
    _IPPROTO_UDPLITE: "udplite",
    _IPPROTO_MPTCP: "mptcp",
}


class HasFileno(Protocol):
    """Anything with a file descriptor, such as :class:`socket.socket`."""

    def fileno(self) -> int:
        """The file descriptor."""
        ...


class SocketState(StrEnum):
    """What a socket is doing, as far as the look-up of sockets cares."""

    UNBOUND = "unbound"
    """It has no local port yet."""
    BOUND = "bound"
    """A UDP socket that receives from everyone, or a TCP socket that does not listen (yet)."""
    LISTENING = "listening"
    """A TCP socket that accepts connections."""
    CONNECTED = "connected"
    """It belongs to one peer: an established connection, or a UDP socket after ``connect()``."""


@dataclass(frozen=True, slots=True)
class SocketInfo:
    """An internet socket, described.

    :ivar family: ``AF_INET`` or ``AF_INET6``.
    :ivar protocol: ``tcp``, ``udp``, or the name or number of another protocol.
    :ivar address: the local address in its text form; ``0.0.0.0`` or ``::`` for all.
    :ivar port: the local port; 0 when unbound.
    :ivar state: what it is doing.
    :ivar cookie: SO_COOKIE: unique until reboot. A sock map with values of 8 bytes shows it.
    :ivar inode: N of ``socket:[N]`` in ``/proc/PID/fd``.
    :ivar v6only: whether an IPv6 socket takes IPv6 only; False for IPv4.
    :ivar reuseport: SO_REUSEPORT: it may be one of a group that shares the address and port.
    :ivar netns_cookie: the cookie of its network namespace; None before Linux 5.14.
    """

    family: socket.AddressFamily
    protocol: str
    address: str
    port: int
    state: SocketState
    cookie: int
    inode: int
    v6only: bool
    reuseport: bool
    netns_cookie: int | None

    @property
    def endpoint(self) -> str:
        """Protocol, address and port, such as ``tcp 127.0.0.1:80`` or ``udp [::1]:53``."""
        return f"{self.protocol} {format_endpoint(self.address, self.port)}"

    def __str__(self) -> str:
        return f"{self.endpoint} ({self.state})"


def describe(sock: HasFileno | int) -> SocketInfo:
    """Describe an internet socket, which may have been made by another process.

    :param sock: a socket or its file descriptor; it stays as it is.
    :raises SocketError: it is closed, no socket, or not an internet socket.
    """
    fd = sock if isinstance(sock, int) else sock.fileno()
    try:
        status = os.fstat(fd)
    except OSError as error:
        raise SocketError(
            f"file descriptor {fd} is closed" if fd >= 0 else "the socket is closed"
        ) from error
    if not stat.S_ISSOCK(status.st_mode):
        raise SocketError(f"file descriptor {fd} is not a socket")
    family = _int_option(fd, socket.SO_DOMAIN)
    if family not in (socket.AF_INET, socket.AF_INET6):
        raise SocketError(
            f"file descriptor {fd} is a socket of the family {_family_name(family)}",
            hint="only AF_INET and AF_INET6 sockets can be steered to",
        )
    number = _int_option(fd, socket.SO_PROTOCOL)
    address, port = parse_sockaddr(getsockname(fd))
    return SocketInfo(
        family=socket.AddressFamily(family),
        protocol=_PROTOCOL_NAMES.get(number, str(number)),
        address=address,
        port=port,
        state=_state(fd, port),
        cookie=_cookie(fd),
        inode=status.st_ino,
        v6only=family == socket.AF_INET6
        and _int_option(fd, socket.IPV6_V6ONLY, level=socket.IPPROTO_IPV6) != 0,
        reuseport=_int_option(fd, socket.SO_REUSEPORT) != 0,
        netns_cookie=netns_cookie(fd),
    )


def unfitness(info: SocketInfo) -> tuple[str, str] | None:
    """Why traffic cannot be steered to a socket, and what to do, or None where it can.

    The rules are the kernel's: a sock map takes TCP sockets that listen (those of connections too,
    but the look-up never redirects to them) and UDP sockets that are bound, and the look-up
    redirects to no connected socket (``bpf_sk_assign()``, ESOCKTNOSUPPORT).
    """
    if info.protocol == "mptcp":
        return (
            "it is a Multipath TCP socket, which the kernel does not steer to",
            "make it with IPPROTO_TCP; for a server in Go set GODEBUG=multipathtcp=0",
        )
    if info.protocol not in ("tcp", "udp"):
        return f"its protocol is {info.protocol}", "only TCP and UDP sockets can be steered to"
    if info.state is SocketState.CONNECTED:
        if info.protocol == "tcp":
            return (
                "it is one connection, and not a socket that listens",
                "name the socket that the server listens on",
            )
        return "it is connected to one peer", "name a UDP socket on which connect() was not called"
    if info.protocol == "tcp" and info.state is not SocketState.LISTENING:
        return "it does not listen", "call listen() on it first"
    if info.state is SocketState.UNBOUND:
        return "it is not bound", "call bind() on it first"
    return None


def require_fit(info: SocketInfo, *, where: str = "") -> None:
    """Raise unless traffic can be steered to a socket; see :func:`unfitness`.

    :param where: what to add to the socket in the message, such as ``of process 12 (nginx)``.
    :raises SocketError: it names the socket, why it is not fit, and what to do.
    """
    found = unfitness(info)
    if found:
        reason, hint = found
        name = f"{info.endpoint} {where}".rstrip()
        raise SocketError(f"cannot steer traffic to {name}: {reason}", hint=hint)


def format_endpoint(address: str, port: int) -> str:
    """``127.0.0.1:80``, or ``[::1]:80``."""
    return f"[{address}]:{port}" if ":" in address else f"{address}:{port}"


def parse_sockaddr(raw: bytes) -> tuple[str, int]:
    """Address and port of a ``struct sockaddr_in`` or ``sockaddr_in6``.

    :raises ValueError: it is of another family.
    """
    (family,) = struct.unpack_from("=H", raw)
    (port,) = struct.unpack_from("!H", raw, 2)
    if family == socket.AF_INET:
        return socket.inet_ntop(socket.AF_INET, raw[4:8]), port
    if family == socket.AF_INET6:
        return socket.inet_ntop(socket.AF_INET6, raw[8:24]), port
    raise ValueError(f"a socket address of family {family}")


def _state(fd: int, port: int) -> SocketState:
    if _int_option(fd, socket.SO_ACCEPTCONN):
        return SocketState.LISTENING
    try:
        getpeername(fd)
    except OSError as error:
        if error.errno != errno.ENOTCONN:
            raise
        return SocketState.BOUND if port else SocketState.UNBOUND
    return SocketState.CONNECTED


def _cookie(fd: int) -> int:
    return int(struct.unpack("=Q", getsockopt(fd, socket.SOL_SOCKET, _SO_COOKIE, 8))[0])


def _int_option(fd: int, option: int, *, level: int = socket.SOL_SOCKET) -> int:
    return int(struct.unpack("=i", getsockopt(fd, level, option, 4))[0])


def _family_name(family: int) -> str:
    try:
        return socket.AddressFamily(family).name
    except ValueError:
        return str(family)
