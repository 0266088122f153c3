"""Who wins where: all packets that some rules can match, cut so that each piece has one winner.

The pieces are cut in one dimension after the other: destination addresses, ports, sources,
interfaces. Every cut passes on only the rules that match all of the piece, and only pieces that a
rule in question matches; so the work is that of the rules which overlap those in question, not that
of the ruleset.

Prefixes are nested or apart. A piece of addresses is therefore a prefix less the longer ones in it,
and the rules that match it are those of the prefixes around it. The worst case, p port ranges on
one prefix and a longer prefixes in it, needs p * a steps and cannot do with less: so many pieces
there are.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import NamedTuple

from .ports import Ports
from .prefix import Prefix, everything
from .regions import ANY_INTERFACE, Interfaces, Runs, without
from .rule import Rule


@dataclass(frozen=True, slots=True)
class Claim:
    """A rule in a contest between an old ruleset and a new one.

    :param rank: its place in the order of precedence, among the rules of both.
    :param rule: the rule.
    :param old: whether the old ruleset has it.
    :param new: whether the new ruleset has it.
    """

    rank: int
    rule: Rule
    old: bool
    new: bool

    @property
    def in_question(self) -> bool:
        """Whether only one of the rulesets has it."""
        return self.old != self.new


class Piece(NamedTuple):
    """A set of packets for all of which the same rule wins.

    :param addresses: the destination addresses.
    :param ports: the ports.
    :param sources: the source addresses.
    :param interfaces: the interfaces.
    :param old: the winner in the old ruleset, None where no rule matches.
    :param new: the winner in the new ruleset, None where no rule matches.
    """

    addresses: Runs
    ports: Ports
    sources: Runs
    interfaces: Interfaces
    old: Rule | None
    new: Rule | None


def contest(claims: Sequence[Claim]) -> Iterator[Piece]:
    """Cut the packets that a rule in question matches into pieces: disjoint and complete.

    :param claims: rules of one protocol and family. All rules of both rulesets that match a packet
        which a rule in question matches have to be among them.
    """
    if not claims:
        return
    whole = everything(claims[0].rule.family)
    for addresses, at_address in _cut_by_prefix(claims, lambda rule: rule.address):
        for ports, at_port in _cut_by_ports(at_address):
            for sources, from_source in _cut_by_prefix(at_port, lambda rule: rule.source or whole):
                for interfaces, matching in _cut_by_interface(from_source):
                    matching.sort(key=lambda claim: claim.rank)
                    old = next((claim.rule for claim in matching if claim.old), None)
                    new = next((claim.rule for claim in matching if claim.new), None)
                    yield Piece(addresses, ports, sources, interfaces, old, new)


@dataclass(slots=True)
class _Node:
    """A prefix in the tree of the prefixes that rules name."""

    prefix: Prefix
    last: int
    claims: list[Claim]
    holes: list[tuple[int, int]] = field(default_factory=list)
    in_question: bool = False


def _cut_by_prefix(
    claims: Sequence[Claim], prefix_of: Callable[[Rule], Prefix]
) -> Iterator[tuple[Runs, list[Claim]]]:
    own: dict[Prefix, list[Claim]] = {}
    for claim in claims:
        own.setdefault(prefix_of(claim.rule), []).append(claim)
    path: list[_Node] = []

    def piece_of(node: _Node) -> Iterator[tuple[Runs, list[Claim]]]:
        runs = without(node.prefix.address, node.last, node.holes)
        if node.in_question and runs:
            yield runs, [claim for around in (*path, node) for claim in around.claims]

    # Sorted by address, then length: a prefix comes right before those in it. It is done with when
    # the first one comes that is not in it, and its holes are then known.
    for prefix in sorted(own):
        while path and path[-1].last < prefix.address:
            yield from piece_of(path.pop())
        node = _Node(prefix, prefix.last, own[prefix])
        node.in_question = any(claim.in_question for claim in node.claims)
        if path:
            path[-1].holes.append((prefix.address, node.last))
            node.in_question |= path[-1].in_question
        path.append(node)
    while path:
        yield from piece_of(path.pop())


def _cut_by_ports(claims: Sequence[Claim]) -> Iterator[tuple[Ports, list[Claim]]]:
    starts: dict[int, list[Claim]] = {}
    ends: dict[int, list[Claim]] = {}
    for claim in claims:
        starts.setdefault(claim.rule.ports.low, []).append(claim)
        ends.setdefault(claim.rule.ports.high + 1, []).append(claim)
    active: dict[int, Claim] = {}
    in_question = 0
    bounds = sorted({*starts, *ends})
    for low, after in pairwise(bounds):
        for claim in ends.get(low, ()):
            del active[claim.rank]
            in_question -= claim.in_question
        for claim in starts.get(low, ()):
            active[claim.rank] = claim
            in_question += claim.in_question
        if in_question:
            yield Ports(low, after - 1), list(active.values())


def _cut_by_interface(claims: Sequence[Claim]) -> Iterator[tuple[Interfaces, list[Claim]]]:
    names = sorted({claim.rule.interface for claim in claims if claim.rule.interface is not None})
    others = [claim for claim in claims if claim.rule.interface is None]
    if any(claim.in_question for claim in others):
        yield Interfaces(tuple(names), excluded=True) if names else ANY_INTERFACE, others
    for name in names:
        matching = [claim for claim in claims if claim.rule.interface in (None, name)]
        if any(claim.in_question for claim in matching):
            yield Interfaces((name,), excluded=False), matching
