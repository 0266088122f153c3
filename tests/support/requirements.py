"""What a test needs of the machine, and whether a missing need skips or fails it."""

from __future__ import annotations

import ctypes
import functools
import os
import platform
import shutil
from collections.abc import Iterable

import pytest

REQUIRED = os.environ.get("INET_LOOKUP_REQUIRE_KERNEL") == "1"
"""Whether a test whose needs are not met fails instead of being skipped."""

_BPF_SYSCALLS = {"x86_64": 321, "aarch64": 280, "riscv64": 280, "s390x": 351, "ppc64le": 361}
_BPF_MAP_CREATE = 0
_BPF_MAP_TYPE_ARRAY = 2
_CAPABILITIES = {"CAP_NET_ADMIN": 12, "CAP_SYS_PTRACE": 19, "CAP_SYS_ADMIN": 21}


@functools.cache
def kernel_obstacle() -> str | None:
    """Why kernel tests cannot run here, or None where they can."""
    effective = _effective_capabilities()
    missing = [name for name, bit in _CAPABILITIES.items() if not effective >> bit & 1]
    if missing:
        return f"needs root: this process lacks {', '.join(missing)}"
    return _bpf_obstacle()


def missing_commands(commands: Iterable[str]) -> list[str]:
    path = f"{os.environ.get('PATH', os.defpath)}:/usr/sbin:/sbin"
    return [command for command in commands if shutil.which(command, path=path) is None]


def unmet(reason: str) -> None:
    """Skip the running test for a reason, or fail it where nothing may be skipped."""
    if REQUIRED:
        pytest.fail(f"{reason} (INET_LOOKUP_REQUIRE_KERNEL=1 forbids skipping)", pytrace=False)
    pytest.skip(reason)


def _effective_capabilities() -> int:
    with open("/proc/self/status") as status:
        for line in status:
            if line.startswith("CapEff:"):
                return int(line.split()[1], 16)
    return 0


def _bpf_obstacle() -> str | None:
    """Try to make a map: containers often have root and refuse bpf(2) all the same."""
    number = _BPF_SYSCALLS.get(platform.machine())
    if number is None:
        return f"the number of bpf(2) on {platform.machine()} is not known to the tests"
    libc = ctypes.CDLL(None, use_errno=True)
    attributes = (ctypes.c_uint32 * 4)(_BPF_MAP_TYPE_ARRAY, 4, 4, 1)
    fd = libc.syscall(
        ctypes.c_long(number),
        ctypes.c_int(_BPF_MAP_CREATE),
        ctypes.byref(attributes),
        ctypes.c_uint(ctypes.sizeof(attributes)),
    )
    if fd < 0:
        return f"bpf(2) cannot make a map here: {os.strerror(ctypes.get_errno())}"
    os.close(fd)
    return None
