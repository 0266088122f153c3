"""Links: programs attached to a network namespace.

``sk_lookup`` and ``flow_dissector`` programs attach to a namespace in the same way
(``kernel/bpf/net_namespace.c``, Linux 5.8 and 5.9): one code serves both. A link holds its program
attached as long as the link lives: until its last descriptor and pin are gone, or it is detached.
It does not hold the namespace: when that goes, the link stays as an empty shell.

A link ends the moment its last descriptor is closed, but only a little later when its last pin is
removed (the kernel frees the inode after an RCU grace period). Where it matters, detach it first.
"""

from __future__ import annotations

import errno
from ctypes import addressof
from typing import TYPE_CHECKING, Final, NamedTuple, Self

from ..errors import CapacityError, KernelError
from . import attr
from .failures import Failure, Since, failure
from .kernel_object import KernelObject, next_ids, read_info
from .privileges import Capability
from .syscall import bpf
from .uapi import AttachType, Command, LinkType, LinkUpdateFlags

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from .programs import Program

MAX_PROGRAMS: Final[Mapping[AttachType, int]] = {
    AttachType.SK_LOOKUP: 64,
    AttachType.FLOW_DISSECTOR: 1,
}
"""How many programs a namespace takes, by attach type."""

_SINCE: Final[Mapping[AttachType, Since]] = {
    AttachType.SK_LOOKUP: Since("attaching a socket lookup program to a namespace", (5, 9)),
    AttachType.FLOW_DISSECTOR: Since("a link to a namespace", (5, 8)),
}


class LinkInfo(NamedTuple):
    """What the kernel tells about a link to a network namespace (``struct bpf_link_info``)."""

    id: int
    program_id: int
    netns_ino: int
    """Inode number of the namespace, 0 once the link is detached or the namespace is gone."""
    attach_type: AttachType

    @property
    def attached(self) -> bool:
        """Whether the program still runs in a namespace."""
        return self.netns_ino != 0


class NetnsLink(KernelObject):
    """A program attached to a network namespace."""

    kind = "link"
    fd_by_id = Command.LINK_GET_FD_BY_ID
    inode_names = ("bpf-link", "bpf_link")

    id: int
    attach_type: AttachType

    @classmethod
    def create(cls, program: Program, netns_fd: int, attach_type: AttachType) -> Self:
        """Attach a program; it runs after those that are attached already (``BPF_LINK_CREATE``).

        The kernel asks for no capability here: who has the program and the namespace open may.

        :param netns_fd: a file descriptor of the namespace, such as of ``/proc/PID/ns/net``.
        :raises CapacityError: the namespace has as many programs as it may: 64 of ``sk_lookup``,
            one of ``flow_dissector``.
        :raises KernelError: the program is of another type, or ``netns_fd`` is not a namespace's.
        :raises UnsupportedError: before Linux 5.9, 5.8 for ``flow_dissector``.
        """
        request = attr.LinkCreate(program.fd, netns_fd, attach_type)
        try:
            fd = bpf(Command.LINK_CREATE, request)
        except OSError as error:
            raise failure(
                error,
                f"attach program {program.name!r} to a network namespace ({attach_type.label})",
                meanings=_create_meanings(program, netns_fd, attach_type),
                capabilities=(Capability.CAP_BPF,),  # where unprivileged BPF is off, before 5.19
                since=_SINCE.get(attach_type),
            ) from error
        return cls(fd)

    def _describe(self) -> None:
        info = self.info()
        self.id = info.id
        self.attach_type = info.attach_type

    def __repr__(self) -> str:
        if self.closed:
            return "<NetnsLink closed>"
        if "attach_type" not in self.__dict__:
            return super().__repr__()
        return f"<NetnsLink {self.attach_type.label} id={self.id} fd={self._fd}>"

    def _do(self, what: str) -> str:
        return f"{what} link {self.id} ({self.attach_type.label})"

    def info(self) -> LinkInfo:
        """What the kernel knows of the link now.

        :raises KernelError: ``EINVAL`` where the link is not one to a network namespace.
        """
        info = _netns_link_info(self.fd)
        if info is None:
            raise KernelError(
                "read a link's info", errno.EINVAL, "it is not a link to a network namespace"
            )
        return info

    def update(self, program: Program, *, expected: Program | None = None) -> None:
        """Replace the program in one step: each lookup runs the old or the new one, never none.

        :param expected: replace only if this program is the one that runs.
        :raises KernelError: ``EPERM`` where another program than ``expected`` runs, ``ENOLINK``
            where the link is detached or the namespace is gone, ``EINVAL`` where the program is of
            another type.
        """
        request = attr.LinkUpdate(self.fd, program.fd)
        if expected is not None:
            request.flags = LinkUpdateFlags.REPLACE
            request.old_prog_fd = expected.fd
        meanings = {
            errno.ENOLINK: _GONE,
            errno.EINVAL: Failure(
                f"program {program.name!r} is of the type {program.type.label}, "
                f"this link takes {self.attach_type.label}"
            ),
        }
        if expected is not None:
            meanings[errno.EPERM] = Failure(
                f"the link does not run the expected program {expected.id} (any more)",
                "somebody else replaced it: look at what runs now",
            )
        try:
            bpf(Command.LINK_UPDATE, request)
        except OSError as error:
            raise failure(
                error,
                self._do("replace the program of"),
                meanings=meanings,
                since=Since("replacing a link's program", (5, 8)),
            ) from error

    def detach(self) -> None:
        """End the attachment for all who hold the link; descriptors and pins stay, as shells.

        Does nothing where it is detached already or the namespace is gone.

        :raises UnsupportedError: before Linux 5.9; close all descriptors and pins instead.
        """
        try:
            bpf(Command.LINK_DETACH, attr.LinkDetach(self.fd))
        except OSError as error:
            raise failure(
                error, self._do("detach"), since=Since("detaching a link", (5, 9))
            ) from error


def query(netns_fd: int, attach_type: AttachType) -> list[int]:
    """The ids of the programs attached to a network namespace, in the order in which they run.

    :param netns_fd: a file descriptor of the namespace.
    :raises PrivilegeError: without CAP_NET_ADMIN.
    :raises KernelError: ``EINVAL`` where ``netns_fd`` is not a namespace's.
    """
    count = MAX_PROGRAMS.get(attach_type, 64)
    while True:
        room = attr.buffer(4 * count)
        request = attr.ProgQuery(
            target_fd=netns_fd,
            attach_type=attach_type,
            prog_ids=addressof(room),
            prog_cnt=count,
        )
        try:
            bpf(Command.PROG_QUERY, request)
        except OSError as error:
            # A newer kernel may take more programs than this knows of; it says how many there are.
            if error.errno == errno.ENOSPC and request.prog_cnt > count:
                count = request.prog_cnt
                continue
            raise failure(
                error,
                f"list the programs of a network namespace ({attach_type.label})",
                meanings=_netns_meanings(netns_fd),
                capabilities=(Capability.CAP_NET_ADMIN,),
                since=_SINCE.get(attach_type),
            ) from error
        return list(memoryview(room).cast("B").cast("I")[: request.prog_cnt])


def link_ids() -> Iterator[int]:
    """The ids of all links of the system, of every type (Linux 5.8).

    :raises PrivilegeError: without CAP_SYS_ADMIN.
    """
    return next_ids(Command.LINK_GET_NEXT_ID, "link")


def links_of(netns_ino: int, attach_type: AttachType) -> list[LinkInfo]:
    """The links to a network namespace, by ascending id.

    :param netns_ino: the inode number of the namespace, as ``stat`` of ``/proc/PID/ns/net`` has it.
    :raises PrivilegeError: without CAP_SYS_ADMIN.
    """
    found = []
    for id in link_ids():
        try:
            with _AnyLink.from_id(id) as link:
                info = _netns_link_info(link.fd)
        except KernelError as error:
            if error.errno == errno.ENOENT:
                continue  # it went away since its id was listed
            raise
        if info is not None and (info.netns_ino, info.attach_type) == (netns_ino, attach_type):
            found.append(info)
    return found


class _AnyLink(KernelObject):
    kind = "link"
    fd_by_id = Command.LINK_GET_FD_BY_ID
    inode_names = NetnsLink.inode_names


def _netns_link_info(fd: int) -> LinkInfo | None:
    raw = read_info(fd, attr.LinkInfoStruct(), "read a link's info")
    if raw.type != LinkType.NETNS:
        return None
    return LinkInfo(
        id=raw.id,
        program_id=raw.prog_id,
        netns_ino=raw.netns_ino,
        attach_type=AttachType(raw.attach_type),
    )


_GONE: Final = Failure(
    "the link is detached or its network namespace is gone", "attach the program anew"
)


def _netns_meanings(netns_fd: int) -> dict[int, Failure]:
    return {
        errno.EINVAL: Failure(f"file descriptor {netns_fd} is not a network namespace's"),
        errno.EBADF: Failure(f"{netns_fd} is not an open file descriptor"),
    }


def _create_meanings(
    program: Program, netns_fd: int, attach_type: AttachType
) -> dict[int, Failure]:
    limit = MAX_PROGRAMS.get(attach_type, 64)
    attached = f"{limit} programs" if limit > 1 else "a program"
    return {
        **_netns_meanings(netns_fd),
        errno.EINVAL: Failure(
            f"file descriptor {netns_fd} is not a network namespace's, or program "
            f"{program.name!r} ({program.type.label}) is not one to attach as {attach_type.label}"
        ),
        errno.E2BIG: Failure(
            f"the namespace has {attached} attached, as many as the kernel takes",
            "detach one that is not needed, or combine programs",
            CapacityError,
        ),
        errno.EEXIST: Failure(
            "a program is attached without a link, or for a flow dissector in the initial "
            "namespace or another one",
            "detach that one first",
        ),
    }
