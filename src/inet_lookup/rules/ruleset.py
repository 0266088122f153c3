"""Rulesets: all rules and services of a namespace as one value."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from itertools import groupby

from .precedence import Ambiguity, ambiguities, precedence_key
from .problems import Problem, RulesError
from .rule import Rule, Service

AMBIGUITY_HINT = "remove one, or make one more specific"


class AmbiguousRulesError(RulesError):
    """Two rules match some packet alike and neither is more specific.

    :param pairs: the pairs of rules, each with a packet that shows it.
    """

    def __init__(self, pairs: Iterable[Ambiguity]) -> None:
        self.pairs = tuple(pairs)
        super().__init__(Problem(str(pair), AMBIGUITY_HINT) for pair in self.pairs)


@dataclass(frozen=True, slots=True)
class Ruleset:
    """All rules and services of a namespace, in one canonical form.

    Two rulesets are equal if they hold the same rules and services, in whatever order and however
    often they were given.

    :param rules: the rules. Held as a tuple in the order of precedence: of the rules that match a
        packet, the first wins.
    :param services: the services. Held as a tuple sorted by name. A service that a rule names and
        that is not given is added, with the default ``on_miss``.
    :raises AmbiguousRulesError: which of two rules wins is open for some packet.
    :raises RulesError: two services have one name.
    """

    rules: tuple[Rule, ...] = ()
    services: tuple[Service, ...] = ()

    def __init__(self, rules: Iterable[Rule] = (), services: Iterable[Service] = ()) -> None:
        ordered = tuple(rule for rule, _ in groupby(sorted(rules, key=precedence_key)))
        pairs = tuple(ambiguities(ordered))
        if pairs:
            raise AmbiguousRulesError(pairs)
        object.__setattr__(self, "rules", ordered)
        object.__setattr__(self, "services", _with_those_named(services, ordered))

    def service(self, name: str) -> Service:
        """Return the service of this name.

        :raises KeyError: there is none.
        """
        for service in self.services:
            if service.name == name:
                return service
        raise KeyError(name)

    def with_rules(self, rules: Iterable[Rule]) -> Ruleset:
        """Return a ruleset that has these rules, too.

        :raises AmbiguousRulesError: one of them and another rule leave it open which wins.
        """
        return Ruleset([*self.rules, *rules], self.services)

    def without_rules(self, rules: Iterable[Rule]) -> Ruleset:
        """Return a ruleset that lacks these rules; services stay, also those without a rule now.

        Rules that it does not have are no error.
        """
        gone = set(rules)
        return Ruleset((rule for rule in self.rules if rule not in gone), self.services)

    def with_service(self, service: Service) -> Ruleset:
        """Return a ruleset that has this service, in place of one of the same name."""
        others = (other for other in self.services if other.name != service.name)
        return Ruleset(self.rules, [*others, service])

    def without_service(self, name: str) -> Ruleset:
        """Return a ruleset that lacks a service and all its rules."""
        return Ruleset(
            (rule for rule in self.rules if rule.action != name),
            (service for service in self.services if service.name != name),
        )

    def __repr__(self) -> str:
        return f"<Ruleset of {len(self.rules)} rules and {len(self.services)} services>"


def _with_those_named(services: Iterable[Service], rules: Iterable[Rule]) -> tuple[Service, ...]:
    known: dict[str, Service] = {}
    problems = []
    for service in services:
        if known.setdefault(service.name, service) != service:
            problems.append(
                Problem(f'the service "{service.name}" has two values of on_miss', "give one")
            )
    if problems:
        raise RulesError(problems)
    for name in {rule.service for rule in rules}:
        if name is not None and name not in known:
            known[name] = Service(name)
    return tuple(sorted(known.values()))
