"""The kernel and plain Python give the same verdict, socket and map contents for every program."""

from __future__ import annotations

import os
import random
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from inet_lookup import Verdict, load
from support.contexts import fitting_sockets, random_context
from support.loading import load_module

pytestmark = pytest.mark.kernel

COLLECTION = Path(__file__).with_name("collection.py")
CONTEXTS_PER_PROGRAM = int(os.environ.get("INET_LOOKUP_CONTEXTS", "4000"))


@pytest.fixture(scope="module")
def sockets() -> Iterator[list[socket.socket]]:
    """A socket of each kind that matters to whether it fits a packet; slots 6 and 7 stay empty."""
    with fitting_sockets() as made:
        yield made


NAMES = sorted(load_module(COLLECTION).PROGRAMS)


def test_the_collection_is_large_enough_for_the_promise() -> None:
    assert len(NAMES) * CONTEXTS_PER_PROGRAM >= 100_000


@pytest.mark.parametrize("name", NAMES)
def test_program(name: str, sockets: list[socket.socket]) -> None:
    seed = int(os.environ.get("INET_LOOKUP_SEED", random.randrange(2**32)))
    rng = random.Random(seed)
    compiled, plain = load_module(COLLECTION), load_module(COLLECTION)
    for module in (compiled, plain):
        for index, sock in enumerate(sockets):
            module.servers[index] = sock
    verdicts = set()
    with load(compiled.PROGRAMS[name]) as kernel:
        for number in range(CONTEXTS_PER_PROGRAM):
            ctx = random_context(rng)
            expected = plain.PROGRAMS[name](ctx)
            selected = None if ctx.sk is None or expected is not Verdict.PASS else ctx.sk.cookie
            outcome = kernel.test_run(ctx)
            assert (outcome.verdict, outcome.cookie) == (expected, selected), (
                f"{name} on {ctx!r} (number {number} of INET_LOOKUP_SEED={seed})"
            )
            verdicts.add((expected, selected))
        for map_name in kernel.maps:
            if map_name in plain.MAPS:
                assert contents(compiled.MAPS[map_name]) == contents(plain.MAPS[map_name]), (
                    f"{map_name} after {name} with INET_LOOKUP_SEED={seed}"
                )
    if name not in ("typed", "counting"):
        assert len(verdicts) > 1, "the contexts do not exercise the program"


def contents(table: object) -> object:
    if hasattr(table, "items"):
        return dict(table.items())
    if hasattr(table, "key_spec"):
        return {key: table[key] for key in table}
    return list(table)
