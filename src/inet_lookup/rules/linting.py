"""What in a ruleset is of no use, and what would mend it."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from .precedence import precedence_key
from .prefix import Family, Prefix, everything
from .regions import runs_within, union_of_runs
from .rule import Protocol, Rule, Service
from .ruleset import Ruleset
from .territories import Claim, Territory, territories


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
        rules = f'"{self.rules[0]}"'
        if len(self.rules) > 1:
            rules += f" and {len(self.rules) - 1} more"
        if self.partly:
            return f"only part of {self.prefix} is local, of {rules}: {self.command}"
        return f"no address of {self.prefix} is local, of {rules}: {self.command}"


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
    for rules in kinds.values():
        winners = _winners(rules)
        for place, rule in enumerate(rules):
            if rule not in winners:
                yield CoveredRule(rule, _winners_of(rule, rules[:place]))


def _winners(rules: Iterable[Rule]) -> set[Rule]:
    """Return the rules that win some packet, of rules of one protocol and family."""
    by_prefix: dict[Prefix, list[Rule]] = {}
    for rule in rules:
        by_prefix.setdefault(rule.address, []).append(rule)
    # A prefix comes right before those in it.
    prefixes = sorted(by_prefix)
    winners: set[Rule] = set()
    for at, prefix in enumerate(prefixes):
        end = bisect_right(prefixes, Prefix(prefix.family, prefix.last, prefix.family.bits), at)
        inner = prefixes[at + 1 : end]
        # Where the longer prefixes leave an address over, nothing but the other rules for this
        # prefix can cover a rule; that is nearly everywhere.
        if union_of_runs((one.address, one.last) for one in inner) != (
            (prefix.address, prefix.last),
        ):
            inner = []
        contenders = [rule for one in (*inner, prefix) for rule in by_prefix[one]]
        if len(contenders) > 1:
            contenders.sort(key=precedence_key)
            winners.update(territory.value for territory in _territories(contenders))
        else:
            winners.update(contenders)
    return winners


def _territories(rules: Iterable[Rule]) -> Iterator[Territory[Rule]]:
    """Find who wins what among rules of one protocol and family, in the order of precedence."""
    claims = [Claim(rank, rule, old=True, new=False) for rank, rule in enumerate(rules)]
    return territories(claims, lambda winner, none: winner)


def _winners_of(rule: Rule, before: Iterable[Rule]) -> tuple[Rule, ...]:
    """Return who wins the packets of a covered rule, of the rules that come before it."""
    inside = [other for other in before if rule.address.covers(other.address)]
    source = rule.source or everything(rule.family)
    winners = {
        territory.value
        for territory in _territories(inside)
        if runs_within(territory.ports, rule.ports.low, rule.ports.high)
        and runs_within(territory.sources, source.address, source.last)
        and (rule.interface is None or territory.interfaces.holds(rule.interface))
    }
    return tuple(other for other in inside if other in winners)


def _not_local(ruleset: Ruleset, local_prefixes: Iterable[Prefix]) -> Iterator[NotLocal]:
    local: dict[Family, list[tuple[int, int]]] = {family: [] for family in Family}
    for prefix in local_prefixes:
        local[prefix.family].append((prefix.address, prefix.last))
    reachable = {family: union_of_runs(runs) for family, runs in local.items()}
    # Each prefix that is not wholly local, with whether it is in part.
    partly: dict[Prefix, bool] = {}
    for prefix in {rule.address for rule in ruleset.rules if rule.address.length}:
        part = runs_within(reachable[prefix.family], prefix.address, prefix.last)
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
