"""The CPUs that per-CPU maps have values for."""

from __future__ import annotations

from functools import cache


@cache
def possible_cpus() -> int:
    """How many CPUs the system may ever have: the number of values a per-CPU map has for a key.

    The kernel numbers possible CPUs up to the highest one, so this is that number plus one
    (``Documentation/admin-guide/cputopology.rst``).
    """
    with open("/sys/devices/system/cpu/possible", encoding="ascii") as listing:
        last = listing.read().strip().split(",")[-1]
    return int(last.split("-")[-1]) + 1
