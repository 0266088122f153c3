"""Random rules that overlap as often as can be, and the packets that tell them apart."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import product

from hypothesis import strategies as st

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

NETWORK = {
    Family.IPV4: 0xC000_0200,
    Family.IPV6: 0x2001_0DB8 << 96,
}
"""192.0.2.0 and 2001:db8::, around which all addresses of :func:`rules` lie."""

INTERFACES = (None, "eth0", "eth1")

_SIZE_BITS = 3
_PORTS = 6


def _prefixes(family: Family, size_bits: int = _SIZE_BITS) -> st.SearchStrategy[Prefix]:
    """Prefixes in the last few addresses of a network, and some that hold them all."""
    narrow = st.builds(
        lambda offset, host_bits: Prefix.around(
            family, NETWORK[family] + offset, family.bits - host_bits
        ),
        st.integers(0, (1 << size_bits) - 1),
        st.integers(0, size_bits),
    )
    wide = st.sampled_from([0, 8, family.bits - size_bits - 1]).map(
        lambda length: Prefix.around(family, NETWORK[family], length)
    )
    return narrow | narrow | narrow | wide


def ports() -> st.SearchStrategy[Ports]:
    """One of a few ports, a range of them, or any."""
    some = st.tuples(st.integers(1, _PORTS), st.integers(0, 3))
    return (
        some.map(lambda pair: Ports(pair[0], pair[0] + pair[1]))
        | st.integers(1, _PORTS).map(Ports.one)
        | st.sampled_from([ANY_PORT, Ports(1, 65535), Ports(3, 65535)])
    )


def rules(
    families: tuple[Family, ...] = tuple(Family), protocols: tuple[Protocol, ...] = tuple(Protocol)
) -> st.SearchStrategy[Rule]:
    """Rules that meet one another often."""
    actions = st.sampled_from(["a", "b", "c", PASS, DROP])

    def of_family(family: Family) -> st.SearchStrategy[Rule]:
        return st.builds(
            Rule,
            actions,
            st.sampled_from(protocols),
            _prefixes(family),
            ports(),
            st.none() | _prefixes(family, 2),
            st.sampled_from(INTERFACES),
        )

    return st.sampled_from(families).flatmap(of_family)


def without_ambiguities(candidates: list[Rule]) -> list[Rule]:
    """Return the rules without those that are ambiguous with an earlier one."""
    while True:
        try:
            Ruleset(candidates)
        except AmbiguousRulesError as error:
            gone = {max(pair.first, pair.second, key=candidates.index) for pair in error.pairs}
            candidates = [rule for rule in candidates if rule not in gone]
        else:
            return candidates


def rulesets(rule: st.SearchStrategy[Rule], max_rules: int = 12) -> st.SearchStrategy[Ruleset]:
    """Rulesets of such rules, some with services that no rule names."""
    services = st.lists(
        st.builds(Service, st.sampled_from(["a", "b", "c", "idle"]), st.sampled_from([DROP, PASS])),
        unique_by=lambda service: service.name,
        max_size=3,
    )
    return st.builds(
        lambda candidates, declared: Ruleset(without_ambiguities(candidates), declared),
        st.lists(rule, max_size=max_rules),
        services,
    )


def packets(
    families: tuple[Family, ...] = tuple(Family), protocols: tuple[Protocol, ...] = tuple(Protocol)
) -> Iterator[Packet]:
    """Yield packets of which each part of each rule's match meets some and misses some."""
    local_ports = [0, *range(1, _PORTS + 5), 65535]
    for family, protocol in product(families, protocols):
        network = NETWORK[family]
        local = [network - 1, *(network + offset for offset in range(1 << _SIZE_BITS))]
        local += [network + (1 << _SIZE_BITS), network + (2 << _SIZE_BITS), 1]
        remote = [*(network + offset for offset in range(4)), network + 4, network + 8, 1]
        for local_ip, port, remote_ip, interface in product(
            local, local_ports, remote, (*INTERFACES, "eth2")
        ):
            yield Packet(family, protocol, local_ip, port, remote_ip, 0, interface)


def a_packet() -> st.SearchStrategy[Packet]:
    """One of :func:`packets`."""
    return st.sampled_from(list(packets()))
