"""Who wins where, for all packets: the sets of packets for which the same rules win.

Prefixes are nested or apart, so the rules of a prefix override those of the prefixes around it, on
the ports that they name. The prefixes are walked from the outside in, with, for each, a list of
stretches of ports and the rules that count there; a prefix inside takes over the list of the one
around it, except for the ports that its own rules name. For each set of ports that something
happens on, only the prefixes where that set changes are noted down. So the work grows with the
number of rules and with how many overlap one another, not with rules times addresses.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Generic, NamedTuple, TypeVar

from .ports import MAX_PORT
from .prefix import Prefix, everything
from .regions import (
    ANY_INTERFACE,
    Interfaces,
    Runs,
    runs_less,
    union_of_interfaces,
    union_of_runs,
)
from .rule import Rule

_V = TypeVar("_V")


class Claim(NamedTuple):
    """A rule in an old ruleset, a new one, or both.

    :param rank: its place in the order of precedence, among the rules of both.
    :param rule: the rule.
    :param old: whether the old ruleset has it.
    :param new: whether the new ruleset has it.
    """

    rank: int
    rule: Rule
    old: bool
    new: bool


class Territory(NamedTuple, Generic[_V]):
    """A set of packets for which the same value holds.

    :param value: the value.
    :param addresses: the destination addresses.
    :param ports: the destination ports.
    :param sources: the source addresses.
    :param interfaces: the interfaces.
    """

    value: _V
    addresses: Runs
    ports: Runs
    sources: Runs
    interfaces: Interfaces


_Share = tuple[_V, Runs, Interfaces]
"""A value, and the sources and interfaces for which it holds."""


class _Stretch(NamedTuple, Generic[_V]):
    """Ports on which the same rules count.

    :param low: the first port.
    :param high: the last port.
    :param claims: the rules that some packet may go to, in the order of precedence.
    :param shares: the values, other than None, that follow from them.
    """

    low: int
    high: int
    claims: tuple[Claim, ...]
    shares: tuple[_Share[_V], ...]


@dataclass(frozen=True, slots=True)
class _Node(Generic[_V]):
    """A prefix on the way from the outside to the prefix at hand.

    :param last: its last address.
    :param stretches: all ports, in order.
    :param ports: the ports of each share, the stretches' shares the other way round.
    """

    last: int
    stretches: list[_Stretch[_V]]
    ports: dict[_Share[_V], Runs]


def territories(
    claims: Sequence[Claim], value_of: Callable[[Rule | None, Rule | None], _V | None]
) -> Iterator[Territory[_V]]:
    """Find the packets for which a value holds.

    :param claims: rules of one protocol and family, sorted by rank.
    :param value_of: makes a value of the rule that wins in the old ruleset and the one that wins in
        the new one, either of them None where none matches. It may be asked only where the winners
        differ; None is for packets that are of no interest.
    :return: disjoint sets of packets, one for each set of ports that a value holds for.
    """
    if not claims:
        return
    whole = everything(claims[0].rule.family)
    own: dict[Prefix, list[Claim]] = {}
    for claim in claims:
        own.setdefault(claim.rule.address, []).append(claim)
    nothing: _Node[_V] = _Node(whole.last, [_Stretch(0, MAX_PORT, (), ())], {})
    path = [nothing]
    # For each share and set of ports, where as many prefixes begin, less those that end, as make it
    # hold there: each prefix at which the ports of the share change is counted in for the new set
    # and out for the old one.
    counts: dict[tuple[_Share[_V], Runs], list[tuple[int, int]]] = {}
    # Sorted by address, then length: a prefix comes right before those in it.
    for prefix in sorted(own):
        while path[-1].last < prefix.address:
            path.pop()
        around = path[-1]
        stretches, lost, gained = _overlay(around.stretches, own[prefix], value_of, whole)
        ports = dict(around.ports)
        for share in lost | gained:
            before = around.ports.get(share, ())
            kept = runs_less(before, union_of_runs(lost.get(share, ())))
            after = union_of_runs([*kept, *gained.get(share, ())])
            if before == after:
                continue
            ports[share] = after
            for which, change in ((before, -1), (after, 1)):
                bounds = (prefix.address, change), (prefix.last + 1, -change)
                counts.setdefault((share, which), []).extend(bounds)
        path.append(_Node(prefix.last, stretches, ports))
    for (share, where), bounds_of in counts.items():
        addresses = _where_counted(bounds_of)
        if addresses and where:
            value, sources, interfaces = share
            yield Territory(value, addresses, where, sources, interfaces)


def _where_counted(bounds: list[tuple[int, int]]) -> Runs:
    """Return the runs of integers for which more prefixes count in than out."""
    runs = []
    count = begin = 0
    for at, change in sorted(bounds):
        if count == 0:
            begin = at
        count += change
        if count == 0 and begin < at:
            runs.append((begin, at - 1))
    return union_of_runs(runs)


_PortsOf = dict[_Share[_V], list[tuple[int, int]]]


def _overlay(
    around: list[_Stretch[_V]],
    own: Sequence[Claim],
    value_of: Callable[[Rule | None, Rule | None], _V | None],
    whole: Prefix,
) -> tuple[list[_Stretch[_V]], _PortsOf[_V], _PortsOf[_V]]:
    """Put a prefix's own rules over the stretches of the prefix around it.

    :return: the stretches of the prefix, and for each share the ports that it loses by this and
        those that it gains.
    """
    stretches: list[_Stretch[_V]] = []
    lost: _PortsOf[_V] = {}
    gained: _PortsOf[_V] = {}
    # The stretch that is being copied, and how far.
    at = port = 0
    for low, high, claims in _cut_by_ports(own):
        first = bisect_left(around, (low + 1,)) - 1
        if port < low:
            stretches.append(around[at]._replace(low=port, high=min(around[at].high, low - 1)))
            stretches += around[at + 1 : first]
            if at < first and around[first].low < low:
                stretches.append(around[first]._replace(high=low - 1))
        at, port = first, low
        begin = len(stretches)
        while port <= high:
            old = around[at]
            end = min(high, old.high)
            for share in old.shares:
                lost.setdefault(share, []).append((port, end))
            counting = _those_that_count([*claims, *old.claims])
            if begin < len(stretches) and stretches[-1].claims == counting:
                # These rules leave nothing of what made the difference around.
                stretches[-1] = stretches[-1]._replace(high=end)
            else:
                stretches.append(_Stretch(port, end, counting, _shares(counting, value_of, whole)))
            port = end + 1
            if port > old.high:
                at += 1
        for stretch in stretches[begin:]:
            for share in stretch.shares:
                gained.setdefault(share, []).append((stretch.low, stretch.high))
    if port <= MAX_PORT:
        stretches.append(around[at]._replace(low=port))
        stretches += around[at + 1 :]
    return stretches, lost, gained


def _cut_by_ports(claims: Sequence[Claim]) -> Iterator[tuple[int, int, list[Claim]]]:
    """Yield the runs of ports on which the same claims stand, with these in the order of rank."""
    starts: dict[int, list[Claim]] = {}
    ends: dict[int, list[Claim]] = {}
    for claim in claims:
        starts.setdefault(claim.rule.ports.low, []).append(claim)
        ends.setdefault(claim.rule.ports.high + 1, []).append(claim)
    active: dict[int, Claim] = {}
    for low, after in pairwise(sorted({*starts, *ends})):
        for claim in ends.get(low, ()):
            del active[claim.rank]
        for claim in starts.get(low, ()):
            active[claim.rank] = claim
        if active:
            yield low, after - 1, sorted(active.values())


def _those_that_count(claims: Iterable[Claim]) -> tuple[Claim, ...]:
    """Leave out the claims that come after one for all sources and interfaces.

    :param claims: claims on the same packets but for sources and interfaces, in order.
    """
    counting = []
    old = new = True
    for claim in claims:
        if (claim.old and old) or (claim.new and new):
            counting.append(claim)
            if claim.rule.source is None and claim.rule.interface is None:
                old = old and not claim.old
                new = new and not claim.new
                if not old and not new:
                    break
    return tuple(counting)


def _shares(
    claims: Sequence[Claim],
    value_of: Callable[[Rule | None, Rule | None], _V | None],
    whole: Prefix,
) -> tuple[_Share[_V], ...]:
    """Share out the packets of some addresses and ports by source and interface."""
    if all(claim.old == claim.new for claim in claims):
        return ()
    if all(claim.rule.source is None and claim.rule.interface is None for claim in claims):
        value = _value_of(claims, value_of)
        return () if value is None else ((value, ((0, whole.last),), ANY_INTERFACE),)
    by_interfaces: dict[tuple[_V, Runs], list[Interfaces]] = {}
    for interfaces, at_interface in _cut_by_interface(claims):
        for sources, from_source in _cut_by_source(at_interface, whole):
            value = _value_of(from_source, value_of)
            # Where longer source prefixes leave nothing over, there are no sources.
            if value is not None and sources:
                by_interfaces.setdefault((value, sources), []).append(interfaces)
    by_sources: dict[tuple[_V, Interfaces], list[Runs]] = {}
    for (value, sources), sets in by_interfaces.items():
        by_sources.setdefault((value, union_of_interfaces(sets)), []).append(sources)
    return tuple(
        (value, union_of_runs(run for runs in sets_of_sources for run in runs), interfaces)
        for (value, interfaces), sets_of_sources in by_sources.items()
    )


def _value_of(
    claims: Iterable[Claim], value_of: Callable[[Rule | None, Rule | None], _V | None]
) -> _V | None:
    old = new = None
    for claim in claims:
        if claim.old and old is None:
            old = claim.rule
        if claim.new and new is None:
            new = claim.rule
    return value_of(old, new)


def _cut_by_interface(claims: Sequence[Claim]) -> Iterator[tuple[Interfaces, Sequence[Claim]]]:
    names = {claim.rule.interface for claim in claims}
    named = sorted(name for name in names if name is not None)
    if not named:
        yield ANY_INTERFACE, claims
        return
    yield Interfaces(tuple(named)), [claim for claim in claims if claim.rule.interface is None]
    for name in named:
        here = [claim for claim in claims if claim.rule.interface in (None, name)]
        yield Interfaces((name,), excluded=False), here


def _cut_by_source(
    claims: Sequence[Claim], whole: Prefix
) -> Iterator[tuple[Runs, Sequence[Claim]]]:
    own: dict[Prefix, list[Claim]] = {whole: []}
    for claim in claims:
        own.setdefault(claim.rule.source or whole, []).append(claim)
    path: list[tuple[Prefix, list[Claim], list[tuple[int, int]]]] = []
    for prefix in sorted(own):
        while path and not path[-1][0].covers(prefix):
            yield _less_inner(*path.pop())
        matching = own[prefix]
        if path:
            path[-1][2].append((prefix.address, prefix.last))
            matching = sorted([*path[-1][1], *matching])
        path.append((prefix, matching, []))
    while path:
        yield _less_inner(*path.pop())


def _less_inner(
    prefix: Prefix, claims: list[Claim], inner: list[tuple[int, int]]
) -> tuple[Runs, Sequence[Claim]]:
    return runs_less(((prefix.address, prefix.last),), inner), claims
