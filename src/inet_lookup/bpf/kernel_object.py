"""What maps, programs, links and BTF have in common: an id, an info structure, pins."""

from __future__ import annotations

import ctypes
import errno
import os
from contextlib import suppress
from typing import TYPE_CHECKING, ClassVar, Self, TypeVar

from ..errors import KernelError
from . import attr
from .failures import Failure, Since, failure
from .handle import Handle
from .pins import open_pin
from .pins import pin as pin_fd
from .privileges import Capability
from .syscall import bpf
from .uapi import Command

if TYPE_CHECKING:
    from collections.abc import Iterator

    from .pins import Path

_Info = TypeVar("_Info", bound=ctypes.Structure)


def read_info(fd: int, info: _Info, operation: str) -> _Info:
    """Have the kernel fill ``info`` with what it knows of the object (``BPF_OBJ_GET_INFO_BY_FD``).

    An older kernel fills a prefix; what it does not know stays zero.

    :raises KernelError: the descriptor is not of a BPF object, or is not readable.
    """
    request = attr.GetInfo(fd, ctypes.sizeof(info), ctypes.addressof(info))
    try:
        bpf(Command.OBJ_GET_INFO_BY_FD, request)
    except OSError as error:
        raise failure(error, operation, since=Since("reading an object's info", (4, 13))) from error
    return info


def next_ids(command: Command, kind: str) -> Iterator[int]:
    """The ids of all objects of a kind in the system, ascending (``BPF_*_GET_NEXT_ID``).

    :raises PrivilegeError: without CAP_SYS_ADMIN.
    """
    request = attr.GetId()
    while True:
        try:
            bpf(command, request)
        except OSError as error:
            if error.errno == errno.ENOENT:
                return
            raise failure(
                error, f"list the {kind}s of the system", capabilities=(Capability.CAP_SYS_ADMIN,)
            ) from error
        yield request.next_id
        request.id = request.next_id


class KernelObject(Handle):
    """A BPF object that the kernel numbers and that can be pinned.

    :param fd: a file descriptor of such an object; it belongs to this object from now on, and is
        closed if it turns out to be of something else.
    """

    fd_by_id: ClassVar[Command]
    inode_names: ClassVar[tuple[str, ...]]
    """How ``/proc/self/fd`` names descriptors of this kind."""

    def __init__(self, fd: int) -> None:
        super().__init__(fd)
        try:
            self._check_kind(f"use fd {fd} as a {self.kind}")
            self._describe()
        except BaseException:
            with suppress(OSError):  # it was not open
                self.close()
            raise

    def _describe(self) -> None:
        """Read from the kernel what does not change about this object."""

    def _check_kind(self, operation: str) -> None:
        try:
            target = os.readlink(f"/proc/self/fd/{self._fd}")
        except OSError:
            return  # without /proc, the first command on it finds out
        name = target.removeprefix("anon_inode:").strip("[]")
        if name not in self.inode_names:
            raise KernelError(
                operation, errno.EINVAL, f"it is of another kind: {target}, not a {self.kind}"
            )

    @classmethod
    def from_fd(cls, fd: int) -> Self:
        """Take over a file descriptor: it is closed with this object.

        :raises KernelError: it is not of an object of this kind; the descriptor is closed then too.
        """
        return cls(fd)

    @classmethod
    def from_id(cls, id: int) -> Self:
        """Open an object by the number that the kernel gave to it.

        :raises KernelError: ``ENOENT`` where no such object exists (any more).
        :raises PrivilegeError: without CAP_SYS_ADMIN.
        """
        try:
            fd = bpf(cls.fd_by_id, attr.GetId(id))
        except OSError as error:
            raise failure(
                error,
                f"open {cls.kind} {id}",
                meanings={errno.ENOENT: Failure(f"there is no {cls.kind} with this id")},
                capabilities=(Capability.CAP_SYS_ADMIN,),
            ) from error
        return cls(fd)

    @classmethod
    def open_pinned(cls, path: Path, *, read_only: bool = False) -> Self:
        """Open a pinned object.

        :param read_only: ask for reading alone (Linux 4.15): all that who may only read the pin can
            have of a map or a program. A link cannot be opened so.
        :raises BpffsError: ``path`` is not in a BPF file system.
        :raises KernelError: ``ENOENT`` where nothing is pinned at ``path``, ``EINVAL`` where it is
            an object of another kind.
        """
        return cls(open_pin(path, read_only=read_only))

    def pin(self, path: Path) -> None:
        """Give the object a name in a BPF file system; it lives as long as the name does.

        :raises BpffsError: ``path`` is not in a BPF file system.
        :raises KernelError: ``EEXIST`` where the name is taken.
        """
        pin_fd(self.fd, path)

    def dup(self) -> Self:
        """Another owner of the same object, closed on its own."""
        import fcntl

        return type(self)(fcntl.fcntl(self.fd, fcntl.F_DUPFD_CLOEXEC, 0))
