"""Port tables: for each prefix and protocol, disjoint runs of ports with the rules that compete.

The rules that compete for a run are kept in the order of precedence, up to the first that needs
neither a source nor an interface: whatever comes after it never wins. A prefix whose rules leave
ports open takes these over from the prefix around it, or, where that has many, points to it.
"""

from __future__ import annotations

from bisect import insort
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from ..rules import MAX_PORT, Rule
from .layout import CHAIN, INHERIT


class Run(NamedTuple):
    """A run of ports, both ends included, and the ranks of the rules that compete for it.

    A rank is a rule's place in the ruleset's order of precedence, from 0.
    """

    low: int
    high: int
    ranks: tuple[int, ...]


@dataclass(slots=True, eq=False)
class PortTable:
    """What one prefix says about the ports of one protocol.

    :ivar runs: disjoint runs, ascending.
    :ivar around: the table that answers for ports in no run, or None.
    :ivar depth: how many tables follow by ``around``.
    """

    runs: list[Run]
    around: PortTable | None
    depth: int

    def within(self, low: int, high: int) -> Iterator[Run]:
        """Iterate over the runs between two ports, cut to them, those of ``around`` included."""
        at = low
        for run in self.runs:
            if run.high < low:
                continue
            if run.low > high:
                break
            if run.low > at and self.around is not None:
                yield from self.around.within(at, run.low - 1)
            start, end = max(run.low, low), min(run.high, high)
            yield Run(start, end, run.ranks)
            at = end + 1
        if at <= high and self.around is not None:
            yield from self.around.within(at, high)


def build(rules: Sequence[Rule], ranks: Sequence[int], around: PortTable | None) -> PortTable:
    """Return the port table of a prefix.

    :param rules: the ruleset's rules in the order of precedence.
    :param ranks: the ranks of the rules of this prefix and protocol, ascending.
    :param around: the table of the longest shorter prefix that has rules, or None.
    :return: the table; ``around`` itself where the prefix has no rules for this protocol.
    """
    runs = _own_runs(rules, ranks)
    if around is None:
        return PortTable(_merged(runs), None, 0)
    if not runs:
        return around
    copy = len(around.runs) <= INHERIT and around.around is None
    if copy or around.depth + 1 >= CHAIN:
        return PortTable(_merged(list(_completed(rules, runs, around, fill=True))), None, 0)
    completed = list(_completed(rules, runs, around, fill=False))
    return PortTable(_merged(completed), around, around.depth + 1)


def is_final(rule: Rule) -> bool:
    """Whether a rule matches every packet of its address and ports."""
    return rule.source is None and rule.interface is None


def _own_runs(rules: Sequence[Rule], ranks: Sequence[int]) -> list[Run]:
    if len(ranks) == 1:
        ports = rules[ranks[0]].ports
        return [Run(ports.low, ports.high, (ranks[0],))]
    starts: dict[int, list[int]] = {}
    ends: dict[int, list[int]] = {}
    for rank in ranks:
        starts.setdefault(rules[rank].ports.low, []).append(rank)
        ends.setdefault(rules[rank].ports.high + 1, []).append(rank)
    active: list[int] = []
    runs = []
    points = sorted({*starts, *ends})
    for point, following in zip(points, [*points[1:], MAX_PORT + 1], strict=True):
        for rank in ends.get(point, ()):
            active.remove(rank)
        for rank in starts.get(point, ()):
            insort(active, rank)
        if active:
            runs.append(Run(point, following - 1, _until_final(rules, active)))
    return runs


def _until_final(rules: Sequence[Rule], ranks: Sequence[int]) -> tuple[int, ...]:
    for place, rank in enumerate(ranks):
        if is_final(rules[rank]):
            return tuple(ranks[: place + 1])
    return tuple(ranks)


def _completed(
    rules: Sequence[Rule], runs: Sequence[Run], around: PortTable, *, fill: bool
) -> Iterator[Run]:
    """Add what the prefix around says: to runs that it may decide, and with ``fill`` between."""
    at = 0
    for run in runs:
        if fill and run.low > at:
            yield from around.within(at, run.low - 1)
        if is_final(rules[run.ranks[-1]]):
            yield run
        else:
            yield from _extended(run, around)
        at = run.high + 1
    if fill and at <= MAX_PORT:
        yield from around.within(at, MAX_PORT)


def _extended(run: Run, around: PortTable) -> Iterator[Run]:
    at = run.low
    for outer in around.within(run.low, run.high):
        if outer.low > at:
            yield Run(at, outer.low - 1, run.ranks)
        yield Run(outer.low, outer.high, run.ranks + outer.ranks)
        at = outer.high + 1
    if at <= run.high:
        yield Run(at, run.high, run.ranks)


def _merged(runs: list[Run]) -> list[Run]:
    if len(runs) < 2:
        return runs
    merged: list[Run] = []
    for run in runs:
        if merged and merged[-1].high + 1 == run.low and merged[-1].ranks == run.ranks:
            merged[-1] = merged[-1]._replace(high=run.high)
        else:
            merged.append(run)
    return merged
