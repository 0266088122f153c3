"""Waiting until no program runs any more that may have seen what was before."""

from __future__ import annotations

import ctypes
import os
import time
from typing import Final

_CMD_GLOBAL: Final = 1  # linux/membarrier.h
_GENERIC: Final = 283  # include/uapi/asm-generic/unistd.h
_NUMBERS: Final = {
    "x86_64": 324,
    "aarch64": _GENERIC,
    "riscv64": _GENERIC,
    "loongarch64": _GENERIC,
    "ppc64le": 365,
    "s390x": 356,
}
_INSTEAD_SECONDS: Final = 0.05


def wait_for_running_programs() -> None:
    """Wait until all programs that run at this moment have ended.

    What is done to maps or links before is seen by every program that runs afterwards. It takes
    some milliseconds: an RCU grace period, which ``membarrier(MEMBARRIER_CMD_GLOBAL)`` waits for
    (kernel/sched/membarrier.c), and within which a socket lookup program runs. Where that is not to
    be had, as with ``nohz_full``, a moment is slept that is longer than any program takes.
    """
    number = _NUMBERS.get(os.uname().machine)
    if number is not None:
        libc = ctypes.CDLL(None, use_errno=True)
        arguments = (ctypes.c_long(number), ctypes.c_int(_CMD_GLOBAL), ctypes.c_uint(0))
        if libc.syscall(*arguments, ctypes.c_int(0)) == 0:
            return
    time.sleep(_INSTEAD_SECONDS)
