"""The one place that calls ``bpf(2)``: no policy, no messages, errors as plain :class:`OSError`.

Everything above turns an errno into its meaning (see :mod:`inet_lookup.bpf.failures`).
"""

from __future__ import annotations

import ctypes
import errno
import os
import sys
from typing import Final

from .uapi import Command

_LOAD_ATTEMPTS: Final = 30

_NOT_REPEATED: Final = frozenset(
    {
        Command.MAP_LOOKUP_BATCH,
        Command.MAP_LOOKUP_AND_DELETE_BATCH,
        Command.MAP_UPDATE_BATCH,
        Command.MAP_DELETE_BATCH,
    }
)

_GENERIC: Final = 280  # include/uapi/asm-generic/unistd.h
_NUMBERS: Final = {
    "x86_64": 321,
    "aarch64": _GENERIC,
    "riscv64": _GENERIC,
    "riscv32": _GENERIC,
    "loongarch64": _GENERIC,
    "ppc64le": 361,
    "ppc64": 361,
    "s390x": 351,
    "sparc64": 349,
    "mips64": 5315,
    "i686": 357,
    "i586": 357,
    "armv7l": 386,
    "armv6l": 386,
}
# A 32-bit process on a 64-bit kernel uses the numbers of the 32-bit architecture.
_COMPAT_NUMBERS: Final = {"x86_64": 357, "aarch64": 386, "ppc64": 361}


def syscall_number(machine: str, *, wide: bool) -> int | None:
    """The number of ``bpf(2)`` on an architecture, or None where it is not known.

    :param machine: as ``uname -m`` prints it.
    :param wide: whether the process has 64-bit pointers.
    """
    if not wide and machine in _COMPAT_NUMBERS:
        return _COMPAT_NUMBERS[machine]
    return _NUMBERS.get(machine)


_NUMBER: Final = syscall_number(os.uname().machine, wide=sys.maxsize > 2**32)
_libc: Final = ctypes.CDLL(None, use_errno=True)
_syscall: Final = _libc.syscall
_syscall.restype = ctypes.c_long
_syscall.argtypes = (ctypes.c_long, ctypes.c_long, ctypes.c_void_p, ctypes.c_ulong)


def bpf(command: Command, attr: ctypes.Structure) -> int:
    """Call ``bpf(command, &attr, sizeof(attr))``.

    Interrupted calls are made again, so that a signal never looks like a failure; signal handlers
    written in Python run in between. Batch calls are not: they change ``attr`` on the way.

    :returns: what the kernel returns: a file descriptor for the commands that make one, else 0.
    :raises OSError: with the kernel's errno. ``ENOSYS`` also where the architecture is unknown.
    """
    if _NUMBER is None:
        raise OSError(errno.ENOSYS, os.strerror(errno.ENOSYS))
    attempts = 1
    while True:
        result: int = _syscall(_NUMBER, int(command), ctypes.byref(attr), ctypes.sizeof(attr))
        if result >= 0:
            return result
        number = ctypes.get_errno()
        if number == errno.EINTR and command not in _NOT_REPEATED:
            continue
        # The verifier gives up with EAGAIN while a signal is pending. Signals that come faster
        # than a program verifies would make this loop endless.
        if number == errno.EAGAIN and command == Command.PROG_LOAD and attempts < _LOAD_ATTEMPTS:
            attempts += 1
            continue
        raise OSError(number, os.strerror(number))
