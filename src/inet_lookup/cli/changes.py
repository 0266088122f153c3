"""The difference of two rulesets, for people and for programs."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import groupby
from typing import TYPE_CHECKING, Any

from .tables import table

if TYPE_CHECKING:
    from ..rules import Block, Diff, Move, Region, Service

_ON_A_LINE = 3
"""How many addresses stand on one line; more have a line each."""


def diff_json(diff: Diff) -> dict[str, Any]:
    """Return a difference for ``--json``."""
    from ..rules import rule_entry, service_entry

    return {
        "changes": bool(diff),
        "rules_added": [rule_entry(rule) for rule in diff.rules_added],
        "rules_removed": [rule_entry(rule) for rule in diff.rules_removed],
        "services_added": [service_entry(service) for service in diff.services_added],
        "services_removed": [service_entry(service) for service in diff.services_removed],
        "services_changed": [
            {"name": after.name, "on_miss": {"before": before.on_miss, "after": after.on_miss}}
            for before, after in diff.services_changed
        ],
        "moves": [_move_json(move) for move in diff.moves],
    }


def diff_lines(diff: Diff) -> list[str]:
    """Return a difference for people."""
    lines = []
    services = [f"+ {_service(service)}" for service in diff.services_added]
    services += [f"- {_service(service)}" for service in diff.services_removed]
    services += [
        f"~ {after.name}: on_miss {before.on_miss} -> {after.on_miss}"
        for before, after in diff.services_changed
    ]
    if services:
        lines += ["services:", *_indented(services)]
    rules = [f"+ {rule}" for rule in diff.rules_added]
    rules += [f"- {rule}" for rule in diff.rules_removed]
    if rules:
        lines += ["rules:", *_indented(rules)]
    if diff.moves:
        lines += ["packets that change hands:", *_indented(_move_lines(diff.moves))]
    elif diff:
        lines.append("no packet changes hands")
    return lines


def summary(diff: Diff) -> str:
    """Count the changes: ``2 rules come, 1 goes; 1 service comes``."""
    parts = []
    for noun, come, go, change in (
        ("rule", diff.rules_added, diff.rules_removed, ()),
        ("service", diff.services_added, diff.services_removed, diff.services_changed),
    ):
        counted: list[str] = []
        for some, verb in ((come, "come"), (go, "go"), (change, "change")):
            if some:
                verb_form = verb if len(some) > 1 else {"go": "goes"}.get(verb, f"{verb}s")
                what = f" {noun}{'s' if len(some) > 1 else ''}" if not counted else ""
                counted.append(f"{len(some)}{what} {verb_form}")
        if counted:
            parts.append(", ".join(counted))
    return "; ".join(parts) or "nothing changes"


def _service(service: Service) -> str:
    return f"{service.name}, on_miss {service.on_miss}"


def _indented(lines: Iterable[str]) -> list[str]:
    return [f"  {line}" for line in lines]


def _move_lines(moves: Iterable[Move]) -> Iterator[str]:
    from ..rules import PASS

    def owners(move: Move) -> tuple[str, str]:
        return move.before, move.after

    for (before, after), same in groupby(sorted(moves, key=owners), key=owners):
        # What no rule is for and what a rule passes is one and the same here.
        names = ["the regular lookup" if name == PASS else name for name in (before, after)]
        yield f"{names[0]} -> {names[1]}"
        yield from _indented(table([row for move in same for row in _region_rows(move.region)]))


def _region_rows(region: Region) -> Iterator[list[str]]:
    from ..rules import Interfaces

    ports = f"port {','.join(map(str, region.ports))}"
    others = []
    if not _is_everything(region.sources):
        others.append(f"from {_joined(region.sources)}")
    if region.interfaces != Interfaces():
        others.append(f"on {region.interfaces}")
    blocks = [str(block) for block in region.addresses]
    if len(blocks) <= _ON_A_LINE and not any(block.excluding for block in region.addresses):
        blocks = [", ".join(blocks)]
    for block in blocks:
        yield [str(region.protocol), block, ports, *others]


def _joined(blocks: Iterable[Block]) -> str:
    return "; ".join(map(str, blocks))


def _is_everything(blocks: tuple[Block, ...]) -> bool:
    return len(blocks) == 1 and blocks[0].prefix.length == 0 and not blocks[0].excluding


def _move_json(move: Move) -> dict[str, Any]:
    region = move.region
    return {
        "before": move.before,
        "after": move.after,
        "protocol": str(region.protocol),
        "addresses": [_block_json(block) for block in region.addresses],
        "ports": [str(ports) for ports in region.ports],
        "sources": None
        if _is_everything(region.sources)
        else [_block_json(block) for block in region.sources],
        "interfaces": {
            "except" if region.interfaces.excluded else "only": list(region.interfaces.names)
        },
    }


def _block_json(block: Block) -> dict[str, Any]:
    return {"prefix": str(block.prefix), "except": [str(hole) for hole in block.excluding]}
