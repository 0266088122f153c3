"""A listener makes its prefixes local where it is told to, and takes back just what it added."""

from __future__ import annotations

import pytest

from inet_lookup import InetLookupError, Namespace, listen, query
from inet_lookup.net import add_local_routes, is_local, local_prefixes
from support.arrivals import arrives
from support.networks import SERVER_V4, SERVER_V6, TwoHosts, ip

pytestmark = pytest.mark.kernel

V4, V6 = "10.9.8.0/24", "2001:db8:9::/48"


def routed(hosts: TwoHosts) -> TwoHosts:
    """Have the client send packets for the prefixes to the server."""
    ip(hosts.client, f"route add {V4} via {SERVER_V4}", f"route add {V6} via {SERVER_V6}")
    return hosts


@pytest.mark.parametrize("protocol", ["tcp", "udp"])
def test_prefixes_are_local_while_it_listens(two_hosts: TwoHosts, protocol: str) -> None:
    hosts = routed(two_hosts)
    with listen([V4, V6], 53, protocol=protocol, netns=hosts.server, anyip=True) as listener:
        assert arrives(listener, hosts, "10.9.8.7", 53)
        assert arrives(listener, hosts, "2001:db8:9:8::7", 53)
    assert not is_local(hosts.server, V4)
    assert not is_local(hosts.server, V6)


def test_what_was_local_stays_so(netns: Namespace) -> None:
    add_local_routes(netns, [V4])
    with listen([V4, V6], 80, netns=netns, anyip=True):
        assert is_local(netns, V6)
    assert is_local(netns, V4)
    assert not is_local(netns, V6)


def test_without_being_told_it_adds_nothing(netns: Namespace) -> None:
    before = local_prefixes(netns)
    with listen([V4, V6], 80, netns=netns):
        assert local_prefixes(netns) == before


def test_the_callers_namespace_object_may_be_closed_meanwhile(netns: Namespace) -> None:
    with Namespace.open(f"/proc/self/fd/{netns.fileno()}") as given:
        listener = listen(V4, 80, netns=given, anyip=True)
    with listener:
        assert is_local(netns, V4)
    assert not is_local(netns, V4)


def test_nothing_stays_when_it_fails(netns: Namespace) -> None:
    before = local_prefixes(netns)
    with pytest.raises(InetLookupError, match="cannot be made local"):
        listen([V4, "0.0.0.0/0"], 80, netns=netns, anyip=True)
    # A route of another type is in the way of the second one.
    add_blackhole(netns)
    with pytest.raises(InetLookupError, match="there is a route of another type for it"):
        listen([V6, V4], 80, netns=netns, anyip=True)
    assert local_prefixes(netns) == before
    assert query(netns) == []


def add_blackhole(namespace: Namespace) -> None:
    ip(namespace, f"route add blackhole {V4} table local scope host proto static")
