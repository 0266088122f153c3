"""``ctx.ingress_ifindex`` is the interface that a packet really came in by."""

from __future__ import annotations

import pytest

from inet_lookup import PASS, Context, SockArray, Verdict, attach, program
from support.networks import TwoHosts, another_client, interface_index
from support.servers import Protocol, Start, who_answers
from support.taking import Take

pytestmark = pytest.mark.kernel


@pytest.mark.parametrize("protocol", ["tcp", "udp"])
@pytest.mark.parametrize(
    "address", ["192.0.2.1", "203.0.113.1", "2001:db8:1::1", "2001:db8:ffff::1"]
)
def test_the_interface_decides_and_not_the_address(
    two_hosts: TwoHosts, echo_server: Start, take: Take, protocol: Protocol, address: str
) -> None:
    servers = SockArray(max_entries=2)
    for slot, name in enumerate(("by eth0", "by eth1")):
        server = echo_server(two_hosts.server, protocol, "::", v6only=False, name=name)
        servers[slot] = take(server)
    with another_client(two_hosts) as second_client:
        eth0 = interface_index(two_hosts.server, "eth0")
        eth1 = interface_index(two_hosts.server, "eth1")

        @program
        def by_interface(ctx: Context) -> Verdict:
            if ctx.ingress_ifindex == eth0:
                return servers.redirect(ctx, 0)
            if ctx.ingress_ifindex == eth1:
                return servers.redirect(ctx, 1)
            return PASS

        with attach(by_interface, two_hosts.server):
            assert who_answers(two_hosts.client, protocol, address, 80) == "by eth0"
            assert who_answers(second_client, protocol, address, 80) == "by eth1"


@pytest.mark.parametrize("protocol", ["tcp", "udp"])
@pytest.mark.parametrize(
    ("address", "interface"),
    [
        ("127.0.0.9", "lo"),
        ("::1", "lo"),
        ("192.0.2.1", "lo"),
        ("2001:db8:1::1", "lo"),
        # The kernel takes the interface that has the address (inet_iif(), ipv6_rcv()).
        ("203.0.113.1", "eth0"),
        ("2001:db8:ffff::1", "eth0"),
    ],
)
def test_what_a_machine_sends_to_itself_comes_in_by_the_interface_of_the_address(
    two_hosts: TwoHosts,
    echo_server: Start,
    take: Take,
    protocol: Protocol,
    address: str,
    interface: str,
) -> None:
    servers = SockArray(max_entries=1)
    servers[0] = take(echo_server(two_hosts.server, protocol, "::", v6only=False))
    index = interface_index(two_hosts.server, interface)

    @program
    def by_interface(ctx: Context) -> Verdict:
        return servers.redirect(ctx, 0) if ctx.ingress_ifindex == index else PASS

    with attach(by_interface, two_hosts.server):
        assert who_answers(two_hosts.server, protocol, address, 80) == "server"
