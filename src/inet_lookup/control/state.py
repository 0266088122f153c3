"""What belongs to a generation besides its tables: the ruleset itself and what was given to it.

It is kept in the kernel with the generation (see :mod:`.state_map`), as JSON, so that a process
that starts later knows everything from the pins alone.
"""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from ..errors import UnreadableStateError
from ..rules import Family, Ports, Prefix, Protocol, Rule, RulesError, Ruleset, Service


@dataclass(frozen=True, slots=True)
class State:
    """A ruleset in force, and what it was given in the kernel.

    :ivar version: of the package that made the generation.
    :ivar loaded_at: when the dispatcher was loaded: seconds since the epoch.
    :ivar made_at: when the generation was made, likewise.
    :ivar ruleset: the rules and services.
    :ivar numbers: the number of each service. Those that the ruleset has no more are among them, as
        long as they hold sockets.
    :ivar counters: the index of each rule's counter, in the order of ``ruleset.rules``.
    :ivar interfaces: the index of each interface that rules name, 0 for one that did not exist.
    :ivar routes: the prefixes that were made local for these rules.
    :ivar namespace_cookie: the namespace's, unique until reboot; None before Linux 5.14.
    """

    version: str
    loaded_at: float
    made_at: float
    ruleset: Ruleset
    numbers: Mapping[str, int]
    counters: Sequence[int]
    interfaces: Mapping[str, int] = field(default_factory=dict)
    routes: tuple[Prefix, ...] = ()
    namespace_cookie: int | None = None


def encode(state: State) -> bytes:
    """Write a state."""
    rules = [
        (
            rule.action,
            rule.protocol,
            rule.address.family,
            rule.address.address,
            rule.address.length,
            rule.ports.low,
            rule.ports.high,
            None if rule.source is None else (rule.source.address, rule.source.length),
            rule.interface,
            counter,
        )
        for rule, counter in zip(state.ruleset.rules, state.counters, strict=True)
    ]
    document = {
        "version": state.version,
        "loaded_at": state.loaded_at,
        "made_at": state.made_at,
        "namespace_cookie": state.namespace_cookie,
        "services": [(service.name, service.on_miss) for service in state.ruleset.services],
        "numbers": state.numbers,
        "interfaces": state.interfaces,
        "routes": [str(prefix) for prefix in state.routes],
        "rules": rules,
    }
    return json.dumps(document, separators=(",", ":"), ensure_ascii=False).encode()


def decode(data: bytes) -> State:
    """Read what :func:`encode` wrote.

    :raises UnreadableStateError: it is something else.
    """
    with _refused():
        return _state(json.loads(data))


def decode_routes(data: bytes) -> tuple[Prefix, ...]:
    """Read nothing but the routes.

    :raises UnreadableStateError: this is not a state.
    """
    with _refused():
        return _routes(json.loads(data))


@contextlib.contextmanager
def _refused() -> Iterator[None]:
    try:
        yield
    except (ValueError, KeyError, TypeError, AttributeError, RulesError) as error:
        raise UnreadableStateError(
            f"the state of the dispatcher cannot be read: {error!r}",
            hint="something else wrote to its maps: load it anew, after 'inet-lookup unload'",
        ) from error


def _routes(document: dict[str, Any]) -> tuple[Prefix, ...]:
    return tuple(Prefix.parse(text) for text in document["routes"])


def _state(document: dict[str, Any]) -> State:
    families = {family.value: family for family in Family}
    protocols = {protocol.value: protocol for protocol in Protocol}
    rules = []
    counters = []
    for row in document["rules"]:
        action, protocol, number, address, length, low, high, source, interface, counter = row
        family = families[number]
        rules.append(
            Rule(
                action,
                protocols[protocol],
                Prefix(family, address, length),
                Ports(low, high),
                None if source is None else Prefix(family, *source),
                interface,
            )
        )
        counters.append(counter)
    # They were written in the order of precedence, in which a ruleset holds them.
    ruleset = Ruleset(rules, [Service(name, on_miss) for name, on_miss in document["services"]])
    if len(ruleset.rules) != len(rules):
        raise ValueError("a rule is there twice")
    return State(
        version=document["version"],
        loaded_at=document["loaded_at"],
        made_at=document["made_at"],
        ruleset=ruleset,
        numbers=dict(document["numbers"]),
        counters=counters,
        interfaces=dict(document["interfaces"]),
        routes=_routes(document),
        namespace_cookie=document["namespace_cookie"],
    )
