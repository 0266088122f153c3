"""Sets of addresses are written as few prefixes and exceptions as will do."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from inet_lookup.rules import Block, Family, Interfaces, Prefix
from inet_lookup.rules.regions import (
    Runs,
    blocks_of,
    runs_less,
    runs_within,
    union_of_interfaces,
    union_of_runs,
)

BASE = 0xC000_0200
SIZE = 32

_SETS = st.frozensets(st.integers(0, SIZE - 1))


def runs_of(numbers: frozenset[int], base: int = 0) -> Runs:
    return union_of_runs((base + number, base + number) for number in numbers)


def members(runs: Runs) -> set[int]:
    return {number for low, high in runs for number in range(low, high + 1)}


def shown(*numbers: int) -> list[str]:
    return [str(block) for block in blocks_of(Family.IPV4, runs_of(frozenset(numbers), BASE))]


def test_a_prefix_is_written_as_itself() -> None:
    assert shown(*range(32)) == ["192.0.2.0/27"]
    assert shown(7) == ["192.0.2.7"]


def test_a_hole_is_written_as_an_exception() -> None:
    assert shown(*set(range(32)) - {7}) == ["192.0.2.0/27 except 192.0.2.7"]


def test_what_is_in_a_hole_is_written_apart() -> None:
    numbers = set(range(32)) - set(range(8, 16)) | {9}
    assert shown(*numbers) == ["192.0.2.0/27 except 192.0.2.8/29", "192.0.2.9"]


def test_exceptions_are_not_sought_where_prefixes_will_do() -> None:
    assert shown(*range(24)) == ["192.0.2.0/28", "192.0.2.16/29"]


def test_many_holes_in_a_wide_ipv6_prefix_cost_one_exception_each() -> None:
    prefix = Prefix.parse("2001:db8::/32")
    holes = [Prefix(Family.IPV6, prefix.address + (number << 40) + 5, 128) for number in range(300)]
    runs = runs_less([(prefix.address, prefix.last)], [(one.address, one.last) for one in holes])
    assert blocks_of(Family.IPV6, runs) == (Block(prefix, tuple(holes)),)


@given(_SETS)
@settings(max_examples=400)
def test_blocks_hold_exactly_the_set_and_each_address_once(numbers: frozenset[int]) -> None:
    blocks = blocks_of(Family.IPV4, runs_of(numbers, BASE))
    for number in range(-2, SIZE + 2):
        holding = [block for block in blocks if block.holds(Family.IPV4, BASE + number)]
        assert len(holding) == (number in numbers)
    for block in blocks:
        assert all(block.prefix.covers(hole) for hole in block.excluding)


def _fewest_prefixes(numbers: frozenset[int], low: int, size: int, default: bool) -> int:
    """Count by trying: this prefix says nothing, or in, or out."""
    inside = [number in numbers for number in range(low, low + size)]
    if all(one == inside[0] for one in inside):
        return inside[0] != default
    half = size // 2
    return min(
        (says != default)
        + _fewest_prefixes(numbers, low, half, says)
        + _fewest_prefixes(numbers, low + half, half, says)
        for says in (False, True)
    )


@given(st.frozensets(st.integers(0, 15)))
@settings(max_examples=300)
def test_no_fewer_prefixes_would_do(numbers: frozenset[int]) -> None:
    blocks = blocks_of(Family.IPV4, runs_of(numbers, BASE))
    written = sum(1 + len(block.excluding) for block in blocks)
    assert written == _fewest_prefixes(numbers, 0, 16, False)


@given(_SETS, _SETS, st.integers(0, SIZE), st.integers(0, SIZE))
def test_runs_are_sets_of_integers(
    one: frozenset[int], other: frozenset[int], low: int, high: int
) -> None:
    assert members(union_of_runs([*runs_of(one), *runs_of(other)])) == one | other
    assert members(runs_less(runs_of(one), runs_of(other))) == one - other
    assert members(runs_within(runs_of(one), low, high)) == one & set(range(low, high + 1))
    assert runs_less(runs_of(one), ()) == runs_of(one)


_INTERFACES = st.builds(
    lambda names, excluded: Interfaces(tuple(sorted(names)), excluded),
    st.frozensets(st.sampled_from(["eth0", "eth1", "eth2"])),
    st.booleans(),
)


@given(st.lists(_INTERFACES))
def test_interfaces_of_a_union_are_those_of_any(sets: list[Interfaces]) -> None:
    union = union_of_interfaces(sets)
    for name in (None, "eth0", "eth1", "eth2", "eth3"):
        assert union.holds(name) == any(one.holds(name) for one in sets)
