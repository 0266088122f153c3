"""Explanations: the kernel's answer, the rules', and what would be without either."""

from __future__ import annotations

import random
import struct

import pytest

from inet_lookup.bpf import AttachType, NetnsLink
from inet_lookup.control import Dispatcher, Explanation
from inet_lookup.control.explaining import Outcome
from inet_lookup.control.inert import load_inert
from inet_lookup.control.pinned_generation import PinnedGeneration
from inet_lookup.errors import DispatcherMissingError, InetLookupError
from inet_lookup.net import Namespace
from inet_lookup.rules import Packet, Ruleset, Service, lookup
from support.listeners import Listeners
from support.networks import ip
from support.random_rulesets import INTERFACES, random_packet, random_ruleset
from support.rule_texts import rule

pytestmark = pytest.mark.kernel

WIDE = rule("web tcp 127.0.0.0/8 80")
NARROW = rule("pass tcp 127.0.0.0/16 80")
ANY = rule("proxy tcp 127.0.0.0/16 any")


def explain(dispatcher: Dispatcher, *packet: str) -> Explanation:
    found = dispatcher.explain(Packet.parse(*packet))
    assert found.agrees, found.disagreement
    return found


def add_interfaces(netns: Namespace, *names: str) -> None:
    ip(netns, *(f"link add {name} type veth peer name {name}-peer" for name in names))


def test_the_winner_the_losers_and_the_socket(dispatcher: Dispatcher, listeners: Listeners) -> None:
    listeners.add("web")
    listeners.add("regular", "0.0.0.0", 80)
    dispatcher.bind([WIDE, ANY, rule("web udp 127.0.0.0/8 80")])
    dispatcher.register("web", [listeners["web"]])
    found = explain(dispatcher, "tcp", "127.1.0.1:80")
    assert (found.outcome, found.rule, found.service) == (Outcome.REDIRECT, WIDE, Service("web"))
    assert found.socket is not None
    assert found.socket.socket is not None
    assert found.socket.socket.port == listeners["web"].getsockname()[1]
    assert [process.name for process in found.socket.processes]
    assert found.miss is None
    assert [each.socket.port for each in found.regular if each.socket] == [80]
    assert found.local

    dispatcher.bind([NARROW])
    found = explain(dispatcher, "tcp", "127.0.0.1:80")
    assert (found.outcome, found.rule, found.service) == (Outcome.PASS, NARROW, None)
    assert [(each.rule, each.lost) for each in found.candidates] == [
        (NARROW, None),
        (ANY, "port 80 is narrower than any"),
        (WIDE, "127.0.0.0/16 is a longer prefix than 127.0.0.0/8"),
    ]


def test_a_service_without_a_socket(dispatcher: Dispatcher, listeners: Listeners) -> None:
    dispatcher.bind([WIDE, rule("web tcp ::1 80")])
    found = explain(dispatcher, "tcp", "127.0.0.1:80")
    assert (found.outcome, found.socket, found.regular) == (Outcome.DROP, None, ())
    assert found.miss == "web has no socket for TCP over IPv4 nor for TCP over IPv6 that takes it"
    listeners.add("six", "::", v6only=True)
    dispatcher.register("web", [listeners["six"]])
    assert explain(dispatcher, "tcp", "127.0.0.1:80").outcome is Outcome.DROP
    assert explain(dispatcher, "tcp", "[::1]:80").outcome is Outcome.REDIRECT
    dispatcher.bind([], services=[Service("web", "pass")])
    assert explain(dispatcher, "tcp", "127.0.0.1:80").outcome is Outcome.PASS


def test_no_rule_and_an_address_that_is_not_local(dispatcher: Dispatcher) -> None:
    dispatcher.bind([WIDE])
    found = explain(dispatcher, "udp", "192.0.2.1:53")
    assert (found.outcome, found.rule, found.candidates) == (Outcome.PASS, None, ())
    assert not found.local


def test_a_group_is_shown_as_one(dispatcher: Dispatcher, listeners: Listeners) -> None:
    port = listeners.add("first", reuseport=True).getsockname()[1]
    listeners.add("second", port=port, reuseport=True)
    dispatcher.bind([WIDE])
    dispatcher.register("web", list(listeners.sockets.values()))
    found = explain(dispatcher, "tcp", "127.0.0.1:80")
    assert found.socket is not None
    assert len(found.group) == 2
    assert found.socket in found.group
    listeners.close("first")
    assert explain(dispatcher, "tcp", "127.0.0.1:80").group == ()


def test_nothing_is_counted(dispatcher: Dispatcher, listeners: Listeners) -> None:
    listeners.add("web")
    dispatcher.bind([WIDE, rule("drop tcp ::1 80")])
    dispatcher.register("web", [listeners["web"]])
    before = dispatcher.status(), list(dispatcher.rules())
    for destination in ("127.0.0.1:80", "[::1]:80", "192.0.2.1:80"):
        explain(dispatcher, "tcp", destination)
    assert (dispatcher.status(), list(dispatcher.rules())) == before


def test_an_interface_by_its_name(dispatcher: Dispatcher, netns: Namespace) -> None:
    add_interfaces(netns, "side0", "side1")
    on_side = rule("drop tcp 127.0.0.0/8 80", interface="side0")
    dispatcher.bind([WIDE, on_side])
    for interface, winner in (("side0", on_side), ("side1", WIDE), (None, WIDE)):
        packet = Packet.parse("tcp", "127.0.0.1:80", interface=interface)
        found = dispatcher.explain(packet)
        assert (found.rule, found.disagreement) == (winner, None)
    with pytest.raises(InetLookupError, match="there is no interface 'side2'"):
        dispatcher.explain(Packet.parse("tcp", "127.0.0.1:80", interface="side2"))


def test_an_interface_that_was_made_anew_needs_its_rules_applied_again(
    dispatcher: Dispatcher, netns: Namespace
) -> None:
    add_interfaces(netns, "side0")
    on_side = rule("drop tcp 127.0.0.0/8 80", interface="side0")
    ruleset = dispatcher.bind([WIDE, on_side]).after
    assert not dispatcher.status().interfaces[0].changed
    ip(netns, "link del side0")
    add_interfaces(netns, "side0")
    assert dispatcher.status().interfaces[0].changed
    packet = Packet.parse("tcp", "127.0.0.1:80", interface="side0")
    found = dispatcher.explain(packet)
    assert not found.agrees
    assert "apply them again" in (found.disagreement or "")
    dispatcher.apply(ruleset)
    assert dispatcher.explain(packet).agrees
    # An interface that rules in force name may be gone: others can still be changed.
    ip(netns, "link del side0")
    dispatcher.bind([rule("web tcp 127.0.0.0/8 81")])
    (status,) = dispatcher.status().interfaces
    assert (status.in_force, status.now, status.changed) == (0, 0, False)


def test_interfaces_that_are_still_to_come_can_be_named(
    dispatcher: Dispatcher, netns: Namespace
) -> None:
    on_side = rule("drop tcp 127.0.0.0/8 80", interface="side0")
    change = dispatcher.bind([on_side], missing_interfaces=True)
    add_interfaces(netns, "side0")
    assert dispatcher.status().interfaces[0].changed
    assert dispatcher.apply(change.after).generation == change.generation + 1
    packet = Packet.parse("tcp", "127.0.0.1:80", interface="side0")
    assert dispatcher.explain(packet).outcome is Outcome.DROP


def test_other_programs_of_the_namespace_are_counted(
    dispatcher: Dispatcher, netns: Namespace
) -> None:
    dispatcher.bind([WIDE])
    assert explain(dispatcher, "tcp", "127.0.0.1:80").other_programs == 0
    with (
        load_inert() as another,
        NetnsLink.create(another, netns.fileno(), AttachType.SK_LOOKUP),
    ):
        assert explain(dispatcher, "tcp", "127.0.0.1:80").other_programs == 1


@pytest.mark.parametrize("action", [1, 2])
def test_a_kernel_that_does_something_else_is_told_loudly(
    dispatcher: Dispatcher, action: int
) -> None:
    """The map of actions is overwritten: the rule for a service passes, or drops what it passes."""
    dispatcher.bind([WIDE], services=[Service("web", "drop" if action == 1 else "pass")])
    with PinnedGeneration.open(dispatcher._pins, 1) as current:
        current.maps["actions"].update(1, struct.pack("=Q", action))
    found = dispatcher.explain(Packet.parse("tcp", "127.0.0.1:80"))
    assert not found.agrees
    assert (found.disagreement or "").startswith("THE KERNEL AND THE RULES DISAGREE")


def test_a_kernel_in_which_another_rule_wins_is_told_loudly(dispatcher: Dispatcher) -> None:
    dispatcher.bind([WIDE, ANY])
    with PinnedGeneration.open(dispatcher._pins, 1) as current:
        intervals = current.maps["intervals"]
        (entry,) = struct.unpack("=Q", intervals.lookup(0) or b"")
        intervals.update(0, struct.pack("=Q", entry ^ 3))
    found = [dispatcher.explain(Packet.parse("tcp", f"127.{n}.0.1:80")) for n in (0, 1)]
    assert any("by the rules" in (each.disagreement or "") for each in found)


def test_it_agrees_with_the_rules_for_random_packets(
    dispatcher: Dispatcher, netns: Namespace
) -> None:
    add_interfaces(netns, *(name for name in INTERFACES if name != "lo"))
    rng = random.Random(20)
    for size in (5, 30, 100):
        ruleset = random_ruleset(rng, size)
        dispatcher.apply(ruleset)
        for _ in range(8):
            packet = random_packet(rng, ruleset)
            found = dispatcher.explain(packet)
            assert found.agrees, found.disagreement
            assert found.rule == lookup(ruleset, packet).rule


def test_without_a_dispatcher_there_is_nothing_to_explain(dispatcher: Dispatcher) -> None:
    with pytest.raises(DispatcherMissingError):
        dispatcher.explain(Packet.parse("tcp", "127.0.0.1:80"))
    dispatcher.apply(Ruleset([WIDE]))
    assert explain(dispatcher, "tcp", "127.0.0.1:80").rule == WIDE
