"""What keeps rules from taking effect in a namespace, and what would mend it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from enum import StrEnum
from typing import TYPE_CHECKING, NamedTuple

from ..errors import KernelError, NamespaceError
from ..rules import DROP, Family, Protocol, Ruleset, Service
from .anyip import not_local

if TYPE_CHECKING:
    from ..net.namespaces import Namespace
    from .status import DispatcherStatus, ServiceSocket


class Kind(StrEnum):
    """What an obstacle is about."""

    NO_SOCKET = "no-socket"
    """A service has no socket that could take the packets of some of its rules."""
    NOT_LOCAL = "not-local"
    """Packets to a rule's addresses are not delivered locally, so that no socket is looked up."""
    NO_INTERFACE = "no-interface"
    """Rules name an interface that does not exist, or that is not the one they are in force for."""
    COVERED = "covered"
    """A rule never wins: other rules take all of its packets."""
    UNUSED = "unused"
    """No rule names a service."""


class Obstacle(NamedTuple):
    """Something that keeps rules from taking effect.

    :ivar kind: what it is about.
    :ivar subject: the service, prefix, interface or rule that it is about.
    :ivar message: what is the matter, without a full stop.
    :ivar mend: the command that mends it; None where that takes a thought.
    """

    kind: Kind
    subject: str
    message: str
    mend: str | None = None


def obstacles_in_force(
    ruleset: Ruleset, status: DispatcherStatus, namespace: Namespace
) -> list[Obstacle]:
    """Find what keeps the rules in force from taking effect.

    What this process may not look into is left out.

    :param ruleset: the rules in force, or some of them.
    :param status: the dispatcher's status.
    """
    return [
        *_missing_sockets(ruleset, status),
        *_not_local(ruleset, namespace),
        *_missing_interfaces(ruleset, status),
    ]


def obstacles_ahead(ruleset: Ruleset, namespace: Namespace) -> list[Obstacle]:
    """Find what would keep rules from taking effect that are not in force yet.

    Sockets are not looked for: they are registered later.
    """
    return [*_useless(ruleset), *_not_local(ruleset, namespace)]


def _useless(ruleset: Ruleset) -> Iterator[Obstacle]:
    from ..rules import CoveredRule, UnusedService, lint

    for finding in lint(ruleset):
        if isinstance(finding, CoveredRule):
            yield Obstacle(Kind.COVERED, str(finding.rule), str(finding))
        elif isinstance(finding, UnusedService):
            yield Obstacle(Kind.UNUSED, finding.service.name, str(finding))


def _not_local(ruleset: Ruleset, namespace: Namespace) -> Iterator[Obstacle]:
    try:
        prefixes = not_local(ruleset.rules, namespace)
    except (NamespaceError, KernelError):
        return
    ip = f"ip -n {namespace.name}" if namespace.name is not None else "ip"
    for prefix in prefixes:
        yield Obstacle(
            Kind.NOT_LOCAL,
            str(prefix),
            f"{prefix} is not local, or not all of it: no socket is looked up for packets to it",
            f"{ip} route add local {prefix} dev lo",
        )


def _missing_sockets(ruleset: Ruleset, status: DispatcherStatus) -> Iterator[Obstacle]:
    wanted: dict[str, dict[tuple[Protocol, Family], None]] = {}
    for rule in ruleset.rules:
        if rule.service is not None:
            wanted.setdefault(rule.service, {})[rule.protocol, rule.family] = None
    served = {each.name: _served(each.sockets) for each in status.services}
    for service in ruleset.services:
        kinds = wanted.get(service.name, {})
        has = served.get(service.name, set())
        missing = [kind for kind in kinds if kind not in has]
        if missing:
            yield _no_socket(service, missing, has_others=bool(has))


def _served(sockets: Iterable[ServiceSocket]) -> set[tuple[Protocol, Family]]:
    """Which packets some sockets can take."""
    found = set()
    for each in sockets:
        protocol = Protocol.UDP if each.kind.udp else Protocol.TCP
        found.add((protocol, Family.IPV6 if each.kind.ipv6 else Family.IPV4))
        if each.kind.ipv6 and not (each.socket is not None and each.socket.v6only):
            found.add((protocol, Family.IPV4))
    return found


def _no_socket(
    service: Service, missing: Iterable[tuple[Protocol, Family]], *, has_others: bool
) -> Obstacle:
    becomes = "dropped" if service.on_miss == DROP else "left to the regular lookup"
    if has_others:
        kinds = ", ".join(f"{protocol} over {family}" for protocol, family in missing)
        message = f"service {service.name} has no socket for {kinds}: these packets are {becomes}"
    else:
        message = f"service {service.name} has no socket: its packets are {becomes}"
    return Obstacle(
        Kind.NO_SOCKET, service.name, message, f"inet-lookup register {service.name} --pid PID"
    )


def _missing_interfaces(ruleset: Ruleset, status: DispatcherStatus) -> Iterator[Obstacle]:
    named = {rule.interface for rule in ruleset.rules}
    for each in status.interfaces:
        if each.name not in named:
            continue
        if each.now == 0:
            message = f"there is no interface {each.name}: its rules match nothing"
            yield Obstacle(Kind.NO_INTERFACE, each.name, message)
        elif each.changed:
            message = (
                f"interface {each.name} was made anew since its rules were: they match nothing"
            )
            yield Obstacle(Kind.NO_INTERFACE, each.name, message, "inet-lookup upgrade")
