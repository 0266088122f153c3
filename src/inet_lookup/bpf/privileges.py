"""What the calling thread may do: its effective capabilities and the settings that restrict BPF."""

from __future__ import annotations

from enum import IntEnum
from typing import TYPE_CHECKING, Final

from .kernel_version import running_kernel

if TYPE_CHECKING:
    from collections.abc import Iterable

_CAP_BPF_SINCE: Final = (5, 8)

_STANDS_ALONE: Final = (1, 19)
"""CAP_DAC_OVERRIDE and CAP_SYS_PTRACE: no other capability stands in for them."""


class Capability(IntEnum):
    """The capabilities that BPF asks for (``capabilities(7)``)."""

    CAP_DAC_OVERRIDE = 1
    CAP_NET_ADMIN = 12
    CAP_SYS_PTRACE = 19
    CAP_SYS_ADMIN = 21
    CAP_PERFMON = 38
    CAP_BPF = 39


def effective_capabilities() -> int:
    """The effective set of the calling thread as a bit mask, 0 where ``/proc`` does not tell."""
    try:
        with open("/proc/thread-self/status", encoding="ascii", errors="replace") as status:
            for line in status:
                if line.startswith("CapEff:"):
                    return int(line.split()[1], 16)
    except OSError:
        pass
    return 0


def missing_capabilities(needed: Iterable[Capability]) -> list[Capability]:
    """Those of ``needed`` that the calling thread lacks.

    CAP_SYS_ADMIN stands in for CAP_BPF, CAP_NET_ADMIN and CAP_PERFMON in every check of ``bpf(2)``;
    before Linux 5.8, which split CAP_BPF off, it is what has to be there.
    """
    held = effective_capabilities()
    missing: list[Capability] = []
    for capability in needed:
        wanted = capability
        if capability == Capability.CAP_BPF and running_kernel() < _CAP_BPF_SINCE:
            wanted = Capability.CAP_SYS_ADMIN
        if held >> wanted & 1:
            continue
        if wanted not in _STANDS_ALONE and held >> Capability.CAP_SYS_ADMIN & 1:
            continue
        missing.append(wanted)
    return missing


def unprivileged_bpf_disabled() -> int | None:
    """``kernel.unprivileged_bpf_disabled``: 0 allowed, 1 and 2 refused; None where it is unknown.

    See ``Documentation/admin-guide/sysctl/kernel.rst``; 1 stays until the
    next boot, 2 can be changed.
    """
    try:
        with open("/proc/sys/kernel/unprivileged_bpf_disabled", encoding="ascii") as setting:
            return int(setting.read())
    except (OSError, ValueError):
        return None


def in_initial_user_namespace() -> bool:
    """Whether capabilities of this process count for BPF, which asks the initial user namespace."""
    try:
        with open("/proc/self/uid_map", encoding="ascii") as mapping:
            return mapping.read().split() == ["0", "0", "4294967295"]
    except OSError:
        return True
