"""The meaning of a ruleset, as plain as its definition; what the kernel answers is held to this."""

from __future__ import annotations

from dataclasses import dataclass

from .packet import Packet
from .precedence import specificity, why_it_loses
from .rule import PASS, Rule, Service
from .ruleset import Ruleset


def matches(rule: Rule, packet: Packet) -> bool:
    """Whether a rule matches a packet."""
    return (
        rule.protocol == packet.protocol
        and rule.ports.holds(packet.local_port)
        and rule.address.holds(packet.family, packet.local_ip)
        and (rule.source is None or rule.source.holds(packet.family, packet.remote_ip))
        and (rule.interface is None or rule.interface == packet.interface)
    )


@dataclass(frozen=True, slots=True)
class Candidate:
    """A rule that matches a packet.

    :param rule: the rule.
    :param lost: why another candidate wins, in words; None for the winner.
    """

    rule: Rule
    lost: str | None


@dataclass(frozen=True, slots=True)
class Decision:
    """What a ruleset says about a packet.

    :param packet: the packet.
    :param candidates: every rule that matches it, the winner first, then the next best ones.
    :param service: the service that the packet goes to; None where it goes to none.
    """

    packet: Packet
    candidates: tuple[Rule, ...]
    service: Service | None

    @property
    def rule(self) -> Rule | None:
        """The rule that wins; None where no rule matches."""
        return self.candidates[0] if self.candidates else None

    @property
    def action(self) -> str:
        """The winner's action; where no rule matches the regular lookup goes on: ``pass``."""
        return self.candidates[0].action if self.candidates else PASS

    def explain(self) -> tuple[Candidate, ...]:
        """Return every candidate, best first, with the reason why it lost."""
        return tuple(
            Candidate(rule, why_it_loses(rule, self.candidates[0]) if place else None)
            for place, rule in enumerate(self.candidates)
        )


def lookup(ruleset: Ruleset, packet: Packet) -> Decision:
    """Decide about a packet: of all rules that match it, the most specific wins.

    This tries every rule, one after the other.
    """
    candidates = [rule for rule in ruleset.rules if matches(rule, packet)]
    candidates.sort(key=specificity, reverse=True)
    name = candidates[0].service if candidates else None
    service = ruleset.service(name) if name is not None else None
    return Decision(packet, tuple(candidates), service)
