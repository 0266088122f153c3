"""A member of a reuseport group stands for its group, or for itself alone where told so."""

from __future__ import annotations

import pytest

from inet_lookup import Context, SockArray, Verdict, attach, program
from support.networks import TwoHosts, sysctl
from support.servers import Protocol, Start, ask, who_answers
from support.taking import Take

pytestmark = pytest.mark.kernel

MEMBERS = 4
# How many requests until none of four members was left out, but for one time in 10**11.
REQUESTS = 100

each_protocol = pytest.mark.parametrize("protocol", ["tcp", "udp"])
each_family = pytest.mark.parametrize(
    ("bound", "address"), [("127.0.0.1", "192.0.2.1"), ("::1", "2001:db8:1::1")]
)


@each_protocol
@each_family
@pytest.mark.parametrize("member", [0, MEMBERS - 1])
def test_the_group_shares_what_is_redirected_to_any_member(
    two_hosts: TwoHosts,
    echo_server: Start,
    take: Take,
    protocol: Protocol,
    bound: str,
    address: str,
    member: int,
) -> None:
    group = echo_server(two_hosts.server, protocol, bound, sockets=MEMBERS)
    servers = SockArray(max_entries=1)
    servers[0] = take(group, member)

    @program
    def to_the_group(ctx: Context) -> Verdict:
        return servers.redirect(ctx, 0)

    with attach(to_the_group, two_hosts.server):
        reached = {ask(two_hosts.client, protocol, address, 80).socket for _ in range(REQUESTS)}
    assert reached == set(range(MEMBERS))


@each_protocol
@each_family
@pytest.mark.parametrize("member", [0, MEMBERS - 1])
def test_without_its_group_only_the_very_socket_is_reached(
    two_hosts: TwoHosts,
    echo_server: Start,
    take: Take,
    protocol: Protocol,
    bound: str,
    address: str,
    member: int,
) -> None:
    group = echo_server(two_hosts.server, protocol, bound, sockets=MEMBERS)
    servers = SockArray(max_entries=1)
    servers[0] = take(group, member)

    @program
    def to_the_member(ctx: Context) -> Verdict:
        return servers.redirect(ctx, 0, reuseport=False)

    with attach(to_the_member, two_hosts.server):
        reached = {ask(two_hosts.client, protocol, address, 80).socket for _ in range(40)}
    assert reached == {member}


@each_protocol
def test_a_group_of_processes_is_reached_through_a_member_that_lives(
    two_hosts: TwoHosts, echo_server: Start, take: Take, protocol: Protocol
) -> None:
    workers = [
        echo_server(two_hosts.server, protocol, "127.0.0.1", 8080, reuseport=True, name=name)
        for name in ("first", "second")
    ]
    servers = SockArray(max_entries=1)
    # As many ICMP messages as there are refusals: by default they are few a second.
    sysctl(two_hosts.server, "net.ipv4.icmp_ratelimit", 0)

    @program
    def to_the_workers(ctx: Context) -> Verdict:
        return servers.redirect(ctx, 0)

    def reached() -> set[str]:
        return {who_answers(two_hosts.client, protocol, "192.0.2.1", 80) for _ in range(40)}

    with attach(to_the_workers, two_hosts.server):
        with take(workers[0]) as first:
            servers[0] = first
        assert reached() == {"first", "second"}
        workers[0].kill()
        assert servers[0] is None
        assert reached() == {"refused"}
        with take(workers[1]) as second:
            servers[0] = second
        assert reached() == {"second"}
