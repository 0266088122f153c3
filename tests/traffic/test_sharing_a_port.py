"""Two servers share a port, each with its own prefixes: the example of the documentation."""

from __future__ import annotations

from pathlib import Path

import pytest

from inet_lookup import IPPROTO_UDP, PASS, Context, SockArray, Verdict, attach, program
from support.loading import load_module
from support.networks import SERVER_V4, SERVER_V6, TwoHosts
from support.servers import Protocol, Start, ask, who_answers
from support.taking import Take

pytestmark = pytest.mark.kernel

EXAMPLE = Path(__file__).parents[2] / "examples" / "two_http_servers.py"

FIRST = ["192.0.2.0", "192.0.2.1", "192.0.2.128", "192.0.2.255"]
FIRST += ["2001:db8:1::", "2001:db8:1::1", "2001:db8:1:ffff:ffff:ffff:ffff:ffff"]
SECOND = ["198.51.100.0", "198.51.100.77", "198.51.100.255"]
SECOND += ["2001:db8:2::", "2001:db8:2:1::80", "2001:db8:2:ffff:ffff:ffff:ffff:ffff"]


@pytest.mark.parametrize("users", [(None, None), (61001, 61001), (61001, 61002)])
def test_two_servers_share_port_80_by_prefix(
    two_hosts: TwoHosts, echo_server: Start, take: Take, users: tuple[int | None, int | None]
) -> None:
    example = load_module(EXAMPLE)
    for index, (port, user) in enumerate(zip((8080, 8081), users, strict=True)):
        server = echo_server(
            two_hosts.server, "tcp", "::", port, v6only=False, name=f"server {index}", user=user
        )
        if user is not None:
            assert f"\nUid:\t{user}\t" in Path(f"/proc/{server.pid}/status").read_text()
        example.servers[index] = take(server)
    with attach(example.two_http_servers, two_hosts.server):
        for index, addresses in enumerate((FIRST, SECOND)):
            for address in addresses:
                answer = ask(two_hosts.client, "tcp", address, 80)
                assert (answer.server, answer.local) == (f"server {index}", (address, 80))
        for address in (SERVER_V4, SERVER_V6):
            assert who_answers(two_hosts.client, "tcp", address, 80) == "refused"
        # What the program does not steer goes on to whoever is bound to it.
        assert who_answers(two_hosts.client, "tcp", FIRST[0], 8081) == "server 1"
        assert who_answers(two_hosts.client, "udp", FIRST[0], 80) == "refused"


def test_each_family_can_have_a_socket_of_its_own(
    two_hosts: TwoHosts, echo_server: Start, take: Take
) -> None:
    example = load_module(EXAMPLE)
    for name, address in (("IPv4", "127.0.0.1"), ("IPv6", "::1")):
        server = echo_server(two_hosts.server, "tcp", address, name=name)
        example.servers[0 if name == "IPv4" else 1] = take(server)
    with attach(example.two_http_servers, two_hosts.server):
        assert who_answers(two_hosts.client, "tcp", FIRST[0], 80) == "IPv4"
        assert who_answers(two_hosts.client, "tcp", SECOND[-1], 80) == "IPv6"
        # Sockets of the other family do not fit; the regular lookup finds nobody at port 80.
        assert who_answers(two_hosts.client, "tcp", FIRST[-1], 80) == "refused"
        assert who_answers(two_hosts.client, "tcp", SECOND[0], 80) == "refused"


def test_tcp_and_udp_of_one_port_go_to_servers_of_different_users(
    two_hosts: TwoHosts, echo_server: Start, take: Take
) -> None:
    servers = SockArray(max_entries=2)
    protocols: tuple[Protocol, Protocol] = ("tcp", "udp")
    for index, protocol in enumerate(protocols):
        server = echo_server(two_hosts.server, protocol, "::", v6only=False, user=61001 + index)
        servers[index] = take(server)
    port = 5300  # a UDP server of that user cannot answer from a port below 1024

    @program
    def dns(ctx: Context) -> Verdict:
        if ctx.local_port != port:
            return PASS
        return servers.redirect(ctx, 1 if ctx.protocol == IPPROTO_UDP else 0)

    with attach(dns, two_hosts.server):
        for protocol in protocols:
            for address in (FIRST[0], FIRST[-1]):
                assert ask(two_hosts.client, protocol, address, port).local == (address, port)
