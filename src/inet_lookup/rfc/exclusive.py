"""One program a namespace: attach, detach and query as the RFC has them.

The RFC shares this code with ``flow_dissector``, and so does this module: it serves both types of
program that attach to a network namespace. Since Linux 5.9 a namespace takes many ``sk_lookup``
programs; what is said here about the only one holds among those who attach by this module. The
kernel cannot keep others from attaching theirs behind it.
"""

from __future__ import annotations

import errno
from typing import TYPE_CHECKING, NamedTuple

from ..bpf.links import NetnsLink, links_of
from ..bpf.links import query as query_ids
from ..bpf.uapi import AttachType
from ..errors import KernelError

if TYPE_CHECKING:
    from ..bpf.programs import Program
    from ..net.namespaces import Namespace


class Attachment(NamedTuple):
    """What is attached to a namespace: what ``BPF_PROG_QUERY`` gives.

    :ivar attach_flags: 0: there are no flags for namespaces.
    :ivar program_ids: of the programs attached: one, or none. Others than those attached by this
        module may be there too, in the order in which they run.
    """

    attach_flags: int
    program_ids: tuple[int, ...]

    @property
    def program_count(self) -> int:
        """How many programs are attached."""
        return len(self.program_ids)


def attach_exclusively(
    program: Program, netns_fd: int, attach_type: AttachType, *, flags: int = 0
) -> NetnsLink:
    """Attach a program to a namespace that has none (``BPF_PROG_ATTACH`` of the RFC).

    Where two do this at the same time, one of them succeeds: the one whose program is the first in
    the order of running. The other one's program may run behind it for that instant.

    :param netns_fd: a file descriptor of the namespace.
    :param flags: 0; none are defined.
    :return: the link, which holds the program attached as long as it is open or pinned. In the RFC
        the namespace holds it.
    :raises KernelError: ``EINVAL`` where flags are given, ``EEXIST`` where a program is attached.
    :raises PrivilegeError: ``CAP_NET_ADMIN``, which asking what is attached needs, is missing.
    """
    operation = _attaching(program, attach_type)
    _require_no_flags(operation, flags)
    require_unoccupied(program, netns_fd, attach_type)
    try:
        link = NetnsLink.create(program, netns_fd, attach_type)
    except KernelError as error:
        # A flow dissector, and one was attached in between, or one is attached to the initial
        # namespace, which then dissects for all.
        if error.errno in (errno.E2BIG, errno.EEXIST):
            raise _occupied(operation) from error
        raise
    try:
        attached = query_ids(netns_fd, attach_type)
        if attached[:1] != [program.id] or attached.count(program.id) > 1:
            raise _occupied(operation)
    except BaseException:
        link.close()
        raise
    return link


def require_unoccupied(program: Program, netns_fd: int, attach_type: AttachType) -> None:
    """Refuse to attach a program as the only one to a namespace that has one.

    :raises KernelError: ``EEXIST`` where a program is attached.
    :raises PrivilegeError: ``CAP_NET_ADMIN`` is missing.
    """
    if query_ids(netns_fd, attach_type):
        raise _occupied(_attaching(program, attach_type))


def detach_only(namespace: Namespace, attach_type: AttachType) -> int:
    """Detach the program of a namespace, whoever attached it (``BPF_PROG_DETACH`` of the RFC).

    A pin of its link stays, as an empty shell.

    :return: the id of the program.
    :raises KernelError: ``ENOENT`` where none is attached, ``EBUSY`` where several are.
    :raises PrivilegeError: ``CAP_NET_ADMIN`` is missing, or ``CAP_SYS_ADMIN``, which finding the
        link needs.
    """
    operation = f"detach the program of {namespace.label} ({attach_type.label})"
    attached = query_ids(namespace.fileno(), attach_type)
    if not attached:
        raise KernelError(operation, errno.ENOENT, "no program is attached")
    if len(attached) > 1:
        raise KernelError(
            operation,
            errno.EBUSY,
            f"{len(attached)} programs are attached, and only one of them can be meant",
            hint="detach each by its link, such as with: inet-lookup prog detach NAME",
        )
    for info in links_of(namespace.inode, attach_type):
        if info.program_id == attached[0]:
            with NetnsLink.from_id(info.id) as link:
                link.detach()
            return attached[0]
    _detach_without_link(namespace, attached[0], attach_type)
    return attached[0]


def query_attached(netns_fd: int, attach_type: AttachType, *, flags: int = 0) -> Attachment:
    """Return what is attached to a namespace (``BPF_PROG_QUERY``).

    :param netns_fd: a file descriptor of the namespace.
    :param flags: 0; none are defined.
    :raises KernelError: ``EINVAL`` where flags are given, or ``netns_fd`` is not a namespace's.
    :raises PrivilegeError: ``CAP_NET_ADMIN`` is missing.
    """
    _require_no_flags(f"query what is attached to a network namespace ({attach_type.label})", flags)
    return Attachment(0, tuple(query_ids(netns_fd, attach_type)))


def _detach_without_link(namespace: Namespace, program_id: int, attach_type: AttachType) -> None:
    from ..bpf.program_attachment import detach_without_link
    from ..bpf.programs import Program

    with Program.from_id(program_id) as program:
        namespace.run(detach_without_link, program, attach_type)


def _require_no_flags(operation: str, flags: int) -> None:
    if flags:
        raise KernelError(operation, errno.EINVAL, f"flags are {flags:#x}, and none are defined")


def _attaching(program: Program, attach_type: AttachType) -> str:
    return f"attach program {program.name!r} as the only one ({attach_type.label})"


def _occupied(operation: str) -> KernelError:
    return KernelError(
        operation,
        errno.EEXIST,
        "a program is attached already",
        hint="detach it first",
    )
