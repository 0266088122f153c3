"""A ruleset as the numbers that the dispatcher's maps hold; pure, without a kernel."""

from __future__ import annotations

import errno
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from ..errors import CapacityError
from ..rules import DROP, PASS, Family, Prefix, Protocol, Rule, Ruleset
from . import port_table, prefix_search
from .conditions import outcomes
from .layout import (
    ACTION_DROP,
    ACTION_PASS,
    ACTION_SERVICE,
    COUNTER_SHIFT,
    GROUP_FLAG,
    LIST_FLAG,
    ON_MISS_PASS,
    SERVICE_SHIFT,
)
from .port_table import PortTable, is_final
from .prefix_search import PrefixSearch

MAX_RUNS = 1 << 24
"""How many runs of ports a generation may have: 128 MiB of them."""


@dataclass(slots=True, eq=False)
class Tables:
    """What the maps of one generation hold; ``dispatcher`` says how they are used.

    :ivar searches: the search over prefixes, by family.
    :ivar nodes: at ``2 * node + udp`` where the node's runs begin (upper 32 bits) and their number.
    :ivar parents: at ``2 * node + udp`` the node that answers for other ports, or 0.
    :ivar intervals: first port, last port (16 bits each) and decision (32 bits) of each run.
    :ivar sources: for each group of competing rules its source prefixes with their values.
    :ivar interfaces: (list, interface name, rule's number), the name None for all others.
    """

    searches: dict[Family, PrefixSearch] = field(default_factory=dict)
    nodes: list[int] = field(default_factory=lambda: [0, 0])
    parents: list[int] = field(default_factory=lambda: [0, 0])
    intervals: list[int] = field(default_factory=list)
    sources: list[tuple[int, Prefix, int]] = field(default_factory=list)
    interfaces: list[tuple[int, str | None, int]] = field(default_factory=list)


def build(ruleset: Ruleset) -> Tables:
    """Return the tables of a ruleset.

    The number of a rule in them is its place in ``ruleset.rules``, counted from 1.

    :raises CapacityError: the rules overlap so much that the tables would exceed their bound.
    """
    tables = Tables()
    groups: dict[tuple[int, ...], int] = {}
    placed: dict[int, tuple[int, int]] = {}
    first_node: dict[tuple[int, int], int] = {}
    kept: list[PortTable] = []
    node = 0
    for family in Family:
        by_prefix = _by_prefix(ruleset.rules, family)
        numbers: dict[Prefix, int] = {}
        open_: list[tuple[Prefix, tuple[PortTable | None, PortTable | None]]] = []
        for prefix in sorted(by_prefix):
            while open_ and not open_[-1][0].covers(prefix):
                open_.pop()
            around = open_[-1][1] if open_ else (None, None)
            own = tuple(
                _table(ruleset.rules, by_prefix[prefix][protocol], outer)
                for protocol, outer in zip((Protocol.TCP, Protocol.UDP), around, strict=True)
            )
            open_.append((prefix, (own[0], own[1])))
            node += 1
            numbers[prefix] = node
            for udp, table in enumerate(own):
                if table is None:
                    tables.nodes.append(0)
                    tables.parents.append(0)
                    continue
                first_node.setdefault((id(table), udp), node)
                if id(table) not in placed:
                    kept.append(table)
                    placed[id(table)] = _place(tables, ruleset.rules, table, groups)
                offset, count = placed[id(table)]
                tables.nodes.append(offset << 32 | count)
                outer_table = table.around
                tables.parents.append(
                    0 if outer_table is None else first_node[id(outer_table), udp]
                )
        tables.searches[family] = prefix_search.build(family, numbers)
    return tables


def _by_prefix(rules: Sequence[Rule], family: Family) -> dict[Prefix, dict[Protocol, list[int]]]:
    found: dict[Prefix, dict[Protocol, list[int]]] = {}
    for rank, rule in enumerate(rules):
        if rule.family is family:
            by_protocol = found.setdefault(rule.address, {p: [] for p in Protocol})
            by_protocol[rule.protocol].append(rank)
    return found


def _table(
    rules: Sequence[Rule], ranks: Sequence[int], around: PortTable | None
) -> PortTable | None:
    if not ranks:
        return around
    return port_table.build(rules, ranks, around)


def _place(
    tables: Tables, rules: Sequence[Rule], table: PortTable, groups: dict[tuple[int, ...], int]
) -> tuple[int, int]:
    """Append a port table's runs; return where they begin and how many there are."""
    offset = len(tables.intervals)
    if offset + len(table.runs) > MAX_RUNS:
        raise CapacityError(
            "compile the ruleset",
            errno.E2BIG,
            f"its rules overlap so much that they make more than {MAX_RUNS} runs of ports",
            hint="use fewer ports or ranges on prefixes that hold many other prefixes with rules",
        )
    for run in table.runs:
        decision = _decision(tables, rules, run.ranks, groups)
        tables.intervals.append(run.low << 48 | run.high << 32 | decision)
    return offset, len(table.runs)


def _decision(
    tables: Tables,
    rules: Sequence[Rule],
    ranks: tuple[int, ...],
    groups: dict[tuple[int, ...], int],
) -> int:
    if is_final(rules[ranks[0]]):
        return ranks[0] + 1
    group = groups.get(ranks)
    if group is None:
        group = groups[ranks] = len(groups) + 1
        for prefix, outcome in outcomes(rules, ranks).items():
            default = 0 if outcome.default is None else outcome.default + 1
            if not outcome.by_interface:
                tables.sources.append((group, prefix, default))
                continue
            number = len(tables.sources)
            tables.sources.append((group, prefix, LIST_FLAG | number))
            tables.interfaces.append((number, None, default))
            for interface, rank in outcome.by_interface:
                tables.interfaces.append((number, interface, rank + 1))
    return GROUP_FLAG | group


def action_words(
    ruleset: Ruleset, services: Mapping[str, int], counters: Mapping[Rule, int]
) -> list[int]:
    """Return the word of each rule's action, by the rule's number; that of 0 is unused.

    :param services: the number of each service.
    :param counters: the place of each rule's counter.
    """
    on_miss = {service.name: service.on_miss for service in ruleset.services}
    words = [0]
    for rule in ruleset.rules:
        word = counters[rule] << COUNTER_SHIFT
        if rule.action == PASS:
            word |= ACTION_PASS
        elif rule.action == DROP:
            word |= ACTION_DROP
        else:
            word |= ACTION_SERVICE | services[rule.action] << SERVICE_SHIFT
            if on_miss[rule.action] == PASS:
                word |= ON_MISS_PASS
        words.append(word)
    return words
