"""Rules for some sources and interfaces alone, and the actions pass and drop."""

from __future__ import annotations

import pytest

from support.edge import Edge
from support.networks import CLIENT_V4, CLIENT_V6, TwoHosts, another_client, ip
from support.servers import Protocol, Start, ask, who_answers

pytestmark = pytest.mark.kernel

each_protocol = pytest.mark.parametrize("protocol", ["tcp", "udp"])


@each_protocol
def test_a_source_prefix_has_a_service_of_its_own(
    edge: Edge, two_hosts: TwoHosts, echo_server: Start, protocol: Protocol
) -> None:
    for name in ("everyone", "some", "one"):
        server = echo_server(two_hosts.server, protocol, "::", v6only=False, name=name)
        source = {
            "everyone": ("", ""),
            "some": ("--source 203.0.113.64/26", "--source 2001:db8:ffff::40/122"),
            "one": ("--source 203.0.113.77", "--source 2001:db8:ffff::4d"),
        }[name]
        edge.bind(
            f"{name} {protocol} 192.0.2.0/24 80 {source[0]}",
            f"{name} {protocol} 2001:db8:1::/48 80 {source[1]}",
        )
        edge.register(name, server)
    others = {
        "everyone": [(CLIENT_V4, CLIENT_V6), ("203.0.113.63", "2001:db8:ffff::3f")],
        "some": [("203.0.113.64", "2001:db8:ffff::40"), ("203.0.113.127", "2001:db8:ffff::7f")],
        "one": [("203.0.113.77", "2001:db8:ffff::4d")],
    }
    # To find neighbours that it has not heard of the server needs a link-local address.
    ip(two_hosts.server, "addr add fe80::1/64 dev eth0 nodad")
    added = {each for pairs in others.values() for pair in pairs for each in pair}
    ip(
        two_hosts.client,
        *(
            f"addr add {address}/{'64' if ':' in address else '24'} dev eth0"
            + (" nodad" if ":" in address else "")
            for address in added - {CLIENT_V4, CLIENT_V6}
        ),
    )
    for name, pairs in others.items():
        for pair in pairs:
            for source, address in zip(pair, ("192.0.2.1", "2001:db8:1::1"), strict=True):
                answer = ask(two_hosts.client, protocol, address, 80, source=(source, 0))
                assert (answer.server, answer.remote[0]) == (name, source)


@each_protocol
def test_an_interface_has_a_service_of_its_own(
    edge: Edge, two_hosts: TwoHosts, echo_server: Start, protocol: Protocol
) -> None:
    with another_client(two_hosts) as second_client:
        for name, option in (("anywhere", ""), ("inside", "--interface eth1")):
            server = echo_server(two_hosts.server, protocol, "::", v6only=False, name=name)
            edge.bind(
                f"{name} {protocol} 192.0.2.0/24 80 {option}",
                f"{name} {protocol} 2001:db8:1::/48 80 {option}",
            )
            edge.register(name, server)
        for address in ("192.0.2.1", "2001:db8:1::1"):
            assert who_answers(two_hosts.client, protocol, address, 80) == "anywhere"
            assert who_answers(second_client, protocol, address, 80) == "inside"


@each_protocol
def test_pass_leaves_packets_to_who_is_bound_and_drop_to_nobody(
    edge: Edge, two_hosts: TwoHosts, echo_server: Start, protocol: Protocol
) -> None:
    echo_server(two_hosts.server, protocol, "::", 80, v6only=False, name="bound")
    proxy = echo_server(two_hosts.server, protocol, "::", v6only=False, name="proxy")
    edge.bind(
        f"proxy {protocol} 192.0.2.0/24 any",
        f"pass {protocol} 192.0.2.1 80",
        f"drop {protocol} 192.0.2.2 80",
        f"proxy {protocol} 2001:db8:1::/48 any",
        f"pass {protocol} 2001:db8:1::1 80",
        f"drop {protocol} 2001:db8:1::2 80",
    )
    edge.register("proxy", proxy)
    for prefix in ("192.0.2.", "2001:db8:1::"):
        assert who_answers(two_hosts.client, protocol, f"{prefix}1", 80) == "bound"
        assert who_answers(two_hosts.client, protocol, f"{prefix}2", 80) == "refused"
        assert who_answers(two_hosts.client, protocol, f"{prefix}3", 80) == "proxy"
        assert who_answers(two_hosts.client, protocol, f"{prefix}1", 81) == "proxy"
        assert who_answers(two_hosts.client, protocol, f"{prefix}2", 81) == "proxy"
