"""Sockets that a service manager passed to this process, as systemd does for ``.socket`` units.

The protocol is that of :manpage:`sd_listen_fds(3)`: descriptors from 3 on, their number in
``LISTEN_FDS``, the process that they are meant for in ``LISTEN_PID``, and their names, parted by
colons, in ``LISTEN_FDNAMES``.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from inet_lookup.errors import SocketError
from inet_lookup.net.sockets import SocketInfo, describe

_FIRST: Final = 3  # SD_LISTEN_FDS_START


@dataclass(frozen=True, slots=True)
class PassedSocket:
    """A socket that was passed to this process, which keeps it open.

    :ivar fd: its descriptor.
    :ivar name: its name (``FileDescriptorName=`` of the unit); None where no names were passed.
    :ivar info: what it is.
    """

    fd: int
    name: str | None
    info: SocketInfo

    def fileno(self) -> int:
        """The descriptor."""
        return self.fd


def passed_sockets(environment: Mapping[str, str] | None = None) -> list[PassedSocket]:
    """Return the sockets that were passed to this process.

    :param environment: that of this process by default.
    :raises SocketError: none were passed, they are for another process, or one is not an internet
        socket.
    """
    given = os.environ if environment is None else environment
    count = _number(given, "LISTEN_FDS")
    pid = _number(given, "LISTEN_PID")
    if pid != os.getpid():
        raise SocketError(
            f"the passed sockets are for process {pid}, and this is process {os.getpid()}",
            hint="start the command by itself, without a shell or another program around it",
        )
    if count == 0:
        raise SocketError("LISTEN_FDS is 0: no socket was passed", hint=_HINT)
    text = given.get("LISTEN_FDNAMES")
    names: list[str | None] = [None] * count
    if text is not None:
        names = list(text.split(":"))
        if len(names) != count:
            raise SocketError(
                f"LISTEN_FDNAMES has {len(names)} names for the {count} sockets of LISTEN_FDS"
            )
    return [
        PassedSocket(fd, name, describe(fd))
        for fd, name in zip(range(_FIRST, _FIRST + count), names, strict=True)
    ]


_HINT: Final = "have systemd pass them: Sockets=NAME.socket in the unit that runs this command"


def _number(environment: Mapping[str, str], name: str) -> int:
    text = environment.get(name)
    if text is None:
        raise SocketError(f"no sockets were passed: {name} is not set", hint=_HINT)
    if not (text.isascii() and text.isdigit() and len(text) <= 9):
        raise SocketError(f"{name} is {text!r}, and not a number", hint=_HINT)
    return int(text)
