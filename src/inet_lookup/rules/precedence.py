"""Which of several rules that match a packet wins, and which pairs leave that open.

A rule beats another by, in this order: a longer destination prefix; fewer ports; a longer source
prefix; an interface named. Two different rules that are equal in all four and match some packet
alike are ambiguous, and no ruleset holds such a pair.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise

from .packet import Packet
from .rule import Rule


def specificity(rule: Rule) -> tuple[int, int, int, bool]:
    """Return the four criteria, so that of two rules which match a packet the greater wins."""
    return (
        rule.address.length,
        -rule.ports.width,
        rule.source.length if rule.source is not None else 0,
        rule.interface is not None,
    )


def precedence_key(rule: Rule) -> tuple[int | str, ...]:
    """Return the key that sorts rules into the order of precedence.

    Of the rules that match a packet the first in this order wins. Rules equal in the four criteria
    that could meet in a packet are neighbours in it, lowest ports first.
    """
    source = rule.source
    return (
        rule.protocol,
        rule.address.family,
        -rule.address.length,
        rule.ports.width,
        -source.length if source is not None else 0,
        rule.interface is None,
        rule.address.address,
        source.address if source is not None else 0,
        rule.interface or "",
        rule.ports.low,
        rule.action,
    )


def why_it_loses(loser: Rule, winner: Rule) -> str:
    """Say by which criterion one rule loses to another that matches the same packet."""
    if loser.address.length != winner.address.length:
        return f"{winner.address} is a longer prefix than {loser.address}"
    if loser.ports.width != winner.ports.width:
        return f"port {winner.ports} is narrower than {loser.ports}"
    if loser.source != winner.source:
        if loser.source is None:
            return f"the winner names a source, {winner.source}"
        return f"source {winner.source} is a longer prefix than {loser.source}"
    return f"the winner names an interface, {winner.interface}"


@dataclass(frozen=True, slots=True)
class Ambiguity:
    """Two rules of which neither is more specific, and a packet that both match."""

    first: Rule
    second: Rule
    witness: Packet

    def __str__(self) -> str:
        return f'"{self.first}" and "{self.second}" are equally specific for {self.witness}'


def ambiguities(rules: Sequence[Rule]) -> Iterator[Ambiguity]:
    """Find ambiguous pairs.

    Every rule that is ambiguous with another is named in at least one pair; of many rules that meet
    in one packet, not every pair is.

    :param rules: different rules, sorted by :func:`precedence_key`.
    """
    # Equal in the criteria and matching alike means: same prefixes (of one length, they meet only
    # if they are one), same interface, and runs of ports of one width that meet. Such rules are
    # neighbours by the sorting, and among runs of one width sorted by their start, if any two
    # meet, so do all that lie between.
    for first, second in pairwise(rules):
        if (
            first.address == second.address
            and first.protocol is second.protocol
            and first.ports.width == second.ports.width
            and first.ports.overlaps(second.ports)
            and first.source == second.source
            and first.interface == second.interface
        ):
            witness = Packet(
                first.family,
                first.protocol,
                local_ip=first.address.address,
                local_port=second.ports.low,
                remote_ip=first.source.address if first.source is not None else 0,
                interface=first.interface,
            )
            yield Ambiguity(first, second, witness)
