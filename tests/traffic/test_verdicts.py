"""PASS lets the regular lookup go on, DROP refuses, and what does not fit is not selected."""

from __future__ import annotations

import socket

import pytest

from inet_lookup import (
    DROP,
    PASS,
    Context,
    ProgramLink,
    SockArray,
    Verdict,
    attach,
    program,
)
from support.networks import TwoHosts
from support.servers import Protocol, Start, who_answers
from support.taking import Take

pytestmark = pytest.mark.kernel

PORT = 7007

each_family = pytest.mark.parametrize("address", ["192.0.2.1", "2001:db8:1::1"])
each_protocol = pytest.mark.parametrize("protocol", ["tcp", "udp"])


@program
def pass_all(ctx: Context) -> Verdict:
    return PASS


@program
def drop_the_port(ctx: Context) -> Verdict:
    return DROP if ctx.local_port == PORT else PASS


def redirect_the_port(servers: SockArray, hosts: TwoHosts, otherwise: Verdict) -> ProgramLink:
    @program
    def redirect_or_else(ctx: Context) -> Verdict:
        if ctx.local_port == PORT:
            return servers.redirect(ctx, 0, otherwise=otherwise)
        return PASS

    return attach(redirect_or_else, hosts.server)


@each_protocol
@each_family
def test_pass_lets_the_regular_lookup_go_on(
    two_hosts: TwoHosts, echo_server: Start, protocol: Protocol, address: str
) -> None:
    regular(two_hosts, echo_server, protocol)
    with attach(pass_all, two_hosts.server):
        assert who_answers(two_hosts.client, protocol, address, PORT) == "regular"
        assert who_answers(two_hosts.client, protocol, address, PORT + 1) == "refused"


@each_protocol
@each_family
def test_drop_refuses_although_a_server_is_bound_there(
    two_hosts: TwoHosts, echo_server: Start, protocol: Protocol, address: str
) -> None:
    """TCP by a reset, UDP by an ICMP message: a connected socket sees either as ECONNREFUSED."""
    regular(two_hosts, echo_server, protocol)
    regular(two_hosts, echo_server, protocol, port=PORT + 1)
    assert who_answers(two_hosts.client, protocol, address, PORT) == "regular"
    with attach(drop_the_port, two_hosts.server):
        assert who_answers(two_hosts.client, protocol, address, PORT) == "refused"
        assert who_answers(two_hosts.client, protocol, address, PORT + 1) == "regular"
    assert who_answers(two_hosts.client, protocol, address, PORT) == "regular"


@each_family
def test_a_dropped_datagram_is_answered_with_port_unreachable(
    two_hosts: TwoHosts, address: str
) -> None:
    v4 = "." in address
    level, option, unreachable = (
        # IP_RECVERR and IPV6_RECVERR; destination unreachable, code port unreachable.
        (socket.IPPROTO_IP, 11, (2, 3, 3)) if v4 else (socket.IPPROTO_IPV6, 25, (3, 1, 4))
    )
    msg_errqueue = 0x2000

    def origin_type_and_code() -> tuple[int, ...]:
        family = socket.AF_INET if v4 else socket.AF_INET6
        with socket.socket(family, socket.SOCK_DGRAM) as sock:
            sock.setsockopt(level, option, 1)
            sock.settimeout(5)
            sock.connect((address, PORT))
            sock.send(b"anyone?")
            with pytest.raises(ConnectionRefusedError):
                sock.recv(1)
            _, ((_, _, error),), _, _ = sock.recvmsg(100, 200, msg_errqueue)
            # struct sock_extended_err: the errno in four bytes, then origin, type and code.
            return tuple(error[4:7])

    with attach(drop_the_port, two_hosts.server):
        assert two_hosts.client.run(origin_type_and_code) == unreachable


MISFITS = [
    pytest.param("tcp", "udp", "::", False, "192.0.2.1", id="a UDP socket for TCP"),
    pytest.param("udp", "tcp", "::", False, "192.0.2.1", id="a TCP socket for UDP"),
    *(
        pytest.param(protocol, protocol, bound, v6only, asked, id=f"{protocol}, {name}")
        for protocol in ("tcp", "udp")
        for name, bound, v6only, asked in (
            ("an IPv4 socket for IPv6", "0.0.0.0", None, "2001:db8:1::1"),
            ("a V6ONLY socket for IPv4", "::", True, "192.0.2.1"),
        )
    ),
]


@pytest.mark.parametrize(("protocol", "other", "bound", "v6only", "asked"), MISFITS)
def test_a_socket_that_does_not_fit_is_not_selected(
    two_hosts: TwoHosts,
    echo_server: Start,
    take: Take,
    protocol: Protocol,
    other: Protocol,
    bound: str,
    v6only: bool | None,
    asked: str,
) -> None:
    regular(two_hosts, echo_server, protocol)
    misfit = echo_server(two_hosts.server, other, bound, v6only=v6only, name="misfit")
    servers = SockArray(max_entries=1)
    servers[0] = take(misfit)
    with redirect_the_port(servers, two_hosts, PASS):
        assert who_answers(two_hosts.client, protocol, asked, PORT) == "regular"
    with redirect_the_port(servers, two_hosts, DROP):
        assert who_answers(two_hosts.client, protocol, asked, PORT) == "refused"


@each_protocol
@each_family
def test_an_empty_slot_selects_nothing_until_it_is_filled(
    two_hosts: TwoHosts, echo_server: Start, take: Take, protocol: Protocol, address: str
) -> None:
    regular(two_hosts, echo_server, protocol)
    steered = take(echo_server(two_hosts.server, protocol, "::", v6only=False, name="steered"))
    servers = SockArray(max_entries=1)
    for otherwise, expected in ((PASS, "regular"), (DROP, "refused")):
        with redirect_the_port(servers, two_hosts, otherwise):
            assert who_answers(two_hosts.client, protocol, address, PORT) == expected
            servers[0] = steered
            assert who_answers(two_hosts.client, protocol, address, PORT) == "steered"
            del servers[0]
            assert who_answers(two_hosts.client, protocol, address, PORT) == expected


@each_protocol
def test_the_slot_of_a_closed_socket_is_empty(
    two_hosts: TwoHosts, echo_server: Start, take: Take, protocol: Protocol
) -> None:
    regular(two_hosts, echo_server, protocol)
    servers = SockArray(max_entries=1)
    for otherwise, expected in ((PASS, "regular"), (DROP, "refused")):
        server = echo_server(two_hosts.server, protocol, "127.0.0.1", name="steered")
        with redirect_the_port(servers, two_hosts, otherwise):
            with take(server) as sock:
                servers[0] = sock
            assert who_answers(two_hosts.client, protocol, "192.0.2.1", PORT) == "steered"
            server.kill()
            assert servers[0] is None
            assert who_answers(two_hosts.client, protocol, "192.0.2.1", PORT) == expected


@each_protocol
def test_an_index_beyond_the_array_selects_nothing(
    two_hosts: TwoHosts, echo_server: Start, take: Take, protocol: Protocol
) -> None:
    regular(two_hosts, echo_server, protocol)
    regular(two_hosts, echo_server, protocol, port=PORT + 1)
    servers = SockArray(max_entries=1)
    servers[0] = take(echo_server(two_hosts.server, protocol, "127.0.0.1", name="steered"))

    @program
    def by_offset(ctx: Context) -> Verdict:
        port = ctx.local_port
        return servers.redirect(ctx, port - PORT) if port >= PORT else PASS

    with attach(by_offset, two_hosts.server):
        assert who_answers(two_hosts.client, protocol, "192.0.2.1", PORT) == "steered"
        assert who_answers(two_hosts.client, protocol, "192.0.2.1", PORT + 1) == "regular"


@each_protocol
def test_what_was_selected_before_stays_where_a_later_redirect_selects_nothing(
    two_hosts: TwoHosts, echo_server: Start, take: Take, protocol: Protocol
) -> None:
    servers = SockArray(max_entries=2)
    servers[0] = take(echo_server(two_hosts.server, protocol, "127.0.0.1", name="fallback"))

    @program
    def with_fallback(ctx: Context) -> Verdict:
        servers.redirect(ctx, 0)
        return servers.redirect(ctx, 1)

    with attach(with_fallback, two_hosts.server):
        assert who_answers(two_hosts.client, protocol, "192.0.2.1", PORT) == "fallback"
        servers[1] = take(echo_server(two_hosts.server, protocol, "127.0.0.1", name="preferred"))
        assert who_answers(two_hosts.client, protocol, "192.0.2.1", PORT) == "preferred"


@each_protocol
@each_family
def test_the_regular_lookup_is_back_as_soon_as_the_link_is_closed(
    two_hosts: TwoHosts, echo_server: Start, take: Take, protocol: Protocol, address: str
) -> None:
    regular(two_hosts, echo_server, protocol)
    servers = SockArray(max_entries=1)
    servers[0] = take(echo_server(two_hosts.server, protocol, "::", v6only=False, name="steered"))
    for _ in range(20):
        with redirect_the_port(servers, two_hosts, DROP):
            assert who_answers(two_hosts.client, protocol, address, PORT) == "steered"
        assert servers.kernel_map is None
        assert who_answers(two_hosts.client, protocol, address, PORT) == "regular"


def regular(hosts: TwoHosts, echo_server: Start, protocol: Protocol, port: int = PORT) -> None:
    """Start the server that the regular lookup finds."""
    echo_server(hosts.server, protocol, "::", port, v6only=False, name="regular")
