"""A listener takes what comes to its prefixes and ports, and nothing else."""

from __future__ import annotations

from collections.abc import Iterator
from ipaddress import ip_address, ip_network
from typing import Any, Literal

import pytest

from inet_lookup import InetLookupError, Namespace, listen, query
from inet_lookup.errors import NamespaceError
from inet_lookup.rules import RulesError
from support.arrivals import arrives
from support.networks import SERVER_V4, TwoHosts, sysctl
from support.servers import Start, who_answers

pytestmark = pytest.mark.kernel

V4, V6 = "192.0.2.0/24", "2001:db8:1::/48"
IN_V4 = ("192.0.2.0", "192.0.2.7", "192.0.2.255")
IN_V6 = ("2001:db8:1::", "2001:db8:1::7", "2001:db8:1:ffff:ffff:ffff:ffff:ffff")
ELSEWHERE = (SERVER_V4, "198.51.100.7", "2001:db8:2::7")

each_protocol = pytest.mark.parametrize("protocol", ["tcp", "udp"])
Protocol = Literal["tcp", "udp"]


@pytest.fixture
def hosts(two_hosts: TwoHosts) -> Iterator[TwoHosts]:
    # As many ICMP messages as there are refusals: by default they are few a second.
    for family in ("ipv4.icmp_ratelimit", "ipv6.icmp.ratelimit"):
        sysctl(two_hosts.server, f"net.{family}", 0)
    yield two_hosts
    assert query(two_hosts.server) == []


@each_protocol
@pytest.mark.parametrize(
    ("prefixes", "inside"),
    [
        pytest.param(V4, IN_V4, id="IPv4"),
        pytest.param(V6, IN_V6, id="IPv6"),
        pytest.param([V4, ip_network(V6)], IN_V4 + IN_V6, id="both"),
        pytest.param(ip_address("192.0.2.7"), ["192.0.2.7"], id="one address"),
        pytest.param([V4, "192.0.2.0/28", V4, "192.0.2.3"], IN_V4, id="overlapping"),
    ],
)
def test_every_address_of_the_prefixes_is_the_listeners(
    hosts: TwoHosts, protocol: Protocol, prefixes: Any, inside: tuple[str, ...]
) -> None:
    with listen(prefixes, 80, protocol=protocol, netns=hosts.server) as listener:
        for address in inside:
            assert arrives(listener, hosts, address, 80)
            assert not arrives(listener, hosts, address, 81)
        for address in {*IN_V4, *IN_V6, *ELSEWHERE} - {*inside}:
            assert not arrives(listener, hosts, address, 80)


@each_protocol
@pytest.mark.parametrize(
    ("port", "inside", "outside"),
    [
        (80, [80], [79, 81]),
        ("8000-8999", [8000, 8500, 8999], [7999, 9000]),
        (range(8000, 9000), [8000, 8500, 8999], [7999, 9000]),
        (range(8000, 8010, 3), [8000, 8003, 8006, 8009], [8001, 8002, 8010, 8012]),
        ("any", [1, 22, 80, 40000, 65535], []),
        ([80, "443", "8000-8001", range(9000, 9002)], [80, 443, 8001, 9001], [81, 8002, 9002]),
        (["80-90", "85-95", 96, "80-90"], [80, 87, 95, 96], [79, 97]),
        ("80,8000-8010", [80, 8010], [81]),
    ],
)
def test_every_port_asked_for_is_the_listeners(
    hosts: TwoHosts, protocol: Protocol, port: Any, inside: list[int], outside: list[int]
) -> None:
    with listen([V4, V6], port, protocol=protocol, netns=hosts.server) as listener:
        for address in ("192.0.2.7", "2001:db8:1::7"):
            for number in inside:
                assert arrives(listener, hosts, address, number)
            for number in outside:
                assert not arrives(listener, hosts, address, number)


def test_the_other_protocol_is_left_alone(hosts: TwoHosts, echo_server: Start) -> None:
    echo_server(hosts.server, "udp", "0.0.0.0", 53, name="datagrams")
    with listen(V4, 53, netns=hosts.server) as listener:
        assert arrives(listener, hosts, "192.0.2.7", 53)
        assert who_answers(hosts.client, "udp", "192.0.2.7", 53) == "datagrams"


@each_protocol
def test_a_server_on_all_addresses_keeps_the_others_and_has_them_back(
    hosts: TwoHosts, echo_server: Start, protocol: Protocol
) -> None:
    echo_server(hosts.server, protocol, "0.0.0.0", 80, name="regular")
    with listen("192.0.2.0/25", 80, protocol=protocol, netns=hosts.server) as listener:
        assert arrives(listener, hosts, "192.0.2.127", 80)
        assert who_answers(hosts.client, protocol, "192.0.2.128", 80) == "regular"
        assert who_answers(hosts.client, protocol, SERVER_V4, 80) == "regular"
    assert who_answers(hosts.client, protocol, "192.0.2.127", 80) == "regular"


@each_protocol
@pytest.mark.parametrize("prefixes", [V4, V6, [V4, V6]], ids=["IPv4", "IPv6", "both"])
def test_the_port_that_it_is_bound_to_is_not_open_to_others(
    hosts: TwoHosts, protocol: Protocol, prefixes: Any
) -> None:
    with listen(prefixes, 80, protocol=protocol, netns=hosts.server) as listener:
        address, port = listener.getsockname()[:2]
        assert address.removeprefix("::ffff:") in ("127.0.0.1", "::1")
        for address in (SERVER_V4, "192.0.2.7", "2001:db8:ffff::1", "2001:db8:1::7"):
            assert not arrives(listener, hosts, address, port)


def test_it_says_what_it_listens_on(netns: Namespace) -> None:
    with listen([V4, V6], [443, "80-81", 82], netns=netns) as listener:
        assert listener.prefixes == (ip_network(V4), ip_network(V6))
        assert listener.ports == (range(80, 83), range(443, 444))
        assert listener.protocol == "tcp"
        fd = listener.fileno()
        assert repr(listener) == f"<Listener tcp {V4},{V6} port 80-82,443, fd={fd}>"
    assert repr(listener) == f"<Listener tcp {V4},{V6} port 80-82,443, closed>"
    with listen("192.0.2.1", "any", protocol="udp", netns=netns) as listener:
        assert listener.ports == (range(65536),)
        assert "udp 192.0.2.1/32 port any" in repr(listener)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("192.0.2.1/24", 80), "has bits set beyond its prefix length"),
        (("localhost", 80), "is not an IPv4 or IPv6 address"),
        (([], 80), "there are no prefixes to listen on"),
        ((V4, 0), "port 0 is out of range"),
        ((V4, range(65535, 65537)), "port .* is out of range"),
        ((V4, "http"), "is not a port"),
        ((V4, []), "the list of ports is empty"),
        ((V4, range(80, 80)), "the list of ports is empty"),
        ((V4, 80.5), "80.5 is not a port"),
        ((None, 80), "is not an IPv4 or IPv6 address"),
    ],
)
def test_what_is_no_prefix_or_port_is_refused(arguments: Any, message: str) -> None:
    with pytest.raises(RulesError, match=message) as caught:
        listen(*arguments)
    assert caught.value.hint


def test_an_unknown_protocol_or_namespace_is_refused() -> None:
    with pytest.raises(InetLookupError, match='"sctp" is not a protocol'):
        listen(V4, 80, protocol="sctp")  # type: ignore[arg-type]
    with pytest.raises(NamespaceError, match="there is no network namespace named 'nowhere'"):
        listen(V4, 80, netns="nowhere")
