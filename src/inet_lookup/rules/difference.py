"""The difference of two rulesets: rules, services, and which packets change hands."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from .ports import Ports
from .precedence import precedence_key
from .prefix import Family, Prefix
from .regions import Region, blocks_of, union_of_runs
from .rule import PASS, Protocol, Rule, Service
from .ruleset import Ruleset
from .territories import Claim, territories


@dataclass(frozen=True, slots=True)
class Move:
    """Packets that change hands.

    :param region: which packets.
    :param before: whose they were: a service's name, ``drop``, or ``pass``: the regular lookup's.
    :param after: whose they will be.
    """

    region: Region
    before: str
    after: str

    def __str__(self) -> str:
        return f"{self.region}: {self.before} -> {self.after}"


@dataclass(frozen=True, slots=True)
class Diff:
    """What changes when one ruleset replaces another. It is true if anything does.

    Packets that no rule matches and packets that a rule passes are the regular lookup's alike; a
    pass rule where there was none is an added rule, but moves nothing.

    :param rules_added: rules that only the new ruleset has, in the order of precedence.
    :param rules_removed: rules that only the old one has, in the order of precedence.
    :param services_added: services that only the new ruleset has, by name.
    :param services_removed: services that only the old one has, by name.
    :param services_changed: services whose ``on_miss`` changes: as they were and as they will be.
    :param moves: all packets that change hands, each in exactly one of these.
    """

    rules_added: tuple[Rule, ...]
    rules_removed: tuple[Rule, ...]
    services_added: tuple[Service, ...]
    services_removed: tuple[Service, ...]
    services_changed: tuple[tuple[Service, Service], ...]
    moves: tuple[Move, ...]

    def __bool__(self) -> bool:
        return bool(
            self.rules_added
            or self.rules_removed
            or self.services_added
            or self.services_removed
            or self.services_changed
        )


def diff(old: Ruleset, new: Ruleset) -> Diff:
    """Compare two rulesets, exactly.

    :param old: the ruleset in force.
    :param new: the ruleset that is to replace it.
    """
    old_rules, new_rules = frozenset(old.rules), frozenset(new.rules)
    removed = tuple(rule for rule in old.rules if rule not in new_rules)
    added = tuple(rule for rule in new.rules if rule not in old_rules)
    before = {service.name: service for service in old.services}
    after = {service.name: service for service in new.services}
    return Diff(
        rules_added=added,
        rules_removed=removed,
        services_added=tuple(one for one in new.services if one.name not in before),
        services_removed=tuple(one for one in old.services if one.name not in after),
        services_changed=tuple(
            (one, after[one.name])
            for one in old.services
            if one.name in after and after[one.name] != one
        ),
        moves=_moves(old, removed, added),
    )


def _moves(old: Ruleset, removed: Iterable[Rule], added: Iterable[Rule]) -> tuple[Move, ...]:
    moves = []
    for claims in _contests(old, removed, added):
        protocol, family = claims[0].rule.protocol, claims[0].rule.family
        for territory in territories(claims, _change_of_hands):
            before, after = territory.value
            region = Region(
                protocol,
                family,
                blocks_of(family, territory.addresses),
                tuple(Ports(low, high) for low, high in territory.ports),
                blocks_of(family, territory.sources),
                territory.interfaces,
            )
            moves.append(Move(region, before, after))
    return tuple(sorted(moves, key=_order))


def _change_of_hands(old: Rule | None, new: Rule | None) -> tuple[str, str] | None:
    before = old.action if old is not None else PASS
    after = new.action if new is not None else PASS
    return (before, after) if before != after else None


def _contests(
    old: Ruleset, removed: Iterable[Rule], added: Iterable[Rule]
) -> Iterator[list[Claim]]:
    """Yield, for each protocol and family, the changed rules and those that meet them."""
    gone, come = frozenset(removed), frozenset(added)
    changed: dict[tuple[Protocol, Family], list[Prefix]] = {}
    for rule in (*gone, *come):
        changed.setdefault((rule.protocol, rule.family), []).append(rule.address)
    meeting: dict[tuple[Protocol, Family], list[Rule]] = {kind: [] for kind in changed}
    roots = {kind: _Roots(prefixes) for kind, prefixes in changed.items()}
    for rule in (*old.rules, *come):
        kind = rule.protocol, rule.family
        if kind in roots and roots[kind].meet(rule.address):
            meeting[kind].append(rule)
    for kind in sorted(meeting):
        ranked = enumerate(sorted(meeting[kind], key=precedence_key))
        yield [Claim(rank, rule, rule not in come, rule not in gone) for rank, rule in ranked]


class _Roots:
    """The outermost of some prefixes of one family."""

    def __init__(self, prefixes: Iterable[Prefix]) -> None:
        runs = union_of_runs((prefix.address, prefix.last) for prefix in prefixes)
        self._firsts = [first for first, _ in runs]
        self._lasts = [last for _, last in runs]

    def meet(self, prefix: Prefix) -> bool:
        """Whether a prefix has an address in common with any of them."""
        at = bisect_right(self._firsts, prefix.last)
        return at > 0 and self._lasts[at - 1] >= prefix.address


def _order(move: Move) -> tuple[object, ...]:
    region = move.region
    return (
        region.protocol,
        region.family,
        region.addresses[0].prefix,
        region.ports,
        region.sources[0].prefix,
        region.interfaces.excluded,
        region.interfaces.names,
    )
