"""Asking netlink for a list: the request, the parts of the answer, and their attributes.

See :manpage:`netlink(7)`. This is all that commands need that show a few sockets or routes; a
netlink library takes longer to be imported than such a command may take.
"""

from __future__ import annotations

import os
import struct
from collections.abc import Iterator
from socket import socket
from typing import Final, NamedTuple

_NLM_F_REQUEST: Final = 0x1
_NLM_F_DUMP: Final = 0x300
_NLM_F_DUMP_INTR: Final = 0x10
_NLMSG_ERROR: Final = 2
_NLMSG_DONE: Final = 3

_NLMSGHDR: Final = struct.Struct("=IHHII")
_NLATTR: Final = struct.Struct("=HH")

_BUFFER: Final = 65536


class Part(NamedTuple):
    """A message of an answer.

    :ivar kind: ``nlmsg_type``.
    :ivar payload: what follows its header.
    :ivar interrupted: whether what is listed changed meanwhile, so that the list may be wrong.
    """

    kind: int
    payload: memoryview
    interrupted: bool


def dump(netlink: socket, kind: int, request: bytes, sequence: int) -> Iterator[Part]:
    """Ask for a list and return its parts as they come.

    :param netlink: a netlink socket.
    :param kind: ``nlmsg_type`` of the request.
    :param request: what follows its header.
    :param sequence: a number that tells its answer from another one that is not read to its end.
    :raises OSError: the kernel refuses.
    """
    length = _NLMSGHDR.size + len(request)
    flags = _NLM_F_REQUEST | _NLM_F_DUMP
    netlink.sendto(_NLMSGHDR.pack(length, kind, flags, sequence, 0) + request, (0, 0))
    while True:
        data = memoryview(netlink.recv(_BUFFER))
        while len(data) >= _NLMSGHDR.size:
            length, found, flags, number, _ = _NLMSGHDR.unpack_from(data)
            payload = data[_NLMSGHDR.size : length]
            data = data[_aligned(length) :]
            if number != sequence:
                continue
            if found in (_NLMSG_DONE, _NLMSG_ERROR):
                (status,) = struct.unpack_from("=i", payload) if len(payload) >= 4 else (0,)
                if status < 0:
                    raise OSError(-status, os.strerror(-status))
                return
            yield Part(found, payload, bool(flags & _NLM_F_DUMP_INTR))


def attribute(attributes: memoryview, wanted: int) -> bytes | None:
    """The value of an attribute of a message; None where it has none of this type."""
    while len(attributes) >= _NLATTR.size:
        length, kind = _NLATTR.unpack_from(attributes)
        if length < _NLATTR.size:
            return None
        if kind == wanted:
            return bytes(attributes[_NLATTR.size : length])
        attributes = attributes[_aligned(length) :]
    return None


def _aligned(length: int) -> int:
    return (length + 3) & ~3
