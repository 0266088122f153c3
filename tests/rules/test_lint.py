"""What in a ruleset is of no use."""

from __future__ import annotations

import time

from hypothesis import given, settings

from inet_lookup.rules import (
    CoveredRule,
    Family,
    NotLocal,
    Ports,
    Prefix,
    Protocol,
    Rule,
    Ruleset,
    Service,
    UnusedService,
    lint,
    lookup,
    parse_rule_text,
)
from support.rulesets import packets, rules, rulesets


def ruleset(*texts: str) -> Ruleset:
    return Ruleset(rule for text in texts for rule in parse_rule_text(text))


def local(*texts: str) -> list[Prefix]:
    return [Prefix.parse(text) for text in texts]


def test_a_ruleset_without_fault_has_no_findings() -> None:
    rules = ruleset("nginx tcp 192.0.2.0/24 80", "pass tcp 192.0.2.1 any")
    assert lint(rules) == ()
    assert lint(rules, local("192.0.2.0/24")) == ()


def test_a_rule_whose_prefix_longer_ones_cover_together_never_wins() -> None:
    rules = ruleset("a tcp 192.0.2.0/24 80", "b tcp 192.0.2.0/25 80", "c tcp 192.0.2.128/25 any")
    (finding,) = lint(rules)
    assert isinstance(finding, CoveredRule)
    assert str(finding) == (
        '"a tcp 192.0.2.0/24 80" never wins: all of its packets belong to'
        ' "b tcp 192.0.2.0/25 80", "c tcp 192.0.2.128/25 any"'
    )


def test_a_range_whose_ports_have_rules_each_never_wins() -> None:
    rules = ruleset("a tcp 192.0.2.1 80-82", "b tcp 192.0.2.1 80,81,82")
    (finding,) = lint(rules)
    assert isinstance(finding, CoveredRule)
    assert finding.rule.action == "a"
    assert len(finding.by) == 3


def test_only_rules_that_win_a_packet_of_a_covered_rule_are_said_to_cover_it() -> None:
    rules = ruleset(
        "a tcp 192.0.2.0/24 80",
        "b tcp 192.0.2.0/25 80",
        "c tcp 192.0.2.128/25 80",
        "d tcp 192.0.2.1 443",
        "e tcp 192.0.2.1 80 on eth0",
        "f tcp 192.0.2.2 80",
        "g tcp 192.0.2.2 any",
        "h udp 192.0.2.3 80",
    )
    (finding,) = lint(rules)
    assert isinstance(finding, CoveredRule)
    assert {rule.action for rule in finding.by} == {"b", "c", "e", "f"}


def test_a_rule_with_anything_left_to_it_is_not_covered() -> None:
    assert lint(ruleset("a tcp 192.0.2.1 80-83", "b tcp 192.0.2.1 80,81,82")) == ()
    assert lint(ruleset("a tcp 192.0.2.0/24 80", "b tcp 192.0.2.0/25 80")) == ()
    assert lint(ruleset("a tcp 192.0.2.1 80", "b tcp 192.0.2.1 80 on eth0")) == ()
    sources = ["b tcp 192.0.2.1 80 from 0.0.0.0/1", "c tcp 192.0.2.1 80 from 128.0.0.0/1"]
    assert lint(ruleset("a tcp 192.0.2.1 80", sources[0])) == ()
    assert len(lint(ruleset("a tcp 192.0.2.1 80", *sources))) == 1


def test_a_service_without_a_rule_is_found() -> None:
    rules = ruleset("a tcp 192.0.2.1 80").with_service(Service("idle"))
    assert lint(rules) == (UnusedService(Service("idle")),)


def test_addresses_that_are_not_local_are_found_with_the_route_that_makes_them_so() -> None:
    rules = ruleset("a tcp 192.0.2.0/24 80", "b udp 2001:db8::/64 53", "c tcp 127.0.0.1 80")
    findings = lint(rules, local("127.0.0.0/8", "192.0.2.1", "::1"))
    assert [finding.command for finding in findings if isinstance(finding, NotLocal)] == [
        "ip route add local 192.0.2.0/24 dev lo",
        "ip route add local 2001:db8::/64 dev lo",
    ]
    assert str(findings[0]) == (
        'only part of 192.0.2.0/24 is local, of "a tcp 192.0.2.0/24 80":'
        " ip route add local 192.0.2.0/24 dev lo"
    )
    assert str(findings[1]).startswith("no address of 2001:db8::/64 is local, of ")


def test_one_route_serves_all_rules_in_a_prefix() -> None:
    rules = ruleset("a tcp 192.0.2.0/24 80", "b tcp 192.0.2.1 80", "c tcp 192.0.2.2 80")
    (finding,) = lint(rules, local("192.0.2.2"))
    assert isinstance(finding, NotLocal)
    assert finding.partly
    assert [rule.action for rule in finding.rules] == ["b", "a"]


def test_local_prefixes_may_make_up_a_rule_together() -> None:
    rules = ruleset("a tcp 192.0.2.0/24 80")
    assert lint(rules, local("192.0.2.128/25", "192.0.2.0/25")) == ()


def test_a_rule_for_all_addresses_means_those_that_are_local() -> None:
    assert lint(ruleset("a tcp 0.0.0.0/0 80", "b tcp ::/0 80"), local("127.0.0.0/8")) == ()


@given(rulesets(rules((Family.IPV4,), (Protocol.TCP,)), max_rules=20))
@settings(max_examples=50, deadline=None)
def test_no_packet_goes_to_a_covered_rule(among: Ruleset) -> None:
    covered = {finding.rule: finding for finding in lint(among) if isinstance(finding, CoveredRule)}
    winners = set()
    instead: dict[Rule, set[Rule | None]] = {rule: set() for rule in covered}
    for packet in packets((Family.IPV4,), (Protocol.TCP,)):
        decision = lookup(among, packet)
        winners.add(decision.rule)
        for rule in decision.candidates:
            if rule in covered:
                instead[rule].add(decision.rule)
    # There are packets for every difference between these rules, so what wins none is covered.
    assert set(among.rules) - winners == covered.keys()
    for rule, finding in covered.items():
        assert set(finding.by) == instead[rule]


def test_ten_thousand_rules_are_checked_quickly() -> None:
    base = 10 << 24
    many = [
        Rule(f"s{number % 9}", Protocol.TCP, Prefix(Family.IPV4, base + number, 32), Ports.one(80))
        for number in range(0x2000)
    ]
    ports = [
        Rule("p", Protocol.TCP, Prefix.parse("192.0.2.1"), Ports.one(port))
        for port in range(1, 2000)
    ]
    around = parse_rule_text("a tcp 10.0.0.0/19 80")
    began = time.process_time()
    (finding,) = lint(Ruleset([*many, *ports, *around]))
    assert time.process_time() - began < 3
    assert isinstance(finding, CoveredRule)
    assert finding.rule == around[0]
    assert len(finding.by) == 0x2000
