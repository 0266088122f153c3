"""For random rulesets and packets the kernel's decision is that of the reference lookup."""

from __future__ import annotations

import os
import random
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

import pytest

from inet_lookup.dispatch import generation
from inet_lookup.dispatch.explanation import Explainer
from inet_lookup.dispatch.tables import action_words, build
from inet_lookup.rules import Ruleset, lookup
from support.random_rulesets import INTERFACES, random_packet, random_ruleset

pytestmark = pytest.mark.kernel

IFINDEXES = {name: index for index, name in enumerate(INTERFACES, start=1)}
PAIRS = int(os.environ.get("INET_LOOKUP_PAIRS", "200000"))
SHAPES = ((1, 100), (2, 200), (5, 500), (12, 1000), (40, 2000), (120, 3000))
SHARDS = 4


@contextmanager
def explainer_of(ruleset: Ruleset) -> Iterator[Explainer]:
    """The explainer of a ruleset, with tables in the kernel and no sockets."""
    with ExitStack() as stack:
        shared = generation.make_shared(max(len(ruleset.rules), 1))
        for made in shared.values():
            stack.enter_context(made)
        services = {service.name: number for number, service in enumerate(ruleset.services)}
        counters = {rule: number for number, rule in enumerate(ruleset.rules)}
        actions = action_words(ruleset, services, counters)
        loaded = stack.enter_context(generation.load(build(ruleset), actions, shared, IFINDEXES))
        yield stack.enter_context(Explainer({**loaded.maps, **shared}))


@pytest.mark.parametrize("shard", range(SHARDS))
def test_random_pairs(shard: int) -> None:
    seed = int(os.environ.get("INET_LOOKUP_SEED", random.randrange(2**32)))
    rng = random.Random(seed + shard)
    compared = winners = 0
    while compared < PAIRS // SHARDS:
        size, packets = rng.choice(SHAPES)
        ruleset = random_ruleset(rng, size)
        with explainer_of(ruleset) as explainer:
            for _ in range(packets):
                packet = random_packet(rng, ruleset)
                rule = lookup(ruleset, packet).rule
                expected = 0 if rule is None else ruleset.rules.index(rule) + 1
                ifindex = IFINDEXES.get(packet.interface or "", 0)
                answer = explainer.ask(packet, ifindex).rule
                assert answer == expected, (
                    f"{packet}: the kernel says {answer and ruleset.rules[answer - 1]}, "
                    f"the reference {rule}; INET_LOOKUP_SEED={seed}, shard {shard}"
                )
                winners += rule is not None
        compared += packets
    assert winners > compared // 3, "too few packets match a rule"
