"""Which prefixes a network namespace delivers locally: its routing table ``local``, by rtnetlink.

See :manpage:`rtnetlink(7)`. Like the reader of sockets it does without a netlink library, which
takes longer to be imported than a command that shows a warning may take.
"""

from __future__ import annotations

import errno
import os
import socket
import struct
from collections.abc import Iterator
from typing import Final, NamedTuple

from inet_lookup.errors import KernelError

_RTM_GETROUTE: Final = 26
_RTM_NEWROUTE: Final = 24
_RT_TABLE_LOCAL: Final = 255
_RTN_LOCAL: Final = 2
_RTA_DST: Final = 1

_NLM_F_REQUEST: Final = 0x1
_NLM_F_DUMP: Final = 0x300
_NLMSG_ERROR: Final = 2
_NLMSG_DONE: Final = 3
_SOL_NETLINK: Final = 270
_NETLINK_GET_STRICT_CHK: Final = 12

_NLMSGHDR: Final = struct.Struct("=IHHII")
_RTMSG: Final = struct.Struct("=BBBBBBBBI")
_RTATTR: Final = struct.Struct("=HH")

_BUFFER: Final = 65536


class LocalPrefix(NamedTuple):
    """A prefix that is delivered locally.

    :ivar family: ``AF_INET`` or ``AF_INET6``.
    :ivar address: its lowest address, as an integer.
    :ivar length: how many leading bits count.
    """

    family: socket.AddressFamily
    address: int
    length: int


def read_local_prefixes() -> list[LocalPrefix]:
    """The prefixes that the calling thread's namespace delivers locally.

    For another namespace: ``namespace.run(read_local_prefixes)``. No privilege is needed.

    :raises KernelError: the kernel refuses.
    """
    try:
        with socket.socket(
            socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, socket.NETLINK_ROUTE
        ) as netlink:
            try:
                # The kernel then sends this one table, and not all routes (Linux 4.20).
                netlink.setsockopt(_SOL_NETLINK, _NETLINK_GET_STRICT_CHK, 1)
            except OSError as error:
                if error.errno != errno.ENOPROTOOPT:
                    raise
            return [
                found
                for family in (socket.AF_INET, socket.AF_INET6)
                for found in _dump(netlink, family)
            ]
    except OSError as error:
        number = error.errno or errno.EIO
        raise KernelError(
            "read the local routes of the network namespace", number, os.strerror(number)
        ) from error


def _dump(netlink: socket.socket, family: socket.AddressFamily) -> list[LocalPrefix]:
    sequence = int(family)
    request = _RTMSG.pack(family, 0, 0, 0, _RT_TABLE_LOCAL, 0, 0, _RTN_LOCAL, 0)
    header = _NLMSGHDR.pack(
        _NLMSGHDR.size + len(request),
        _RTM_GETROUTE,
        _NLM_F_REQUEST | _NLM_F_DUMP,
        sequence,
        0,
    )
    netlink.sendto(header + request, (0, 0))
    found = []
    try:
        for payload in _routes(netlink, sequence):
            of, length, _, _, table, _, _, kind, _ = _RTMSG.unpack_from(payload)
            if (of, table, kind) == (family, _RT_TABLE_LOCAL, _RTN_LOCAL):
                raw = _destination(payload[_RTMSG.size :])
                found.append(LocalPrefix(family, int.from_bytes(raw, "big"), length))
    except OSError as error:
        # No address was ever local in it, or the kernel has no IPv6.
        if error.errno not in (errno.ENOENT, errno.EOPNOTSUPP, errno.EAFNOSUPPORT):
            raise
    return found


def _routes(netlink: socket.socket, sequence: int) -> Iterator[memoryview]:
    """The payload of each route until the end of the dump."""
    while True:
        data = memoryview(netlink.recv(_BUFFER))
        while len(data) >= _NLMSGHDR.size:
            length, kind, _, number, _ = _NLMSGHDR.unpack_from(data)
            payload = data[_NLMSGHDR.size : length]
            data = data[(length + 3) & ~3 :]
            if number != sequence:
                continue
            if kind in (_NLMSG_DONE, _NLMSG_ERROR):
                (status,) = struct.unpack_from("=i", payload) if len(payload) >= 4 else (0,)
                if status < 0:
                    raise OSError(-status, os.strerror(-status))
                return
            if kind == _RTM_NEWROUTE:
                yield payload


def _destination(attributes: memoryview) -> bytes:
    """The address of a route; empty where the route is for all."""
    while len(attributes) >= _RTATTR.size:
        length, kind = _RTATTR.unpack_from(attributes)
        if length < _RTATTR.size:
            break
        if kind == _RTA_DST:
            return bytes(attributes[_RTATTR.size : length])
        attributes = attributes[(length + 3) & ~3 :]
    return b""
