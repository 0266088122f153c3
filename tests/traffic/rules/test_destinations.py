"""Who gets a packet by its destination: prefixes, ports, and prefixes inside others."""

from __future__ import annotations

import pytest

from support.edge import Edge
from support.networks import SERVER_V4, SERVER_V6, TwoHosts
from support.servers import Protocol, Start, ask, who_answers

pytestmark = pytest.mark.kernel

each_protocol = pytest.mark.parametrize("protocol", ["tcp", "udp"])


@each_protocol
def test_two_services_share_a_port_by_prefix(
    edge: Edge, two_hosts: TwoHosts, echo_server: Start, protocol: Protocol
) -> None:
    for name in ("first", "second"):
        server = echo_server(two_hosts.server, protocol, "::", v6only=False, name=name)
        edge.bind(f"{name} {protocol} {'192.0.2.0' if name == 'first' else '198.51.100.0'}/24 80")
        edge.bind(f"{name} {protocol} 2001:db8:{1 if name == 'first' else 2}::/48 80")
        edge.register(name, server)
    for name, addresses in (
        ("first", ["192.0.2.0", "192.0.2.80", "192.0.2.255", "2001:db8:1::", "2001:db8:1:f::1"]),
        ("second", ["198.51.100.0", "198.51.100.255", "2001:db8:2::", "2001:db8:2:ffff::1"]),
    ):
        for address in addresses:
            answer = ask(two_hosts.client, protocol, address, 80)
            assert (answer.server, answer.local) == (name, (address, 80))
            assert who_answers(two_hosts.client, protocol, address, 81) == "refused"
    for address in (SERVER_V4, SERVER_V6):
        assert who_answers(two_hosts.client, protocol, address, 80) == "refused"


@each_protocol
def test_every_port_of_a_prefix_reaches_one_socket(
    edge: Edge, two_hosts: TwoHosts, echo_server: Start, protocol: Protocol
) -> None:
    proxy = echo_server(two_hosts.server, protocol, "::", v6only=False)
    edge.bind(f"proxy {protocol} 198.51.100.0/24 any", f"proxy {protocol} 2001:db8:2::/48 any")
    edge.register("proxy", proxy)
    for port in (1, 22, 80, 443, *range(1024, 65536, 8191), 65535):
        for address in (f"198.51.100.{port % 256}", f"2001:db8:2::{port:x}"):
            assert ask(two_hosts.client, protocol, address, port).local == (address, port)
    assert who_answers(two_hosts.client, protocol, "192.0.2.1", 443) == "refused"
    assert who_answers(two_hosts.client, protocol, "2001:db8:1::1", 443) == "refused"


@each_protocol
def test_a_port_range_ends_where_it_says(
    edge: Edge, two_hosts: TwoHosts, echo_server: Start, protocol: Protocol
) -> None:
    game = echo_server(two_hosts.server, protocol, "::", v6only=False, name="game")
    edge.bind(
        f"game {protocol} 192.0.2.0/24 8000-8999", f"game {protocol} 2001:db8:1::/48 8000-8999"
    )
    edge.register("game", game)
    for address in ("192.0.2.7", "2001:db8:1::7"):
        for port in (8000, 8001, 8500, 8998, 8999):
            assert ask(two_hosts.client, protocol, address, port).local == (address, port)
        for port in (7999, 9000):
            assert who_answers(two_hosts.client, protocol, address, port) == "refused"


@each_protocol
def test_a_more_specific_prefix_inside_another_wins_there_alone(
    edge: Edge, two_hosts: TwoHosts, echo_server: Start, protocol: Protocol
) -> None:
    rules = {
        "wide": ["192.0.2.0/24 any", "2001:db8:1::/48 any"],
        "inner": ["192.0.2.64/28 80", "2001:db8:1:40::/60 80"],
        "one": ["192.0.2.66 80", "2001:db8:1:42::1 80"],
    }
    for name, of in rules.items():
        edge.bind(*(f"{name} {protocol} {rule}" for rule in of))
        edge.register(name, echo_server(two_hosts.server, protocol, "::", v6only=False, name=name))
    for name, address in (
        ("wide", "192.0.2.63"),
        ("inner", "192.0.2.64"),
        ("one", "192.0.2.66"),
        ("inner", "192.0.2.79"),
        ("wide", "192.0.2.80"),
        ("wide", "2001:db8:1:3f:ffff::"),
        ("inner", "2001:db8:1:40::"),
        ("one", "2001:db8:1:42::1"),
        ("inner", "2001:db8:1:4f::1"),
        ("wide", "2001:db8:1:50::"),
    ):
        assert who_answers(two_hosts.client, protocol, address, 80) == name
        # Other ports of the inner prefixes stay with the rule around them.
        assert who_answers(two_hosts.client, protocol, address, 81) == "wide"


@each_protocol
def test_one_port_beats_a_range_and_a_range_beats_any(
    edge: Edge, two_hosts: TwoHosts, echo_server: Start, protocol: Protocol
) -> None:
    for name, ports in (("all", "any"), ("range", "8000-8999"), ("port", "8443")):
        edge.bind(f"{name} {protocol} 192.0.2.0/24 {ports}", f"{name} {protocol} ::/0 {ports}")
        edge.register(name, echo_server(two_hosts.server, protocol, "::", v6only=False, name=name))
    for port, name in (
        (80, "all"),
        (8000, "range"),
        (8443, "port"),
        (8444, "range"),
        (9000, "all"),
    ):
        for address in ("192.0.2.9", "2001:db8:2::9"):
            assert who_answers(two_hosts.client, protocol, address, port) == name


def test_tcp_and_udp_of_one_port_are_apart(
    edge: Edge, two_hosts: TwoHosts, echo_server: Start
) -> None:
    for protocol in ("tcp", "udp"):
        server = echo_server(two_hosts.server, protocol, "::", v6only=False, name=f"by {protocol}")
        edge.bind(f"{protocol}-dns {protocol} 192.0.2.0/24 53")
        edge.register(f"{protocol}-dns", server)
    assert who_answers(two_hosts.client, "tcp", "192.0.2.1", 53) == "by tcp"
    assert who_answers(two_hosts.client, "udp", "192.0.2.1", 53) == "by udp"
    edge("unbind", "udp-dns", "udp", "192.0.2.0/24", 53).done()
    assert who_answers(two_hosts.client, "tcp", "192.0.2.1", 53) == "by tcp"
    assert who_answers(two_hosts.client, "udp", "192.0.2.1", 53) == "refused"
