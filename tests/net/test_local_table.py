"""The reader of a namespace's local routes, held to what the netlink library reads."""

from __future__ import annotations

import ipaddress

import pytest

from inet_lookup.net import Namespace, local_prefixes
from inet_lookup.net.local_table import read_local_prefixes
from support.networks import ip

pytestmark = pytest.mark.kernel


def read(namespace: Namespace) -> set[str]:
    """What it reads, as ``ip`` writes prefixes."""
    return {
        str(ipaddress.ip_network((each.address, each.length)))
        if each.family == 2
        else str(ipaddress.IPv6Network((each.address, each.length)))
        for each in namespace.run(read_local_prefixes)
    }


def test_addresses_and_local_routes_are_read_and_no_other_routes(netns: Namespace) -> None:
    ip(
        netns,
        "addr add 10.0.0.1/24 dev lo",
        "route add local 192.0.2.0/24 dev lo",
        "route add local 198.51.100.7 dev lo",
        "route add local 2001:db8:1::/48 dev lo",
        "route add 203.0.113.0/24 dev lo",
        "route add blackhole 2001:db8:2::/48",
    )
    expected = {"127.0.0.0/8", "127.0.0.1/32", "192.0.2.0/24"}
    # An address of lo makes the whole of its prefix local.
    expected |= {"10.0.0.0/24", "10.0.0.1/32"}
    expected |= {"198.51.100.7/32", "::1/128", "2001:db8:1::/48"}
    assert read(netns) == expected
    assert read(netns) == {str(prefix) for prefix in local_prefixes(netns)}


def test_a_whole_family_that_is_local_has_the_length_0(netns: Namespace) -> None:
    ip(netns, "route add local 0.0.0.0/0 dev lo", "route add local ::/0 dev lo")
    assert {"0.0.0.0/0", "::/0"} <= read(netns)


def test_more_routes_than_fit_into_one_message_are_all_read(netns: Namespace) -> None:
    prefixes = [f"10.{high}.{low}.0/24" for high in range(8) for low in range(256)]
    ip(netns, *(f"route add local {prefix} dev lo" for prefix in prefixes))
    assert set(prefixes) <= read(netns)


def test_where_nothing_is_local_nothing_is_read() -> None:
    with Namespace.create(loopback=False) as namespace:
        assert namespace.run(read_local_prefixes) == []
