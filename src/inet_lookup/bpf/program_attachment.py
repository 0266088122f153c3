"""Attaching a program to a namespace without a link, as before Linux 5.7.

Of the program types that attach to a network namespace, only ``flow_dissector`` can still be
attached so; for ``sk_lookup`` the kernel offers links alone (:mod:`.links`). Both commands act on
the network namespace of the calling thread.
"""

from __future__ import annotations

import errno
from ctypes import Structure, c_uint32
from typing import TYPE_CHECKING

from .failures import Failure, Since, failure
from .privileges import Capability
from .syscall import bpf
from .uapi import AttachType, Command

if TYPE_CHECKING:
    from .programs import Program


class _ProgAttach(Structure):
    """``BPF_PROG_ATTACH`` and ``BPF_PROG_DETACH``."""

    _fields_ = (
        ("target_fd", c_uint32),
        ("attach_bpf_fd", c_uint32),
        ("attach_type", c_uint32),
        ("attach_flags", c_uint32),
    )


def attach_without_link(program: Program, attach_type: AttachType) -> None:
    """Attach a program to the calling thread's namespace until it is detached, or replaced.

    :raises PrivilegeError: without CAP_NET_ADMIN.
    :raises KernelError: ``EEXIST`` where a program is attached with a link, ``EINVAL`` where the
        program, or the kernel for this type, cannot be attached so.
    """
    _run(Command.PROG_ATTACH, "attach", program, attach_type)


def detach_without_link(program: Program, attach_type: AttachType) -> None:
    """Detach a program from the calling thread's namespace.

    :raises PrivilegeError: without CAP_NET_ADMIN.
    :raises KernelError: ``ENOENT`` where none is attached; ``EINVAL`` where it is attached with a
        link, or another program is attached.
    """
    _run(Command.PROG_DETACH, "detach", program, attach_type)


def _run(command: Command, what: str, program: Program, attach_type: AttachType) -> None:
    request = _ProgAttach(attach_bpf_fd=program.fd, attach_type=attach_type)
    try:
        bpf(command, request)
    except OSError as error:
        raise failure(
            error,
            f"{what} program {program.name!r} without a link ({attach_type.label})",
            meanings={
                errno.EEXIST: Failure("a program is attached with a link"),
                errno.ENOENT: Failure("no program is attached"),
                errno.EINVAL: Failure(
                    f"a program of type {program.type.label} cannot be attached so, or it is"
                    " attached with a link, or it is another one than the one attached"
                ),
            },
            capabilities=(Capability.CAP_NET_ADMIN,),
            since=Since("attaching a flow dissector to a namespace", (4, 20)),
        ) from error
