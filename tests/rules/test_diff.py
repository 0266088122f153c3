"""What changes when one ruleset replaces another."""

from __future__ import annotations

import time

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from inet_lookup.rules import (
    ANY_PORT,
    Family,
    Packet,
    Ports,
    Prefix,
    Protocol,
    Rule,
    Ruleset,
    Service,
    diff,
    lookup,
    parse_rule_text,
)
from support.rulesets import packets, rules, rulesets


def ruleset(*texts: str) -> Ruleset:
    return Ruleset(rule for text in texts for rule in parse_rule_text(text))


def moves(old: Ruleset, new: Ruleset) -> list[str]:
    return [str(move) for move in diff(old, new).moves]


def test_an_equal_ruleset_changes_nothing() -> None:
    one = ruleset("nginx tcp 192.0.2.0/24 80", "dns udp 2001:db8::/64 53")
    other = ruleset("dns udp 2001:db8::/64 53", "nginx tcp 192.0.2.0/24 80")
    assert not diff(one, other)
    assert diff(one, other).moves == ()


def test_rules_and_services_that_come_and_go_are_listed() -> None:
    old = ruleset("nginx tcp 192.0.2.0/24 80")
    new = ruleset("dns udp 2001:db8::/64 53")
    change = diff(old, new)
    assert change
    assert change.rules_removed == old.rules
    assert change.rules_added == new.rules
    assert change.services_removed == (Service("nginx"),)
    assert change.services_added == (Service("dns"),)


def test_a_changed_on_miss_is_a_changed_service_and_moves_nothing() -> None:
    old = ruleset("nginx tcp 192.0.2.0/24 80")
    new = old.with_service(Service("nginx", on_miss="pass"))
    change = diff(old, new)
    assert change.services_changed == ((Service("nginx"), Service("nginx", "pass")),)
    assert change.moves == ()


def test_packets_without_a_rule_belong_to_the_regular_lookup() -> None:
    new = ruleset("nginx tcp 192.0.2.0/24 80")
    assert moves(Ruleset(), new) == ["tcp 192.0.2.0/24 port 80: pass -> nginx"]
    assert moves(new, Ruleset()) == ["tcp 192.0.2.0/24 port 80: nginx -> pass"]


def test_a_pass_rule_where_there_was_none_moves_nothing() -> None:
    change = diff(Ruleset(), ruleset("pass tcp 192.0.2.0/24 80"))
    assert len(change.rules_added) == 1
    assert change.moves == ()


def test_a_more_specific_rule_keeps_what_it_has() -> None:
    kept = ["ssh tcp 192.0.2.1 22", "web tcp 192.0.2.64/28 any"]
    assert moves(
        ruleset("nginx tcp 192.0.2.0/24 any", *kept), ruleset("apache tcp 192.0.2.0/24 any", *kept)
    ) == [
        "tcp 192.0.2.0/24 except 192.0.2.1, 192.0.2.64/28 port any: nginx -> apache",
        "tcp 192.0.2.1 port 0-21,23-65535: nginx -> apache",
    ]


def test_a_rule_that_another_covers_moves_nothing() -> None:
    kept = ["a tcp 192.0.2.0/25 any", "b tcp 192.0.2.128/25 any"]
    assert moves(ruleset(*kept), ruleset(*kept, "c tcp 192.0.2.0/24 80")) == []


def test_halves_that_move_alike_are_shown_as_one_prefix() -> None:
    assert moves(
        ruleset("a tcp 192.0.2.0/24 80"),
        ruleset("b tcp 192.0.2.0/25 80", "b tcp 192.0.2.128/25 80"),
    ) == ["tcp 192.0.2.0/24 port 80: a -> b"]


def test_neighbouring_ports_that_move_alike_are_shown_as_one_range() -> None:
    assert moves(Ruleset(), ruleset("a tcp 192.0.2.1 80-89,90,100")) == [
        "tcp 192.0.2.1 port 80-90,100: pass -> a"
    ]


def test_a_moved_source_is_named() -> None:
    old = ruleset("a tcp 192.0.2.1 80", "b tcp 192.0.2.1 80 from 203.0.113.0/24")
    assert moves(old, ruleset("a tcp 192.0.2.1 80")) == [
        "tcp 192.0.2.1 port 80 from 203.0.113.0/24: b -> a"
    ]
    assert moves(old, ruleset("b tcp 192.0.2.1 80 from 203.0.113.0/24")) == [
        "tcp 192.0.2.1 port 80 from 0.0.0.0/0 except 203.0.113.0/24: a -> pass"
    ]


def test_a_moved_interface_is_named() -> None:
    old = ruleset("a tcp 192.0.2.1 80", "b tcp 192.0.2.1 80 on eth0")
    assert moves(old, ruleset("a tcp 192.0.2.1 80")) == ["tcp 192.0.2.1 port 80 on eth0: b -> a"]
    assert moves(old, ruleset("b tcp 192.0.2.1 80 on eth0")) == [
        "tcp 192.0.2.1 port 80 on any except eth0: a -> pass"
    ]


def test_a_hole_in_an_ipv6_prefix_is_shown_as_an_exception() -> None:
    old = ruleset("a tcp 2001:db8::/32 443", "b tcp 2001:db8::1 443")
    new = ruleset("c tcp 2001:db8::/32 443", "b tcp 2001:db8::1 443")
    assert moves(old, new) == ["tcp 2001:db8::/32 except 2001:db8::1 port 443: a -> c"]


@pytest.mark.parametrize("family", Family)
@given(data=st.data())
@settings(max_examples=30, deadline=None, suppress_health_check=list(HealthCheck))
def test_moves_are_exactly_the_packets_that_change_hands(
    family: Family, data: st.DataObject
) -> None:
    some = rulesets(rules((family,), (Protocol.TCP,)), max_rules=9)
    old, new = data.draw(some), data.draw(some)
    if data.draw(st.booleans()):
        # Most changes leave most rules as they are.
        added = [rule for rule in new.rules[:2] if _fits(old, rule)]
        new = old.without_rules(old.rules[:2]).with_rules(added[:1])
    change = diff(old, new)
    for packet in packets((family,), (Protocol.TCP,)):
        before, after = lookup(old, packet).action, lookup(new, packet).action
        moved = [(move.before, move.after) for move in change.moves if move.region.holds(packet)]
        assert moved == ([(before, after)] if before != after else []), packet


def _fits(ruleset: Ruleset, rule: Rule) -> bool:
    try:
        ruleset.with_rules([rule])
    except Exception:
        return False
    return True


@given(rulesets(rules()), rulesets(rules()))
@settings(max_examples=40, deadline=None)
def test_a_diff_turned_round_moves_the_same_packets_back(old: Ruleset, new: Ruleset) -> None:
    there, back = diff(old, new), diff(new, old)
    assert there.rules_added == back.rules_removed
    assert there.rules_removed == back.rules_added
    assert [(move.region, move.before, move.after) for move in there.moves] == [
        (move.region, move.after, move.before) for move in back.moves
    ]


def _many(count: int) -> list[Rule]:
    base = 10 << 24
    return [
        Rule(
            f"s{number % 50}",
            Protocol.TCP,
            Prefix(Family.IPV4, base + number, 32),
            Ports.one(80 if number % 3 else 443),
        )
        for number in range(count)
    ]


def test_one_changed_rule_among_ten_thousand_is_found_quickly() -> None:
    many = _many(10_000)
    old = Ruleset(many)
    new = Ruleset([*many[1:], Rule("new", Protocol.TCP, many[0].address, ANY_PORT)])
    began = time.process_time()
    change = diff(old, new)
    assert time.process_time() - began < 2
    assert [str(move) for move in change.moves] == [
        "tcp 10.0.0.0 port 0-442,444-65535: pass -> new",
        "tcp 10.0.0.0 port 443: s0 -> new",
    ]


def test_a_changed_rule_around_ten_thousand_others_is_compared_quickly() -> None:
    many = _many(10_000)
    around = Prefix.parse("10.0.0.0/8")
    old = Ruleset([*many, Rule("a", Protocol.TCP, around, ANY_PORT)])
    new = Ruleset([*many, Rule("b", Protocol.TCP, around, ANY_PORT)])
    began = time.process_time()
    change = diff(old, new)
    assert time.process_time() - began < 5
    assert {(move.before, move.after) for move in change.moves} == {("a", "b")}
    taken = Packet.parse("tcp", "10.0.0.1:80")
    left = Packet.parse("tcp", "10.0.0.1:81")
    assert not any(move.region.holds(taken) for move in change.moves)
    assert any(move.region.holds(left) for move in change.moves)
