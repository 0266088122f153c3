"""Random rulesets that overlap, and packets near their edges, quickly made by the thousand."""

from __future__ import annotations

import random

from inet_lookup.rules import (
    ANY_PORT,
    DROP,
    PASS,
    AmbiguousRulesError,
    Family,
    Packet,
    Ports,
    Prefix,
    Protocol,
    Rule,
    Ruleset,
    Service,
)

BASES = {
    Family.IPV4: (0xC000_0200, 0x0A00_0000, 0xC633_6400),
    Family.IPV6: (0x2001_0DB8 << 96, 0x2001_0DB8_0001 << 80, 0xFE80 << 112),
}
INTERFACES = ("eth0", "eth1", "lo")
SERVICES = ("nginx", "apache", "proxy", "dns")


def random_prefix(rng: random.Random, family: Family) -> Prefix:
    base = rng.choice(BASES[family])
    bits = family.bits
    length = rng.choice((0, 8, 9, 16, 20, 23, 24, 25, 28, 30, 31, bits, bits, bits - 1, bits // 2))
    return Prefix.around(family, base + rng.randrange(0, 1 << rng.choice((2, 4, 9, 12))), length)


def random_ports(rng: random.Random) -> Ports:
    kind = rng.random()
    if kind < 0.5:
        return Ports.one(rng.choice((22, 53, 80, 81, 443, 8080, rng.randrange(1, 65536))))
    if kind < 0.8:
        low = rng.choice((1, 20, 50, 79, 80, 400, 8000, rng.randrange(1, 60000)))
        return Ports(low, min(low + rng.choice((0, 1, 3, 30, 999, 40000)), 65535))
    return ANY_PORT


def random_rule(rng: random.Random) -> Rule:
    family = rng.choice(tuple(Family))
    return Rule(
        rng.choice((*SERVICES, *SERVICES, PASS, DROP)),
        rng.choice(tuple(Protocol)),
        random_prefix(rng, family),
        random_ports(rng),
        random_prefix(rng, family) if rng.random() < 0.25 else None,
        rng.choice(INTERFACES) if rng.random() < 0.15 else None,
    )


def random_ruleset(rng: random.Random, size: int) -> Ruleset:
    """Return a ruleset of about ``size`` rules, none of them ambiguous."""
    rules = {random_rule(rng) for _ in range(size)}
    services = [Service(name, rng.choice((PASS, DROP))) for name in SERVICES]
    while True:
        try:
            return Ruleset(rules, services)
        except AmbiguousRulesError as error:
            rules -= {pair.first for pair in error.pairs}


def random_packet(rng: random.Random, ruleset: Ruleset) -> Packet:
    """Return a packet that some rule matches, or just does not."""
    if not ruleset.rules or rng.random() < 0.1:
        family = rng.choice(tuple(Family))
        return Packet(
            family,
            rng.choice(tuple(Protocol)),
            rng.randrange(1 << family.bits),
            rng.randrange(65536),
            rng.randrange(1 << family.bits),
        )
    rule, other = rng.choice(ruleset.rules), rng.choice(ruleset.rules)
    source = rule.source
    if source is None:
        source = other.source if other.family is rule.family else None
    return Packet(
        rule.family,
        rule.protocol if rng.random() < 0.9 else rng.choice(tuple(Protocol)),
        _near(rng, rule.address),
        _near_port(rng, rule.ports if rng.random() < 0.7 else other.ports),
        _near(rng, source) if source is not None else rng.randrange(1 << rule.family.bits),
        rng.randrange(65536),
        rule.interface if rng.random() < 0.5 else rng.choice((None, *INTERFACES)),
    )


def _near(rng: random.Random, prefix: Prefix) -> int:
    where = rng.random()
    if where < 0.3:
        return prefix.address
    if where < 0.5:
        return prefix.last
    if where < 0.9:
        return rng.randint(prefix.address, prefix.last)
    step = rng.choice((prefix.address - 1, prefix.last + 1))
    return min(max(step, 0), (1 << prefix.family.bits) - 1)


def _near_port(rng: random.Random, ports: Ports) -> int:
    choice = rng.choice(
        (ports.low, ports.high, ports.low - 1, ports.high + 1, rng.randint(ports.low, ports.high))
    )
    return min(max(choice, 0), 65535)
