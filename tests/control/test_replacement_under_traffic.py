"""Ten thousand rules are replaced again and again while connections come in all the time."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import ExitStack

import pytest

from inet_lookup.control import Dispatcher
from inet_lookup.dispatch import tables
from inet_lookup.dispatch.tables import Tables
from inet_lookup.net import Namespace, SocketSelector, take_all, take_one
from inet_lookup.rules import Family, Ports, Prefix, Protocol, Rule, Ruleset, format_address
from support.networks import ip
from support.steady_traffic import Servers, connecting, servers

pytestmark = pytest.mark.kernel

RULES = 10_000
REPLACEMENTS = int(os.environ.get("INET_LOOKUP_REPLACEMENTS", "200"))
REGISTRATIONS = 100
NAMES = ("a", "b", "c", "d")
FIRST = 0x0A00_0000  # 10.0.0.0


def ruleset(shift: int) -> Ruleset:
    """Each address belongs to one of four services; with a shift two in three to another one."""
    return Ruleset(
        Rule(
            NAMES[(number + (shift if number % 3 else 0)) % len(NAMES)],
            Protocol.TCP,
            Prefix(Family.IPV4, FIRST + number, 32),
            Ports.one(80),
        )
        for number in range(RULES)
    )


def owners(*rulesets: Ruleset) -> dict[str, list[str]]:
    """The services that rulesets name for each address."""
    found: dict[str, list[str]] = {}
    for each in rulesets:
        for rule in each.rules:
            address = format_address(Family.IPV4, rule.address.address)
            found.setdefault(address, []).append(rule.action)
    return found


@pytest.fixture
def running(netns: Namespace) -> Iterator[Servers]:
    ip(netns, "route add local 10.0.0.0/16 dev lo")
    with servers(netns, NAMES) as found:
        yield found


def test_no_connection_is_lost_or_reaches_a_service_that_neither_ruleset_names(
    dispatcher: Dispatcher, netns: Namespace, running: Servers, monkeypatch: pytest.MonkeyPatch
) -> None:
    one, other = ruleset(0), ruleset(1)
    # What is tested is the replacing: the same two rulesets are compiled once each.
    compiled = {id(each): tables.build(each) for each in (one, other)}

    def build(wanted: Ruleset) -> Tables:
        return compiled[id(wanted)]

    monkeypatch.setattr(tables, "build", build)
    dispatcher.apply(one)
    register(dispatcher, netns, running)
    with connecting(netns, owners(one, other)) as connections:
        for number in range(REPLACEMENTS):
            dispatcher.apply(one if number % 2 else other)
    assert connections.wrong == []
    assert connections.lost == []
    total = sum(connections.answers.values())
    assert min(connections.answers.values()) > REPLACEMENTS
    status = dispatcher.status()
    assert status.generation == REPLACEMENTS + 1
    # Each connection was looked up once, or again where its SYN had to be sent again.
    lookups = sum(each.lookups for each in status.services)
    assert total <= lookups <= total + total // 100
    assert sum(each.misses for each in status.services) == 0
    # A rule that both have counts on; one that goes and comes again begins anew.
    kept = set(one.rules) & set(other.rules)
    assert kept
    assert sum(count for rule, count in dispatcher.rules() if rule in kept) > total / 6


def test_no_connection_is_lost_while_sockets_are_registered_anew(
    dispatcher: Dispatcher, netns: Namespace, running: Servers
) -> None:
    dispatcher.bind(
        [Rule("web", Protocol.TCP, Prefix(Family.IPV4, FIRST, 16), Ports.one(80))],
    )
    with ExitStack() as stack:
        taken = {
            name: stack.enter_context(
                take_one(SocketSelector(running.pid, "tcp", port=port), namespace=netns)
            )
            for name, port in running.ports.items()
        }
        dispatcher.register("web", [taken["a"]])
        with connecting(netns, {f"10.0.{n}.1": NAMES for n in range(256)}) as connections:
            for number in range(REGISTRATIONS):
                dispatcher.register("web", [taken[NAMES[number % len(NAMES)]]])
    assert connections.wrong == []
    assert connections.lost == []
    assert set(connections.answers) == set(NAMES)
    (web,) = dispatcher.status().services
    assert (web.lookups, web.misses) == (sum(connections.answers.values()), 0)


def register(dispatcher: Dispatcher, netns: Namespace, running: Servers) -> None:
    with ExitStack() as stack:
        for name, port in running.ports.items():
            taken = take_all(SocketSelector(running.pid, "tcp", port=port), namespace=netns)
            dispatcher.register(name, [stack.enter_context(each) for each in taken])
