"""Which prefixes a network namespace delivers locally: its routing table ``local``.

Read by :manpage:`rtnetlink(7)`.
"""

from __future__ import annotations

import errno
import os
import socket
import struct
from typing import Final, NamedTuple

from inet_lookup.errors import KernelError
from inet_lookup.net.netlink_dump import attribute, dump

_RTM_GETROUTE: Final = 26
_RTM_NEWROUTE: Final = 24
_RT_TABLE_LOCAL: Final = 255
_RTN_LOCAL: Final = 2
_RTA_DST: Final = 1

_SOL_NETLINK: Final = 270
_NETLINK_GET_STRICT_CHK: Final = 12

_RTMSG: Final = struct.Struct("=BBBBBBBBI")


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
    request = _RTMSG.pack(family, 0, 0, 0, _RT_TABLE_LOCAL, 0, 0, _RTN_LOCAL, 0)
    found = []
    try:
        for part in dump(netlink, _RTM_GETROUTE, request, sequence=int(family)):
            if part.kind != _RTM_NEWROUTE:
                continue
            of, length, _, _, table, _, _, kind, _ = _RTMSG.unpack_from(part.payload)
            if (of, table, kind) == (family, _RT_TABLE_LOCAL, _RTN_LOCAL):
                # A route for all addresses has no destination.
                raw = attribute(part.payload[_RTMSG.size :], _RTA_DST) or b""
                found.append(LocalPrefix(family, int.from_bytes(raw, "big"), length))
    except OSError as error:
        # No address was ever local in it, or the kernel has no IPv6.
        if error.errno not in (errno.ENOENT, errno.EOPNOTSUPP, errno.EAFNOSUPPORT):
            raise
    return found
