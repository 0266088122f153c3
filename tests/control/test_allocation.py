"""Numbers for services and counters for rules: kept, never shared, never taken too early."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from inet_lookup.control.allocation import count_rules, number_services
from inet_lookup.control.counters import SMALLEST, room_for
from inet_lookup.dispatch.layout import FIRST_RULE_COUNTER, MAX_SERVICES
from inet_lookup.errors import CapacityError
from inet_lookup.rules import Rule, Ruleset, Service
from support.rule_texts import rule

RULES = [rule(f"web tcp 10.0.0.{number} 80") for number in range(24)]
NAMES = [f"s{number}" for number in range(8)]

rule_sets = st.lists(st.sampled_from(RULES), unique=True).map(Ruleset)
service_sets = st.lists(st.sampled_from(NAMES), unique=True).map(
    lambda names: Ruleset((), map(Service, names))
)


def small_room_for(rules: int) -> int:
    """As little room as there can be, so that it is outgrown often."""
    return max(2, rules)


@given(st.lists(rule_sets, max_size=12))
def test_each_rule_keeps_its_counter_and_has_it_alone(history: list[Ruleset]) -> None:
    in_force: dict[Rule, int] = {}
    room = 2
    for ruleset in history:
        given_ = count_rules(in_force.items(), ruleset, room, small_room_for)
        assert len(set(given_.indexes)) == len(ruleset.rules)
        last = FIRST_RULE_COUNTER + (given_.room or room)
        assert all(FIRST_RULE_COUNTER <= index < last for index in given_.indexes)
        assert set(given_.kept) | set(given_.new) == set(given_.indexes)
        after = dict(zip(ruleset.rules, given_.indexes, strict=True))
        kept = set(in_force) & set(after)
        assert all(in_force[each] == after[each] for each in kept)
        assert {after[each] for each in kept} == set(given_.kept)
        if given_.room is None:
            # Nothing that is counted into now is given away before it is out of force.
            assert not set(given_.new) & set(in_force.values())
        else:
            room = given_.room
        in_force = after


@given(st.lists(st.tuples(service_sets, st.sets(st.integers(0, 20))), max_size=12))
def test_each_service_keeps_its_number_and_has_it_alone(
    history: list[tuple[Ruleset, set[int]]],
) -> None:
    in_force: dict[str, int] = {}
    for ruleset, with_sockets in history:
        numbers = number_services(in_force, ruleset, with_sockets.__contains__)
        assert len(set(numbers.all.values())) == len(numbers.all)
        named = {service.name for service in ruleset.services}
        for name, number in in_force.items():
            if name in named or number in with_sockets:
                assert numbers.all[name] == number
            else:
                assert name not in numbers.all
        assert set(numbers.all) >= named
        assert not set(numbers.new) & set(in_force.values())
        assert set(numbers.new) == {numbers.all[name] for name in named - set(in_force)}
        in_force = dict(numbers.all)


def test_more_services_than_numbers_are_refused_by_name() -> None:
    ruleset = Ruleset((), [Service(f"s{number:04}") for number in range(MAX_SERVICES)])
    assert len(number_services({}, ruleset, lambda number: False).all) == MAX_SERVICES
    with pytest.raises(CapacityError, match="'s1023'"):
        number_services({"other": 5}, ruleset, lambda number: True)


@pytest.mark.parametrize("rules", [0, 1, 511, 512, 513, 10_000])
def test_there_is_room_for_twice_the_rules(rules: int) -> None:
    room = room_for(rules)
    assert room >= max(SMALLEST, 2 * rules)
    assert room & (room - 1) == 0
