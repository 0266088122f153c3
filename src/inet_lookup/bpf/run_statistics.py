"""Run time statistics: how often programs ran and for how long, counted while somebody asks."""

from __future__ import annotations

from . import attr
from .failures import Since, failure
from .handle import Handle
from .privileges import Capability
from .syscall import bpf
from .uapi import Command

_RUN_TIME = 0  # BPF_STATS_RUN_TIME


class RunStatistics(Handle):
    """While it is open, the kernel counts runs and run time of every program of the system.

    Counting costs some tens of nanoseconds a run. It ends when nobody has it open any more, and
    the sysctl ``kernel.bpf_stats_enabled`` is off.
    """

    kind = "run statistics"


def enable_stats() -> RunStatistics:
    """Start counting runs (``BPF_ENABLE_STATS``, Linux 5.8); read them in a program's info.

    :raises PrivilegeError: without CAP_SYS_ADMIN.
    :raises UnsupportedError: before Linux 5.8; set ``kernel.bpf_stats_enabled`` instead.
    """
    try:
        return RunStatistics(bpf(Command.ENABLE_STATS, attr.EnableStats(_RUN_TIME)))
    except OSError as error:
        raise failure(
            error,
            "enable run statistics",
            capabilities=(Capability.CAP_SYS_ADMIN,),
            since=Since("enabling run statistics by a descriptor", (5, 8)),
        ) from error
