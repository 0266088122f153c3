"""From an errno to its meaning: which error class, what it means for this operation, what to do.

``bpf(2)`` has one page of errnos for forty commands; ``EPERM`` alone means a missing capability, a
memory limit, a path outside a BPF file system, or a program that is not the expected one. So every
operation brings a table of what its errnos mean, and this module adds what all have in common.
"""

from __future__ import annotations

import errno as _errno
import os
from typing import TYPE_CHECKING, Final, NamedTuple

from ..errors import CapacityError, KernelError, PrivilegeError, UnsupportedError
from .kernel_version import running_kernel, show
from .privileges import (
    Capability,
    in_initial_user_namespace,
    missing_capabilities,
    unprivileged_bpf_disabled,
)
from .uapi import ENOTSUPP

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

# Linux 5.11 charges BPF memory to the memory cgroup instead of RLIMIT_MEMLOCK.
_MEMLOCK_UNTIL: Final = (5, 11)

# How kernels answer to a command, type or flag that they do not know.
_UNKNOWN_TO_KERNEL: Final = (_errno.EINVAL, _errno.E2BIG, _errno.EOPNOTSUPP, ENOTSUPP)


class Failure(NamedTuple):
    """What one errno means for one operation."""

    meaning: str
    hint: str | None = None
    error: type[KernelError] = KernelError


class Since(NamedTuple):
    """What an operation rests on, and the version of Linux that brought it."""

    what: str
    version: tuple[int, int]


_COMMON: Final[Mapping[int, Failure]] = {
    _errno.ENOSYS: Failure(
        "the kernel has no bpf() system call",
        "use a kernel built with CONFIG_BPF_SYSCALL=y",
        UnsupportedError,
    ),
    _errno.ENOMEM: Failure("the kernel has no memory for it", None, CapacityError),
    _errno.EMFILE: Failure(
        "the process has as many open files as it may",
        "raise the limit: ulimit -n",
        CapacityError,
    ),
    _errno.ENFILE: Failure(
        "the system has as many open files as it may", "raise fs.file-max", CapacityError
    ),
    _errno.EBUSY: Failure("it is in use at this moment", "try again"),
    _errno.EBADF: Failure("the file descriptor is not open or not of the right kind"),
    ENOTSUPP: Failure(
        "the kernel cannot do this with an object of this type", None, UnsupportedError
    ),
}


def failure(
    error: OSError,
    operation: str,
    *,
    meanings: Mapping[int, Failure] | None = None,
    capabilities: Sequence[Capability] = (),
    since: Since | None = None,
    charges_memory: bool = False,
) -> KernelError:
    """The error to raise for a failed system call.

    :param error: what the system call raised.
    :param operation: what was being done, such as ``create map 'servers' (sockmap)``.
    :param meanings: what errnos mean for this operation; goes before the common meanings.
    :param capabilities: what the operation needs when the kernel answers ``EPERM``.
    :param since: what the operation needs of the kernel; named when the running one is older.
    :param charges_memory: whether ``EPERM`` may mean the limit on locked memory (before 5.11).
    """
    number = error.errno or _errno.EIO
    running = running_kernel()
    if since is not None and running < since.version and number in _UNKNOWN_TO_KERNEL:
        return UnsupportedError(
            operation,
            number,
            f"{since.what} needs {show(since.version)}, and this is {show(running)}",
            hint=f"run {show(since.version)} or newer",
        )
    if meanings is not None and number in meanings:
        known = meanings[number]
        return known.error(operation, number, known.meaning, hint=known.hint)
    if number == _errno.EPERM:
        return _permission_failure(
            operation, capabilities, charges_memory and running < _MEMLOCK_UNTIL
        )
    if number in _COMMON:
        known = _COMMON[number]
        return known.error(operation, number, known.meaning, hint=known.hint)
    return KernelError(operation, number, os.strerror(number))


def _permission_failure(
    operation: str, capabilities: Sequence[Capability], limits_memory: bool
) -> KernelError:
    missing = missing_capabilities(capabilities)
    if not missing:
        if limits_memory:
            return CapacityError(
                operation,
                _errno.EPERM,
                "the limit on locked memory is reached, which counts BPF objects before Linux 5.11",
                hint="raise it: ulimit -l unlimited, or LimitMEMLOCK=infinity in the systemd unit",
            )
        return PrivilegeError(
            operation,
            _errno.EPERM,
            "refused although the process has the capabilities",
            hint="a seccomp filter (a container's, or systemd's SystemCallFilter=) or the kernel's "
            "lockdown refuses it",
        )
    names = " and ".join(capability.name for capability in missing)
    disabled = unprivileged_bpf_disabled()
    if missing == [Capability.CAP_BPF] and disabled:
        meaning = f"the process lacks CAP_BPF, and kernel.unprivileged_bpf_disabled is {disabled}"
    else:
        meaning = f"the process lacks {names}"
    if not in_initial_user_namespace():
        hint = (
            f"{names} must be held in the initial user namespace: "
            "start it outside of the container or user namespace"
        )
    else:
        hint = f"run it as root, or give it {names}"
    return PrivilegeError(operation, _errno.EPERM, meaning, hint=hint)
