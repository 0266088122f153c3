"""Rules with a source or an interface: which one wins for each source prefix and interface."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from ..rules import Prefix, Rule


@dataclass(frozen=True, slots=True)
class Outcome:
    """Who wins for packets whose longest source prefix, of those named, is one certain prefix.

    :ivar default: the rank of the rule that wins on any other interface; None for no rule.
    :ivar by_interface: the ranks of the rules that win on interfaces that are named.
    """

    default: int | None
    by_interface: tuple[tuple[str, int], ...]


def outcomes(rules: Sequence[Rule], ranks: tuple[int, ...]) -> dict[Prefix, Outcome]:
    """Return the outcome for each source prefix that matters to competing rules.

    :param rules: the ruleset's rules in the order of precedence.
    :param ranks: the ranks of those that compete, ascending.
    """
    everywhere = Prefix(rules[ranks[0]].family, 0, 0)
    wanted = {everywhere}
    wanted.update(source for rank in ranks if (source := rules[rank].source) is not None)
    return {prefix: _outcome(rules, ranks, prefix) for prefix in sorted(wanted)}


def _outcome(rules: Sequence[Rule], ranks: tuple[int, ...], prefix: Prefix) -> Outcome:
    by_interface: dict[str, int] = {}
    for rank in ranks:
        rule = rules[rank]
        if rule.source is not None and not rule.source.covers(prefix):
            continue
        if rule.interface is None:
            return Outcome(rank, tuple(by_interface.items()))
        by_interface.setdefault(rule.interface, rank)
    return Outcome(None, tuple(by_interface.items()))
