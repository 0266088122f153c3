"""Mounts of the test session, all in a mount namespace of its own.

What a session mounts and pins is invisible to the rest of the machine and goes with the session,
even when it is killed. Sessions that run side by side do not see each other's names and pins.
"""

from __future__ import annotations

import ctypes
import os
from dataclasses import dataclass
from pathlib import Path

from inet_lookup.net.syscalls import unshare

NAMED_NAMESPACES = Path("/run/netns")

_CLONE_NEWNS = 0x00020000
_MS_BIND = 0x1000
_MS_REC = 0x4000
_MS_PRIVATE = 0x40000
_MNT_DETACH = 2

_libc = ctypes.CDLL(None, use_errno=True)


@dataclass(frozen=True)
class Mount:
    """One line of ``/proc/self/mountinfo``."""

    point: str
    type: str
    root: str


def mount(source: str, target: str, fstype: str = "", flags: int = 0, data: str = "") -> None:
    """:manpage:`mount(2)`."""
    if _libc.mount(
        source.encode(),
        target.encode(),
        fstype.encode() or None,
        ctypes.c_ulong(flags),
        data.encode() or None,
    ):
        error = ctypes.get_errno()
        raise OSError(error, f"mount {fstype} on {target}: {os.strerror(error)}")


def bind(source: str, target: str) -> None:
    """Mount a file on another."""
    mount(source, target, flags=_MS_BIND)


def unmount(target: str) -> None:
    """:manpage:`umount2(2)`, lazily: an open file in the mount does not fail it."""
    if _libc.umount2(target.encode(), ctypes.c_int(_MNT_DETACH)):
        error = ctypes.get_errno()
        raise OSError(error, f"unmount {target}: {os.strerror(error)}")


def mounts() -> list[Mount]:
    """All mounts that this process sees, in the order of mounting."""
    with open("/proc/self/mountinfo") as lines:
        found = []
        for line in lines:
            before, after = line.split(" - ")
            fields = before.split()
            found.append(Mount(point=_unescape(fields[4]), type=after.split()[0], root=fields[3]))
        return found


def enter_private_namespace() -> None:
    """Give this process a mount namespace with an empty ``/run/netns`` and no bpffs.

    Must be called by the main thread before others are started: threads take its mounts along.
    The directory ``/run/netns`` is made where it is missing and stays, as after ``ip netns add``:
    to remove it would unmount what other sessions have mounted on it.
    """
    NAMED_NAMESPACES.mkdir(exist_ok=True)
    unshare(_CLONE_NEWNS)
    mount("none", "/", flags=_MS_REC | _MS_PRIVATE)
    for each in reversed(mounts()):
        if each.type == "bpf":
            unmount(each.point)
    mount("tmpfs", str(NAMED_NAMESPACES), "tmpfs")


def _unescape(point: str) -> str:
    return point.encode().decode("unicode_escape").encode("latin-1").decode()
