"""Which rule wins, why, and what is ambiguous."""

from __future__ import annotations

from itertools import combinations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from inet_lookup.rules import (
    AmbiguousRulesError,
    Packet,
    Rule,
    Ruleset,
    Service,
    lookup,
    matches,
    parse_rule_text,
    specificity,
)
from support.rulesets import a_packet, rules, rulesets, without_ambiguities


def ruleset(*texts: str) -> Ruleset:
    return Ruleset(rule for text in texts for rule in parse_rule_text(text))


def winner(
    among: Ruleset, local: str, remote: str | None = None, interface: str | None = None
) -> str:
    return lookup(among, Packet.parse("tcp", local, remote, interface)).action


def test_the_longer_prefix_wins_before_all_else() -> None:
    rules = ruleset("wide tcp 192.0.2.0/24 80 from 203.0.113.7 on eth0", "long tcp 192.0.2.1 any")
    assert winner(rules, "192.0.2.1:80", "203.0.113.7", "eth0") == "long"
    assert winner(rules, "192.0.2.2:80", "203.0.113.7", "eth0") == "wide"


def test_then_fewer_ports_win() -> None:
    rules = ruleset(
        "any tcp 192.0.2.1 any from 203.0.113.7 on eth0",
        "all tcp 192.0.2.1 1-65535",
        "range tcp 192.0.2.1 80-89",
        "one tcp 192.0.2.1 80",
    )
    assert winner(rules, "192.0.2.1:80", "203.0.113.7", "eth0") == "one"
    assert winner(rules, "192.0.2.1:81", "203.0.113.7", "eth0") == "range"
    assert winner(rules, "192.0.2.1:90", "203.0.113.7", "eth0") == "all"
    assert winner(rules, "192.0.2.1:0", "203.0.113.7", "eth0") == "any"


def test_then_the_longer_source_prefix_wins() -> None:
    rules = ruleset(
        "everyone tcp 192.0.2.1 80 on eth0",
        "net tcp 192.0.2.1 80 from 203.0.113.0/24 on eth0",
        "host tcp 192.0.2.1 80 from 203.0.113.7",
    )
    assert winner(rules, "192.0.2.1:80", "203.0.113.7", "eth0") == "host"
    assert winner(rules, "192.0.2.1:80", "203.0.113.8", "eth0") == "net"
    assert winner(rules, "192.0.2.1:80", "198.51.100.1", "eth0") == "everyone"


def test_then_a_named_interface_wins() -> None:
    rules = ruleset("anywhere tcp 192.0.2.1 80", "here tcp 192.0.2.1 80 on eth0")
    assert winner(rules, "192.0.2.1:80", interface="eth0") == "here"
    assert winner(rules, "192.0.2.1:80", interface="eth1") == "anywhere"


def test_where_no_rule_matches_the_regular_lookup_goes_on() -> None:
    decision = lookup(ruleset("a tcp 192.0.2.1 80"), Packet.parse("udp", "192.0.2.1:80"))
    assert (decision.rule, decision.action, decision.service) == (None, "pass", None)
    assert decision.explain() == ()


def test_the_families_and_protocols_are_apart() -> None:
    rules = ruleset("four tcp 0.0.0.0/0 any", "six tcp ::/0 any", "dns udp 0.0.0.0/0 any")
    assert winner(rules, "192.0.2.1:80") == "four"
    assert winner(rules, "[2001:db8::1]:80") == "six"
    assert lookup(rules, Packet.parse("udp", "192.0.2.1:80")).action == "dns"


def test_a_decision_names_the_service_and_what_happens_on_a_miss() -> None:
    rules = ruleset("a tcp 192.0.2.1 80").with_service(Service("a", "pass"))
    assert lookup(rules, Packet.parse("tcp", "192.0.2.1:80")).service == Service("a", "pass")


def test_an_explanation_ranks_the_candidates_and_says_why_each_lost() -> None:
    rules = ruleset(
        "a tcp 192.0.2.1 80 from 203.0.113.0/24 on eth0",
        "b tcp 192.0.2.1 80 from 203.0.113.0/24",
        "c tcp 192.0.2.1 80 from 203.0.0.0/16",
        "d tcp 192.0.2.1 80",
        "e tcp 192.0.2.1 80-89",
        "f tcp 192.0.2.0/24 80",
        "g tcp 192.0.2.2 80",
    )
    packet = Packet.parse("tcp", "192.0.2.1:80", "203.0.113.7", "eth0")
    explained = lookup(rules, packet).explain()
    assert [(candidate.rule.action, candidate.lost) for candidate in explained] == [
        ("a", None),
        ("b", "the winner names an interface, eth0"),
        ("c", "source 203.0.113.0/24 is a longer prefix than 203.0.0.0/16"),
        ("d", "the winner names a source, 203.0.113.0/24"),
        ("e", "port 80 is narrower than 80-89"),
        ("f", "192.0.2.1 is a longer prefix than 192.0.2.0/24"),
    ]


@pytest.mark.parametrize(
    ("first", "second", "witness"),
    [
        ("a tcp 192.0.2.0/24 80", "b tcp 192.0.2.0/24 80", "tcp 192.0.2.0:80"),
        ("a tcp 192.0.2.0/24 80", "pass tcp 192.0.2.0/24 80", "tcp 192.0.2.0:80"),
        ("a udp ::/0 80-89", "b udp ::/0 85-94", "udp [::]:85"),
        ("a udp ::/0 any", "b udp ::/0 any", "udp [::]:0"),
        ("a tcp 192.0.2.1 80-89", "a tcp 192.0.2.1 89-98", "tcp 192.0.2.1:89"),
        (
            "a tcp 192.0.2.1 80 from 203.0.113.0/24 on eth0",
            "b tcp 192.0.2.1 80 from 203.0.113.0/24 on eth0",
            "tcp 192.0.2.1:80 from 203.0.113.0 on eth0",
        ),
    ],
)
def test_two_rules_of_which_neither_is_more_specific_are_refused(
    first: str, second: str, witness: str
) -> None:
    with pytest.raises(AmbiguousRulesError) as caught:
        ruleset(first, second)
    (pair,) = caught.value.pairs
    assert {str(pair.first), str(pair.second)} == {first, second}
    assert str(pair.witness) == witness
    assert matches(pair.first, pair.witness)
    assert matches(pair.second, pair.witness)
    for part in (first, second, witness):
        assert part in str(caught.value)


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ("a tcp 192.0.2.0/24 80", "b tcp 192.0.2.0/25 80"),
        ("a tcp 192.0.2.0/24 80", "b tcp 192.0.3.0/24 80"),
        ("a tcp 192.0.2.0/24 80", "b udp 192.0.2.0/24 80"),
        ("a tcp 192.0.2.0/24 80-89", "b tcp 192.0.2.0/24 90-99"),
        ("a tcp 192.0.2.0/24 80-89", "b tcp 192.0.2.0/24 85-95"),
        ("a tcp 192.0.2.1 80 from 203.0.113.0/24", "b tcp 192.0.2.1 80 from 203.0.112.0/24"),
        ("a tcp 192.0.2.1 80 on eth0", "b tcp 192.0.2.1 80 on eth1"),
        ("a tcp 192.0.2.1 80 on eth0", "b tcp 192.0.2.1 80"),
        ("a tcp 192.0.2.1 80", "a tcp 192.0.2.1 80"),
    ],
)
def test_rules_that_differ_in_a_criterion_or_never_meet_are_not_ambiguous(
    first: str, second: str
) -> None:
    ruleset(first, second)


@pytest.mark.parametrize(
    "between",
    [
        "c tcp 192.0.3.0/24 83-92 from 203.0.113.0/24 on eth0",
        "c tcp 192.0.1.0/24 83-92 from 203.0.113.0/24 on eth0",
        "c tcp 192.0.2.0/24 83-92 from 203.0.114.0/24 on eth0",
        "c tcp 192.0.2.0/24 83-92 from 203.0.112.0/24 on eth0",
        "c tcp 192.0.2.0/24 83-92 from 203.0.113.0/24 on eth1",
        "c tcp 192.0.2.0/24 83-92 from 203.0.113.0/24",
        "c udp 192.0.2.0/24 83-92 from 203.0.113.0/24 on eth0",
        "c tcp 192.0.2.0/24 84 from 203.0.113.0/24 on eth0",
    ],
)
def test_rules_that_lie_between_do_not_hide_an_ambiguity(between: str) -> None:
    first = "a tcp 192.0.2.0/24 80-89 from 203.0.113.0/24 on eth0"
    second = "b tcp 192.0.2.0/24 85-94 from 203.0.113.0/24 on eth0"
    with pytest.raises(AmbiguousRulesError) as caught:
        ruleset(first, between, second)
    (pair,) = caught.value.pairs
    assert (str(pair.first), str(pair.second)) == (first, second)


def _ambiguous_by_definition(one: Rule, other: Rule, packet: Packet) -> bool:
    return (
        one != other
        and specificity(one) == specificity(other)
        and matches(one, packet)
        and matches(other, packet)
    )


@given(st.lists(rules(), max_size=8, unique=True), a_packet())
@settings(max_examples=150, deadline=None)
def test_a_ruleset_is_refused_just_when_two_rules_are_ambiguous(
    some: list[Rule], packet: Packet
) -> None:
    try:
        Ruleset(some)
    except AmbiguousRulesError as error:
        for pair in error.pairs:
            assert _ambiguous_by_definition(pair.first, pair.second, pair.witness)
        # All rules that are ambiguous with another are named.
        named = {rule for pair in error.pairs for rule in (pair.first, pair.second)}
        Ruleset(rule for rule in some if rule not in named)
        assert named <= set(some)
        for one, other in combinations(some, 2):
            if _ambiguous_by_definition(one, other, packet):
                assert {one, other} <= named
    else:
        assert not any(
            _ambiguous_by_definition(one, other, packet) for one, other in combinations(some, 2)
        )


@given(rulesets(rules(), max_rules=16), a_packet())
@settings(max_examples=150, deadline=None)
def test_the_candidates_for_a_packet_are_in_a_strict_order(among: Ruleset, packet: Packet) -> None:
    decision = lookup(among, packet)
    ranks = [specificity(rule) for rule in decision.candidates]
    assert ranks == sorted(set(ranks), reverse=True)
    # The order of a ruleset is that order, for all packets at once.
    assert list(decision.candidates) == [rule for rule in among.rules if matches(rule, packet)]


@given(st.lists(rules(), max_size=12))
@settings(max_examples=50, deadline=None)
def test_what_is_left_without_ambiguities_is_a_ruleset(some: list[Rule]) -> None:
    assert set(Ruleset(without_ambiguities(some)).rules) <= set(some)
