"""What becomes of a packet, and why: the kernel's answer beside that of the rules."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from errno import EAFNOSUPPORT, ENOENT
from typing import TYPE_CHECKING, Final

from ..bpf.links import query
from ..bpf.uapi import AttachType
from ..dispatch.explanation import Answer, Explainer
from ..errors import InetLookupError
from ..programs import Verdict
from ..rules import DROP, PASS, Candidate, Decision, Family, Prefix, Protocol, lookup
from . import interfaces
from .known_sockets import KnownSockets
from .regular_lookup import protocol_name, regular_lookup
from .service_sockets import Kind, ServiceSockets
from .status import ServiceSocket

if TYPE_CHECKING:
    from ..net.namespaces import Namespace
    from ..net.sock_diag import ListedSocket
    from ..rules import Packet, Rule, Ruleset, Service
    from .pinned_generation import PinnedGeneration


class Outcome(StrEnum):
    """What the dispatcher does with a packet."""

    REDIRECT = "redirect"
    """It selects a socket of a service."""
    PASS = "pass"
    """It leaves the packet to the regular lookup."""
    DROP = "drop"
    """It drops the packet."""


@dataclass(frozen=True, slots=True)
class Explanation:
    """What becomes of a packet.

    :ivar packet: the packet.
    :ivar outcome: what the dispatcher does with it, as the kernel answers.
    :ivar rule: the rule that wins, as the kernel answers; None where none matches.
    :ivar decision: what the rules say, worked out without the kernel.
    :ivar candidates: every rule that matches, the winner first, each loser with the reason.
    :ivar service: the service that the packet goes to; None for none.
    :ivar socket: the socket that is selected. Of a reuseport group it is the one by which the group
        is found; the kernel chooses within it, by the packet's addresses and ports.
    :ivar group: all sockets of the service of that kind, where it is a reuseport group.
    :ivar miss: why the service has no socket for the packet; None where it has one.
    :ivar regular: the sockets that the regular lookup would choose from, without the dispatcher;
        none where it would refuse the packet.
    :ivar local: whether the namespace delivers the address locally. Where it does not, no packet to
        it ever comes to the rules.
    :ivar other_programs: how many other socket lookup programs run in the namespace. Each of them
        can select another socket, or drop the packet.
    :ivar disagreement: where the kernel and the rules do not agree: what differs. This is never to
        be.
    """

    packet: Packet
    outcome: Outcome
    rule: Rule | None
    decision: Decision
    candidates: tuple[Candidate, ...]
    service: Service | None
    socket: ServiceSocket | None
    group: tuple[ServiceSocket, ...]
    miss: str | None
    regular: tuple[ServiceSocket, ...]
    local: bool
    other_programs: int
    disagreement: str | None

    @property
    def agrees(self) -> bool:
        """Whether the kernel does what the rules say."""
        return self.disagreement is None


def explain(current: PinnedGeneration, packet: Packet, namespace: Namespace) -> Explanation:
    """Explain a packet; see :meth:`inet_lookup.control.Dispatcher.explain`.

    :raises InetLookupError: the packet's interface does not exist.
    """
    ifindex = _ifindex(packet, namespace)
    ruleset = current.state.ruleset
    decision = lookup(ruleset, packet)
    with Explainer(current.maps) as explainer:
        for _ in range(_ATTEMPTS):
            answer = namespace.call(explainer.ask, packet, ifindex)
            rule = _rule(answer, ruleset)
            name = rule.service if rule is not None else None
            cookies = _cookies(current, name, packet)
            disagreement = _disagreement(answer, rule, decision, cookies, current, packet, ifindex)
            # Sockets may have been registered between the answer and the look at them.
            if disagreement is None:
                break
    regular = regular_lookup(packet, _listed(packet, namespace), ifindex)
    kind, members = _group(answer, cookies, packet)
    known = KnownSockets({*members, *(each.cookie for each in regular)}, namespace)

    def shown(kind: Kind, cookie: int) -> ServiceSocket:
        return ServiceSocket(kind, cookie, known.socket(cookie), tuple(known.processes(cookie)))

    return Explanation(
        packet=packet,
        outcome=_outcome(answer),
        rule=rule,
        decision=decision,
        candidates=decision.explain(),
        service=ruleset.service(name) if name is not None else None,
        socket=shown(kind, answer.cookie) if answer.cookie is not None else None,
        group=tuple(shown(kind, each) for each in members) if len(members) > 1 else (),
        miss=_miss(answer, rule, packet),
        regular=tuple(shown(_kind_of(each), each.cookie) for each in regular),
        local=_is_local(packet, namespace),
        other_programs=max(len(query(namespace.fileno(), AttachType.SK_LOOKUP)) - 1, 0),
        disagreement=disagreement,
    )


def _group(
    answer: Answer, cookies: dict[Kind, list[int]], packet: Packet
) -> tuple[Kind, Sequence[int]]:
    """The kind of the selected socket, and all that the service has of it."""
    for kind, members in cookies.items():
        if answer.cookie in members:
            return kind, members
    return _kinds(packet)[0], [] if answer.cookie is None else [answer.cookie]


def _ifindex(packet: Packet, namespace: Namespace) -> int:
    if packet.interface is None:
        return 0
    index = interfaces.resolve([packet.interface], namespace)[packet.interface]
    if not index:
        raise InetLookupError(
            f"there is no interface '{packet.interface}' in {namespace.label}",
            hint="'ip link' shows them",
        )
    return index


def _rule(answer: Answer, ruleset: Ruleset) -> Rule | None:
    if answer.rule > len(ruleset.rules):
        return None
    return ruleset.rules[answer.rule - 1] if answer.rule else None


def _outcome(answer: Answer) -> Outcome:
    if answer.verdict is Verdict.DROP:
        return Outcome.DROP
    return Outcome.PASS if answer.cookie is None else Outcome.REDIRECT


def _kinds(packet: Packet) -> list[Kind]:
    """The kinds of sockets that may take a packet, the first choice first."""
    udp = packet.protocol is Protocol.UDP
    if packet.family is Family.IPV6:
        return [Kind(udp, True)]
    return [Kind(udp, False), Kind(udp, True)]


def _kind_of(each: ListedSocket) -> Kind:
    from .registration import is_ipv6

    return Kind(each.protocol == "udp", is_ipv6(each.family))


def _cookies(
    current: PinnedGeneration, service: str | None, packet: Packet
) -> dict[Kind, list[int]]:
    """The sockets of a service that may take a packet."""
    if service is None:
        return {}
    sockets = ServiceSockets(current.maps["services"], current.maps["sockets"])
    number = current.state.numbers[service]
    return {kind: sockets.cookies(number, kind) for kind in _kinds(packet)}


def _listed(packet: Packet, namespace: Namespace) -> Sequence[ListedSocket]:
    from ..net.sock_diag import list_sockets

    return namespace.call(list_sockets, protocol_name(packet))


def _is_local(packet: Packet, namespace: Namespace) -> bool:
    from ..net.local_table import read_local_prefixes

    return any(
        Prefix(Family(each.family), each.address, each.length).holds(packet.family, packet.local_ip)
        for each in namespace.call(read_local_prefixes)
    )


def _miss(answer: Answer, rule: Rule | None, packet: Packet) -> str | None:
    if rule is None or rule.service is None or answer.cookie is not None:
        return None
    if answer.error in (ENOENT, EAFNOSUPPORT):
        kinds = " nor for ".join(str(kind) for kind in _kinds(packet))
        return f"{rule.service} has no socket for {kinds} that takes it"
    return f"the kernel does not take the sockets of {rule.service}: {os.strerror(answer.error)}"


_ATTEMPTS: Final = 3

_LOUD: Final = "THE KERNEL AND THE RULES DISAGREE"


def _disagreement(
    answer: Answer,
    rule: Rule | None,
    decision: Decision,
    cookies: dict[Kind, list[int]],
    current: PinnedGeneration,
    packet: Packet,
    ifindex: int,
) -> str | None:
    """Say where the kernel's answer is not what the rules demand."""
    if rule != decision.rule:
        text = f"{_LOUD}: in the kernel {_named(rule)} wins, by the rules {_named(decision.rule)}"
        in_force = current.state.interfaces.get(packet.interface or "")
        if in_force is not None and in_force != ifindex:
            text += (
                f"; the rules are in force for index {in_force} of the interface"
                f" '{packet.interface}', which has {ifindex} now: apply them again"
            )
        return text
    outcome = _outcome(answer)
    if decision.service is None:
        expected = Outcome.DROP if decision.action == DROP else Outcome.PASS
    elif outcome is Outcome.REDIRECT:
        expected = outcome
    else:
        expected = Outcome.PASS if decision.service.on_miss == PASS else Outcome.DROP
    if outcome is not expected:
        return f"{_LOUD}: the kernel says {outcome}, by the rules it is {expected}"
    if outcome is Outcome.REDIRECT and not any(answer.cookie in each for each in cookies.values()):
        return (
            f"{_LOUD}: the kernel selects a socket (cookie {answer.cookie}) that is not one of"
            f" {decision.action}"
        )
    return None


def _named(rule: Rule | None) -> str:
    return f'the rule "{rule}"' if rule is not None else "no rule"
