"""Traffic to one address and port reaches a socket that is bound to another.

The RFC's own cases: a client sends to an external address and port, a server is bound to an
internal one, and the program steers by port or by address.
"""

from __future__ import annotations

import socket
from ipaddress import ip_address, ip_network

import pytest

from inet_lookup import (
    IPPROTO_TCP,
    PASS,
    Context,
    Counters,
    ProgramLink,
    SockArray,
    Verdict,
    attach,
    ntohs,
    program,
)
from support.networks import CLIENT_V4, TwoHosts
from support.servers import Protocol, Start, ask, who_answers
from support.taking import Take

pytestmark = pytest.mark.kernel

PORT, INTERNAL_PORT = 7007, 8008

external_and_internal = pytest.mark.parametrize(
    ("external", "elsewhere", "internal"),
    [
        pytest.param("192.0.2.1", "192.0.2.2", "127.0.0.2", id="IPv4"),
        pytest.param("2001:db8:1::1", "2001:db8:1::2", "::1", id="IPv6"),
        pytest.param("192.0.2.1", "192.0.2.2", "::ffff:127.0.0.2", id="IPv4 to mapped IPv6"),
        pytest.param("192.0.2.1", "192.0.2.2", "::", id="IPv4 to dual-stack IPv6"),
    ],
)
each_protocol = pytest.mark.parametrize("protocol", ["tcp", "udp"])


def steer_port(servers: SockArray, hosts: TwoHosts) -> ProgramLink:
    @program
    def by_port(ctx: Context) -> Verdict:
        return servers.redirect(ctx, 0) if ctx.local_port == PORT else PASS

    return attach(by_port, hosts.server)


def steer_address(servers: SockArray, hosts: TwoHosts, address: str) -> ProgramLink:
    wanted = ip_address(address)

    @program
    def by_address(ctx: Context) -> Verdict:
        return servers.redirect(ctx, 0) if ctx.local_ip == wanted else PASS

    return attach(by_address, hosts.server)


@each_protocol
@external_and_internal
def test_a_port_is_redirected_on_every_address(
    two_hosts: TwoHosts,
    echo_server: Start,
    take: Take,
    protocol: Protocol,
    external: str,
    elsewhere: str,
    internal: str,
) -> None:
    server = echo_server(two_hosts.server, protocol, internal, INTERNAL_PORT, v6only=only(internal))
    servers = SockArray(max_entries=1)
    servers[0] = take(server)
    assert who_answers(two_hosts.client, protocol, external, PORT) == "refused"
    with steer_port(servers, two_hosts):
        for address in (external, elsewhere):
            answer = ask(two_hosts.client, protocol, address, PORT, "ping")
            assert (answer.data, answer.local) == ("ping", (address, PORT))
        assert who_answers(two_hosts.client, protocol, external, PORT + 1) == "refused"


@each_protocol
@external_and_internal
def test_an_address_is_redirected_on_every_port(
    two_hosts: TwoHosts,
    echo_server: Start,
    take: Take,
    protocol: Protocol,
    external: str,
    elsewhere: str,
    internal: str,
) -> None:
    server = echo_server(two_hosts.server, protocol, internal, INTERNAL_PORT, v6only=only(internal))
    servers = SockArray(max_entries=1)
    servers[0] = take(server)
    with steer_address(servers, two_hosts, external):
        for port in (1, PORT, INTERNAL_PORT, 65535):
            answer = ask(two_hosts.client, protocol, external, port, "ping")
            assert (answer.data, answer.local) == ("ping", (external, port))
        assert who_answers(two_hosts.client, protocol, elsewhere, PORT) == "refused"


def only(address: str) -> bool | None:
    """What IPV6_V6ONLY is to be: off where IPv4 traffic goes to an IPv6 socket."""
    return False if address in ("::", "::ffff:127.0.0.2") else None


@each_protocol
def test_one_socket_takes_both_families_and_every_port_of_its_prefixes(
    two_hosts: TwoHosts, echo_server: Start, take: Take, protocol: Protocol
) -> None:
    proxy = echo_server(two_hosts.server, protocol, "::", 0, v6only=False)
    proxies = SockArray(max_entries=1)
    proxies[0] = take(proxy)
    v4, v6 = ip_network("198.51.100.0/24"), ip_network("2001:db8:2::/48")

    @program
    def all_ports(ctx: Context) -> Verdict:
        return proxies.redirect(ctx, 0) if ctx.local_ip in v4 or ctx.local_ip in v6 else PASS

    with attach(all_ports, two_hosts.server):
        for port in (1, 22, 443, *range(1024, 65536, 2048), 65535):
            for address in (f"198.51.100.{port % 256}", f"2001:db8:2:{port:x}::{port:x}"):
                assert ask(two_hosts.client, protocol, address, port).local == (address, port)
        assert who_answers(two_hosts.client, protocol, "192.0.2.1", 443) == "refused"


@external_and_internal
def test_a_fragmented_datagram_is_steered_as_a_whole(
    two_hosts: TwoHosts,
    echo_server: Start,
    take: Take,
    external: str,
    elsewhere: str,
    internal: str,
) -> None:
    server = echo_server(two_hosts.server, "udp", internal, INTERNAL_PORT, v6only=only(internal))
    servers = SockArray(max_entries=1)
    servers[0] = take(server)
    text = "0123456789" * 2000
    with steer_port(servers, two_hosts):
        assert ask(two_hosts.client, "udp", external, PORT, text).data == text


def test_the_program_sees_the_client(two_hosts: TwoHosts, echo_server: Start, take: Take) -> None:
    friend, other = (
        echo_server(two_hosts.server, "tcp", "127.0.0.1", name=name) for name in ("friend", "other")
    )
    servers = SockArray(max_entries=2)
    servers[0], servers[1] = take(friend), take(other)
    client, port = ip_address(CLIENT_V4), 40_000

    @program
    def by_source(ctx: Context) -> Verdict:
        known = ctx.remote_ip == client and ntohs(ctx.remote_port) == port
        return servers.redirect(ctx, 0 if known else 1)

    with attach(by_source, two_hosts.server):
        for source, name in ((port, "friend"), (port + 1, "other")):
            answer = ask(two_hosts.client, "tcp", "192.0.2.1", 80, source=(CLIENT_V4, source))
            assert (answer.server, answer.remote) == (name, (CLIENT_V4, source))


def test_the_program_runs_once_a_connection_and_once_a_datagram(
    two_hosts: TwoHosts, echo_server: Start, take: Take
) -> None:
    servers, lookups = SockArray(max_entries=2), Counters(max_entries=2)
    for index, protocol in enumerate(("tcp", "udp")):
        servers[index] = take(echo_server(two_hosts.server, protocol, "127.0.0.1"))

    @program
    def counting(ctx: Context) -> Verdict:
        kind = 0 if ctx.protocol == IPPROTO_TCP else 1
        lookups.add(kind)
        return servers.redirect(ctx, kind)

    def talk(kind: socket.SocketKind, rounds: int) -> None:
        with socket.socket(socket.AF_INET, kind) as sock:
            sock.settimeout(5)
            sock.connect(("192.0.2.1", PORT))
            for _ in range(rounds):
                sock.send(b"hello\n")
                assert sock.recv(65535)

    with attach(counting, two_hosts.server):
        for _ in range(3):
            two_hosts.client.run(talk, socket.SOCK_STREAM, rounds=20)
        two_hosts.client.run(talk, socket.SOCK_DGRAM, rounds=7)
        assert list(lookups) == [3, 7]
