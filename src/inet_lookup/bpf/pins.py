"""Pins: names of BPF objects in a BPF file system, which keep an object alive without a process."""

from __future__ import annotations

import ctypes
import errno
import os
import re
from typing import TYPE_CHECKING, Final

from ..errors import BpffsError, KernelError, PrivilegeError
from . import attr
from .failures import Failure, Since, failure
from .privileges import Capability
from .syscall import bpf
from .uapi import BPF_FS_MAGIC, Command, MapFlags

if TYPE_CHECKING:
    from collections.abc import Iterator

    Path = str | os.PathLike[str]

STANDARD_BPFFS: Final = "/sys/fs/bpf"
"""Where systemd and the tools mount the BPF file system."""

_SINCE: Final = Since("pinning", (4, 4))


def pin(fd: int, path: Path) -> None:
    """Make ``path`` a name of the object (``BPF_OBJ_PIN``).

    :raises BpffsError: the directory is not in a BPF file system.
    :raises PrivilegeError: the directory's permissions do not allow it.
    :raises KernelError: ``EEXIST`` where the name is taken, ``ENOENT`` without the directory.
    """
    name = os.fspath(path)
    operation = f"pin to {name}"
    pathname = _c_path(name)
    try:
        bpf(Command.OBJ_PIN, attr.Obj(attr.address(pathname), fd))
    except OSError as error:
        raise _pin_failure(error, operation, name) from error


def open_pin(path: Path, *, read_only: bool = False) -> int:
    """A new file descriptor of the object pinned at ``path`` (``BPF_OBJ_GET``).

    :param read_only: ask for reading alone (Linux 4.15), for which reading permission will do. A
        link cannot be opened so.
    :raises BpffsError: ``path`` is not in a BPF file system.
    :raises PrivilegeError: the pin's permissions do not allow it.
    :raises KernelError: ``ENOENT`` where nothing is pinned there.
    """
    name = os.fspath(path)
    operation = f"open the pin {name}"
    pathname = _c_path(name)
    try:
        request = attr.Obj(attr.address(pathname), 0, MapFlags.RDONLY if read_only else 0)
        return bpf(Command.OBJ_GET, request)
    except OSError as error:
        raise _pin_failure(error, operation, name) from error


def unpin(path: Path) -> None:
    """Remove a pin; the object lives on where something else holds it.

    Where nothing does, the kernel frees it a little later, after an RCU grace period: a program
    whose link had no other holder may run for some milliseconds more.

    :raises BpffsError: ``path`` is not in a BPF file system: nothing is removed.
    :raises KernelError: ``ENOENT`` where nothing is pinned there.
    """
    name = os.fspath(path)
    operation = f"remove the pin {name}"
    require_bpffs(os.path.dirname(os.path.abspath(name)), operation)
    try:
        os.unlink(name)
    except OSError as error:
        raise _pin_failure(error, operation, name) from error


def is_bpffs(path: Path) -> bool:
    """Whether ``path`` exists and lies in a BPF file system (``statfs(2)``)."""
    return _file_system_type(os.fspath(path)) == BPF_FS_MAGIC


def require_bpffs(path: Path, operation: str) -> None:
    """Refuse a path that is not in a BPF file system; parts that do not exist are left out.

    :raises BpffsError: with what to mount.
    """
    directory = _existing_part(os.path.abspath(os.fspath(path)))
    if not is_bpffs(directory):
        raise BpffsError(
            operation,
            errno.EPERM,
            f"{directory} is not in a BPF file system",
            hint=_mount_hint(),
        )


def mounted_bpffs() -> Iterator[str]:
    """Where BPF file systems are mounted in this mount namespace, by ``/proc/mounts``."""
    try:
        with open("/proc/self/mounts", encoding="utf-8", errors="surrogateescape") as mounts:
            for line in mounts:
                _, mountpoint, kind, *_ = line.split(" ")
                if kind == "bpf":
                    # Blanks, tabs, newlines and backslashes are written in octal: proc(5).
                    yield re.sub(r"\\([0-7]{3})", lambda m: chr(int(m[1], 8)), mountpoint)
    except OSError:
        return


def default_bpffs() -> str:
    """The BPF file system to use where none is named: ``/sys/fs/bpf``, or another one mounted.

    :raises BpffsError: none is mounted.
    """
    if is_bpffs(STANDARD_BPFFS):
        return STANDARD_BPFFS
    for mountpoint in mounted_bpffs():
        if is_bpffs(mountpoint):  # another mount may lie over it
            return mountpoint
    raise BpffsError("find a BPF file system", errno.ENOENT, "none is mounted", hint=_mount_hint())


def _mount_hint() -> str:
    mounted = next(mounted_bpffs(), None)
    if mounted is not None:
        return f"one is mounted at {mounted}: use a path below it"
    return (
        f"mount one: mount -t bpf bpf {STANDARD_BPFFS} (not through ip netns exec, "
        "which gives the command a /sys of its own)"
    )


def _existing_part(path: str) -> str:
    while not os.path.lexists(path) and path != "/":
        path = os.path.dirname(path)
    return path


def _c_path(name: str) -> bytes:
    encoded = os.fsencode(name)
    if b"\0" in encoded:
        raise ValueError(f"a path cannot hold a NUL byte: {name!r}")
    return encoded


def _pin_failure(error: OSError, operation: str, name: str) -> KernelError:
    directory, leaf = os.path.split(os.path.abspath(name))
    existing = _existing_part(directory)
    if _file_system_type(existing) not in (BPF_FS_MAGIC, None):
        return BpffsError(
            operation,
            error.errno or errno.EPERM,
            f"{existing} is not in a BPF file system",
            hint=_mount_hint(),
        )
    if error.errno == errno.EPERM and "." in leaf:
        # kernel/bpf/inode.c, bpf_lookup(): dots are kept for the file system's own files.
        return KernelError(
            operation,
            errno.EPERM,
            "a BPF file system takes no name with a dot in it",
            hint=f"take another name: {leaf.replace('.', '_')}",
        )
    return failure(
        error,
        operation,
        meanings={
            errno.EEXIST: Failure("the name is taken", "remove the old pin, or take another name"),
            errno.ENOENT: Failure(
                "nothing is pinned there"
                if os.path.lexists(directory)
                else f"there is no directory {directory}"
            ),
            errno.EACCES: Failure(
                "the permissions of the path do not allow it",
                "run it as the owner of the pin, or give it CAP_DAC_OVERRIDE",
                PrivilegeError,
            ),
            errno.EISDIR: Failure("it is a directory"),
            errno.ENOTDIR: Failure("a part of the path is not a directory"),
            errno.ENAMETOOLONG: Failure("the name is too long"),
        },
        capabilities=(Capability.CAP_BPF,),
        since=_SINCE,
    )


# struct statfs begins with f_type: a long, but 32 bits wide on s390x (asm/statfs.h).
_FType: Final = ctypes.c_uint32 if os.uname().machine == "s390x" else ctypes.c_ulong
_STATFS_ROOM: Final = 256  # struct statfs has 120 bytes or fewer


def _file_system_type(name: str) -> int | None:
    libc = ctypes.CDLL(None, use_errno=True)
    room = (ctypes.c_char * _STATFS_ROOM)()
    if libc.statfs(_c_path(name), room) != 0:
        return None
    return _FType.from_buffer(room).value & 0xFFFFFFFF
