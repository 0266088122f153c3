"""Counters that outlive generations.

The dispatcher counts into a per-CPU array: one element for each rule, at an index that the rule
keeps from generation to generation, and three for each service. Nothing in it is ever set back: the
array ``bases`` beside it says where each count began. What is shown is the difference, so a counter
that is given to another rule starts at 0, and all go on when a larger array takes the place of one
that is full.
"""

from __future__ import annotations

import operator
import struct
from array import array
from collections.abc import Iterable, Sequence
from typing import Final, NamedTuple

from ..bpf.cpus import possible_cpus
from ..bpf.map_batches import read_array
from ..bpf.maps import Map
from ..bpf.uapi import MapType
from ..dispatch.layout import FIRST_RULE_COUNTER, SERVICE_COUNTERS

SMALLEST: Final = 1024
"""How many rules there is room for in any case."""

_WORD: Final = (1 << 64) - 1


class ServiceCounts(NamedTuple):
    """What came to a service since it is there.

    :ivar lookups: how many look-ups rules decided for it.
    :ivar misses: how many of them found no socket that could take them.
    :ivar errors: how many of the misses were refusals by the kernel: a socket of the wrong kind.
    """

    lookups: int
    misses: int
    errors: int


class Counts:
    """All counts at one moment.

    :param totals: what was counted ever, by index.
    :param bases: where counting began, by index.
    """

    def __init__(self, totals: Sequence[int], bases: Sequence[int]) -> None:
        self._totals = totals
        self._bases = bases

    @classmethod
    def read(cls, counters: Map, bases: Map) -> Counts:
        """Read the counters of a dispatcher."""
        return cls(read_totals(counters), array("Q", read_array(bases)))

    def of(self, index: int) -> int:
        """The count at an index."""
        return (self._totals[index] - self._bases[index]) & _WORD

    def of_service(self, number: int) -> ServiceCounts:
        """The counts of a service."""
        first = number * SERVICE_COUNTERS
        return ServiceCounts(*(self.of(first + place) for place in range(SERVICE_COUNTERS)))


def read_totals(counters: Map) -> Sequence[int]:
    """What was counted ever, by index: the sums over all processors."""
    per_cpu = array("Q", read_array(counters))
    cpus = possible_cpus()
    totals: Sequence[int] = per_cpu[::cpus]
    for cpu in range(1, cpus):
        totals = list(map(operator.add, totals, per_cpu[cpu::cpus]))
    return totals


def room_for(rules: int) -> int:
    """How many rules to make room for: twice what a ruleset has, so that it can change."""
    room = SMALLEST
    while room < 2 * rules:
        room *= 2
    return room


def room_in(counters: Map) -> int:
    """How many rules a map of counters has room for."""
    return counters.max_entries - FIRST_RULE_COUNTER


def make_bases(counters: Map) -> Map:
    """Make the map of bases for a new map of counters, which begin at 0."""
    return Map.create(
        MapType.ARRAY, key_size=4, value_size=8, max_entries=counters.max_entries, name="bases"
    )


def begin(indexes: Iterable[int], counters: Map, bases: Map) -> None:
    """Let counts begin now.

    :param indexes: of counters that nothing in force counts into.
    """
    wanted = list(indexes)
    if wanted:
        totals = read_totals(counters)
        _write(bases, wanted, [totals[index] for index in wanted])


def carry_over(indexes: Iterable[int], before: tuple[Map, Map], after: tuple[Map, Map]) -> None:
    """Let counts in new maps begin where those in the old ones have come to.

    May be called again, when the old ones have gone on.

    :param indexes: of the counters to carry over.
    :param before: the counters and bases in force.
    :param after: those that take their place.
    """
    counts = Counts.read(*before)
    wanted = list(indexes)
    _write(after[1], wanted, [-counts.of(index) & _WORD for index in wanted])


def _write(bases: Map, indexes: Sequence[int], values: Sequence[int]) -> None:
    count = len(indexes)
    bases.update_batch(struct.pack(f"={count}I", *indexes), struct.pack(f"={count}Q", *values))
