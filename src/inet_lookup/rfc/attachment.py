"""Attaching, detaching and querying the RFC's way, for users of the RFC's API in Python."""

from __future__ import annotations

from contextlib import ExitStack
from typing import TYPE_CHECKING, overload

from ..net.namespaces import Namespace
from .exclusive import Attachment, attach_exclusively, detach_only, query_attached

if TYPE_CHECKING:
    from ..bpf import AttachType, NetnsLink, Program
    from ..programs.attachment import NamespaceSpec, ProgramLink
    from ..programs.function import ProgramFunction


@overload
def attach(
    program: ProgramFunction, netns: NamespaceSpec = ..., *, flags: int = ...
) -> ProgramLink: ...
@overload
def attach(
    program: Program,
    netns: NamespaceSpec = ...,
    *,
    flags: int = ...,
    attach_type: AttachType | None = ...,
) -> NetnsLink: ...
def attach(
    program: ProgramFunction | Program,
    netns: NamespaceSpec = None,
    *,
    flags: int = 0,
    attach_type: AttachType | None = None,
) -> ProgramLink | NetnsLink:
    """Attach a program to a network namespace that has none (``BPF_PROG_ATTACH`` of the RFC).

    In the RFC the namespace holds the program until it is detached; on the kernels of today the
    link that this returns does, while it is open or pinned. Others may attach further programs
    behind it.

    :param program: one written in Python, or one that is loaded.
    :param netns: a namespace's name, path or pid, an open :class:`Namespace`, or None for that of
        the calling thread.
    :param flags: 0; none are defined.
    :param attach_type: ``SK_LOOKUP`` by default, or ``FLOW_DISSECTOR`` for a loaded program.
    :raises KernelError: ``EINVAL`` where flags are given, ``EEXIST`` where a program is attached.
    :raises NamespaceError: there is no such namespace.
    :raises CompileError: a program in Python cannot be compiled.
    :raises VerifierError: the kernel's verifier rejects it.
    :raises PrivilegeError: ``CAP_NET_ADMIN``, or ``CAP_BPF`` to load a program, is missing.
    """
    from ..bpf.programs import Program

    with ExitStack() as stack:
        namespace = _open(netns, stack)
        fd = namespace.fileno()
        if isinstance(program, Program):
            return attach_exclusively(program, fd, _type(attach_type), flags=flags)
        from ..programs.attachment import ProgramLink
        from ..programs.loading import load

        with ExitStack() as on_failure:
            loaded = on_failure.enter_context(load(program))
            link = attach_exclusively(loaded.program, fd, _type(attach_type), flags=flags)
            on_failure.pop_all()
            return ProgramLink(link, loaded)


def detach(netns: NamespaceSpec = None, *, attach_type: AttachType | None = None) -> int:
    """Detach the program of a network namespace, whoever attached it (``BPF_PROG_DETACH``).

    :return: the id of the program.
    :raises KernelError: ``ENOENT`` where none is attached, ``EBUSY`` where several are.
    :raises NamespaceError: there is no such namespace.
    :raises PrivilegeError: ``CAP_NET_ADMIN`` or ``CAP_SYS_ADMIN`` is missing.
    """
    with ExitStack() as stack:
        return detach_only(_open(netns, stack), _type(attach_type))


def query(
    netns: NamespaceSpec = None, *, flags: int = 0, attach_type: AttachType | None = None
) -> Attachment:
    """Return what is attached to a network namespace (``BPF_PROG_QUERY``).

    :param flags: 0; none are defined.
    :return: ``attach_flags`` 0, the count (0 or 1) and the program's id.
    :raises KernelError: ``EINVAL`` where flags are given.
    :raises NamespaceError: there is no such namespace.
    :raises PrivilegeError: ``CAP_NET_ADMIN`` is missing.
    """
    with ExitStack() as stack:
        return query_attached(_open(netns, stack).fileno(), _type(attach_type), flags=flags)


def _type(attach_type: AttachType | None) -> AttachType:
    from ..bpf.uapi import AttachType

    return AttachType.SK_LOOKUP if attach_type is None else attach_type


def _open(netns: NamespaceSpec, stack: ExitStack) -> Namespace:
    if isinstance(netns, Namespace):
        return netns
    return stack.enter_context(Namespace.open(netns))
