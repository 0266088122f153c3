"""What in a ruleset is of no use, and what would mend it."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from .contest import Claim, contest
from .precedence import precedence_key
from .prefix import Family, Prefix
from .regions import Runs, union_of_runs
from .rule import Protocol, Rule, Service
from .ruleset import Ruleset


@dataclass(frozen=True, slots=True)
class CoveredRule:
    """A rule that can never win: for each packet that it matches, another one does.

    :param rule: the rule.
    :param by: the rules that win in its place, in the order of precedence.
    """

    rule: Rule
    by: tuple[Rule, ...]

    def __str__(self) -> str:
        others = ", ".join(f'"{rule}"' for rule in self.by)
        return f'"{self.rule}" never wins: all of its packets belong to {others}'


@dataclass(frozen=True, slots=True)
class UnusedService:
    """A service that no rule names."""

    service: Service

    def __str__(self) -> str:
        return f'no rule names the service "{self.service.name}"'


@dataclass(frozen=True, slots=True)
class NotLocal:
    """A prefix of rules whose addresses the namespace does not deliver locally.

    Rules steer packets that are delivered locally, and no others: the lookup comes after the
    routing decision.

    :param prefix: the addresses, as the outermost rule has them.
    :param partly: whether some of them are local.
    :param rules: the rules for these addresses, in the order of precedence.
    """

    prefix: Prefix
    partly: bool
    rules: tuple[Rule, ...]

    @property
    def command(self) -> str:
        """The command that makes them local."""
        return f"ip route add local {self.prefix} dev lo"

    def __str__(self) -> str:
        how = "not all of" if self.partly else "none of"
        rules = f'"{self.rules[0]}"'
        if len(self.rules) > 1:
            rules += f" and {len(self.rules) - 1} more"
        return f"{how} {self.prefix} is local, so {rules} cannot see its packets: {self.command}"


Finding = CoveredRule | UnusedService | NotLocal


def lint(ruleset: Ruleset, local_prefixes: Iterable[Prefix] | None = None) -> tuple[Finding, ...]:
    """Find rules that never win, services without rules, and addresses that are not local.

    :param ruleset: the ruleset.
    :param local_prefixes: the prefixes that the namespace delivers locally, as in its routing table
        ``local``; None leaves this check out. A rule for a whole family (a prefix of length 0)
        stands for whatever is local, so it is never reported.
    """
    named = {rule.service for rule in ruleset.rules}
    findings: list[Finding] = list(_covered_rules(ruleset))
    findings += (UnusedService(one) for one in ruleset.services if one.name not in named)
    if local_prefixes is not None:
        findings += _not_local(ruleset, local_prefixes)
    return tuple(findings)


def _covered_rules(ruleset: Ruleset) -> Iterator[CoveredRule]:
    kinds: dict[tuple[Protocol, Family], list[Rule]] = {}
    for rule in ruleset.rules:
        kinds.setdefault((rule.protocol, rule.family), []).append(rule)
    found = [covered for rules in kinds.values() for covered in _covered_of_kind(rules)]
    found.sort(key=lambda covered: precedence_key(covered.rule))
    yield from found


def _covered_of_kind(rules: Sequence[Rule]) -> Iterator[CoveredRule]:
    """Find covered rules among those of one protocol and family."""
    by_prefix: dict[Prefix, list[Rule]] = {}
    for rule in rules:
        by_prefix.setdefault(rule.address, []).append(rule)
    # A prefix comes right before those in it.
    prefixes = sorted(by_prefix)
    for at, prefix in enumerate(prefixes):
        own = by_prefix[prefix]
        after = bisect_right(prefixes, Prefix(prefix.family, prefix.last, prefix.family.bits), at)
        inner = prefixes[at + 1 : after]
        # Where the longer prefixes leave addresses over, only rules for the same prefix can win
        # there; where they leave none, these win unless the rules for the longer ones do.
        if _holes(prefix, inner) != ((prefix.address, prefix.last),):
            inner = []
        if len(own) == 1 and not inner:
            continue
        rivals = [rule for longer in inner for rule in by_prefix[longer]]
        winners = set(_winners(own, rivals))
        for rule in own:
            if rule not in winners:
                better = [other for other in own if other is not rule]
                better += [
                    rule for longer in prefixes[at + 1 : after] for rule in by_prefix[longer]
                ]
                by = set(_winners([rule], better))
                yield CoveredRule(rule, tuple(sorted(by, key=precedence_key)))


def _holes(prefix: Prefix, inner: Sequence[Prefix]) -> Runs:
    return union_of_runs((longer.address, longer.last) for longer in inner)


def _winners(subjects: Iterable[Rule], rivals: Iterable[Rule]) -> Iterator[Rule]:
    """Yield who wins the packets that the subjects match, each at least once."""
    ours = frozenset(subjects)
    ranked = enumerate(sorted({*ours, *rivals}, key=precedence_key))
    # As if the subjects were to be removed: the contest is about their packets.
    claims = [Claim(rank, rule, old=True, new=rule not in ours) for rank, rule in ranked]
    for piece in contest(claims):
        if piece.old is not None:
            yield piece.old


def _not_local(ruleset: Ruleset, local_prefixes: Iterable[Prefix]) -> Iterator[NotLocal]:
    local: dict[Family, list[tuple[int, int]]] = {family: [] for family in Family}
    for prefix in local_prefixes:
        local[prefix.family].append((prefix.address, prefix.last))
    reachable = {family: union_of_runs(runs) for family, runs in local.items()}
    # Each prefix that is not wholly local, with whether it is in part.
    partly: dict[Prefix, bool] = {}
    for prefix in {rule.address for rule in ruleset.rules if rule.address.length}:
        part = _part_in(prefix, reachable[prefix.family])
        if part != ((prefix.address, prefix.last),):
            partly[prefix] = bool(part)
    outermost: list[Prefix] = []
    for prefix in sorted(partly):
        if not outermost or not outermost[-1].covers(prefix):
            outermost.append(prefix)
    rules: dict[Prefix, list[Rule]] = {prefix: [] for prefix in outermost}
    for rule in ruleset.rules:
        if rule.address in partly:
            rules[outermost[bisect_right(outermost, rule.address) - 1]].append(rule)
    for prefix, its in rules.items():
        yield NotLocal(prefix, partly[prefix], tuple(its))


def _part_in(prefix: Prefix, runs: Runs) -> Runs:
    """Return what of a prefix lies in some runs."""
    at = bisect_left(runs, prefix.address, key=lambda run: run[1])
    part = []
    while at < len(runs) and runs[at][0] <= prefix.last:
        part.append((max(runs[at][0], prefix.address), min(runs[at][1], prefix.last)))
        at += 1
    return tuple(part)
