"""States are read back as they were written, and nothing else is read."""

from __future__ import annotations

import contextlib
import json
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from inet_lookup.bpf import Map, MapType
from inet_lookup.control import state_map
from inet_lookup.control.state import State, decode, encode
from inet_lookup.errors import InetLookupError
from inet_lookup.rules import Prefix, Ruleset
from support.rule_texts import rule
from support.rulesets import rules, rulesets

SMALL = State("0.1.0", 1.5, 2.5, Ruleset([rule("a tcp 10.0.0.0/8 1")]), {"a": 0}, [3072])


@given(rulesets(rules()), st.integers(0, 2**64 - 1) | st.none())
def test_a_state_is_read_back(ruleset: Ruleset, cookie: int | None) -> None:
    state = State(
        version="1.2.3",
        loaded_at=1.25,
        made_at=2.5,
        ruleset=ruleset,
        numbers={service.name: number for number, service in enumerate(ruleset.services)},
        counters=list(range(3072, 3072 + len(ruleset.rules))),
        interfaces={"eth0": 3, "wlan ü": 0},
        routes=(Prefix.parse("192.0.2.0/24"), Prefix.parse("2001:db8::/64")),
        namespace_cookie=cookie,
    )
    assert decode(encode(state)) == state


@given(
    st.binary(max_size=100)
    | st.recursive(
        st.none() | st.booleans() | st.integers() | st.text(max_size=5),
        lambda inner: st.lists(inner, max_size=10) | st.dictionaries(st.text(max_size=9), inner),
    ).map(lambda value: json.dumps(value).encode())
)
def test_garbage_is_refused_with_words(data: bytes) -> None:
    with pytest.raises(InetLookupError, match="cannot be read"):
        decode(data)


@given(st.data())
def test_a_state_with_something_replaced_is_refused_or_read(data: st.DataObject) -> None:
    document = json.loads(encode(SMALL))
    key = data.draw(st.sampled_from(sorted(document)))
    document[key] = data.draw(st.none() | st.integers() | st.text(max_size=3) | st.just([[1]]))
    with contextlib.suppress(InetLookupError):
        decode(json.dumps(document).encode())


@given(st.data())
def test_a_state_with_something_else_in_a_rule_is_refused_or_read(data: st.DataObject) -> None:
    document = json.loads(encode(SMALL))
    row = data.draw(st.sampled_from(document["rules"]))
    row[data.draw(st.integers(0, len(row) - 1))] = data.draw(
        st.none() | st.integers() | st.text(max_size=3) | st.just([1])
    )
    with contextlib.suppress(InetLookupError):
        decode(json.dumps(document).encode())


@pytest.mark.kernel
@pytest.mark.parametrize("size", [0, 1, 4000, 4096, 100_000, 1_000_000])
def test_bytes_of_any_length_are_held_by_a_map(size: int) -> None:
    data = random.Random(size).randbytes(size)
    with state_map.write(data, "state") as held:
        assert state_map.read(held) == data


@pytest.mark.kernel
@pytest.mark.parametrize("value", [b"", b"\xff" * 16, b"\x10" + b"\0" * 7 + b"rubbish" * 20])
def test_a_map_that_holds_something_else_is_refused(value: bytes) -> None:
    with Map.create(
        MapType.ARRAY, key_size=4, value_size=4096, max_entries=1, name="other"
    ) as held:
        held.update(0, value.ljust(4096, b"\0"))
        with pytest.raises(InetLookupError, match="does not hold a state"):
            state_map.read(held)
