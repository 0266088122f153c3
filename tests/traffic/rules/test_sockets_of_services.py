"""What a service's sockets do: none, gone, replaced, a group, both families, taken away."""

from __future__ import annotations

import pytest

from support.edge import Edge
from support.networks import TwoHosts
from support.servers import Protocol, Start, ask, who_answers

pytestmark = pytest.mark.kernel

each_protocol = pytest.mark.parametrize("protocol", ["tcp", "udp"])
BOTH_FAMILIES = ("192.0.2.1", "2001:db8:1::1")
MEMBERS = 4
# How many requests until none of four members was left out, but for one time in 10**11.
REQUESTS = 100


def bind_both(edge: Edge, service: str, protocol: str, *options: str) -> None:
    for prefix in ("192.0.2.0/24", "2001:db8:1::/48"):
        edge("bind", service, protocol, prefix, 80, *options).done()


@each_protocol
@pytest.mark.parametrize(("on_miss", "expected"), [("drop", "refused"), ("pass", "bound")])
def test_without_a_socket_on_miss_says_what_becomes_of_packets(
    edge: Edge,
    two_hosts: TwoHosts,
    echo_server: Start,
    protocol: Protocol,
    on_miss: str,
    expected: str,
) -> None:
    echo_server(two_hosts.server, protocol, "::", 80, v6only=False, name="bound")
    bind_both(edge, "web", protocol, "--on-miss", on_miss)
    web = echo_server(two_hosts.server, protocol, "::", v6only=False, name="web")

    def answers() -> list[str]:
        return [who_answers(two_hosts.client, protocol, each, 80) for each in BOTH_FAMILIES]

    assert answers() == [expected, expected]  # never registered
    edge.register("web", web)
    assert answers() == ["web", "web"]
    web.kill()
    assert answers() == [expected, expected]  # registered, and gone since
    counted = edge.service("web")
    assert (counted["on_miss"], counted["lookups"], counted["misses"]) == (on_miss, 6, 4)


@each_protocol
def test_a_socket_that_serves_one_family_only_is_a_miss_for_the_other(
    edge: Edge, two_hosts: TwoHosts, echo_server: Start, protocol: Protocol
) -> None:
    bind_both(edge, "web", protocol)
    edge.register("web", echo_server(two_hosts.server, protocol, "127.0.0.1", name="web"))
    assert who_answers(two_hosts.client, protocol, "192.0.2.1", 80) == "web"
    assert who_answers(two_hosts.client, protocol, "2001:db8:1::1", 80) == "refused"
    only6 = echo_server(two_hosts.server, protocol, "::", v6only=True, name="web6")
    edge.register("web", only6)
    assert who_answers(two_hosts.client, protocol, "192.0.2.1", 80) == "web"
    assert who_answers(two_hosts.client, protocol, "2001:db8:1::1", 80) == "web6"


@each_protocol
def test_a_dual_stack_socket_serves_both_families(
    edge: Edge, two_hosts: TwoHosts, echo_server: Start, protocol: Protocol
) -> None:
    bind_both(edge, "web", protocol)
    edge.register("web", echo_server(two_hosts.server, protocol, "::", v6only=False, name="web"))
    for address in BOTH_FAMILIES:
        answer = ask(two_hosts.client, protocol, address, 80)
        assert (answer.server, answer.local) == ("web", (address, 80))


@each_protocol
@pytest.mark.parametrize("address", ["127.0.0.1", "::1"])
def test_four_workers_of_a_reuseport_group_all_get_connections(
    edge: Edge, two_hosts: TwoHosts, echo_server: Start, protocol: Protocol, address: str
) -> None:
    workers = [
        echo_server(two_hosts.server, protocol, address, 8080, reuseport=True, name=f"worker {n}")
        for n in range(MEMBERS)
    ]
    bind_both(edge, "web", protocol)
    edge.register("web", *workers)
    destination = BOTH_FAMILIES[":" in address]

    def reached() -> set[str]:
        return {who_answers(two_hosts.client, protocol, destination, 80) for _ in range(REQUESTS)}

    assert reached() == {f"worker {n}" for n in range(MEMBERS)}
    # The group lives on when a worker dies, whichever that is.
    for gone, worker in enumerate(workers[:-1]):
        worker.kill()
        assert reached() == {f"worker {n}" for n in range(gone + 1, MEMBERS)}


@each_protocol
def test_four_sockets_of_one_process_all_get_connections(
    edge: Edge, two_hosts: TwoHosts, echo_server: Start, protocol: Protocol
) -> None:
    group = echo_server(two_hosts.server, protocol, "127.0.0.1", sockets=MEMBERS)
    bind_both(edge, "web", protocol)
    edge.register("web", group)
    reached = {ask(two_hosts.client, protocol, "192.0.2.1", 80).socket for _ in range(REQUESTS)}
    assert reached == set(range(MEMBERS))


@each_protocol
def test_registering_again_replaces_the_socket_and_refuses_nobody(
    edge: Edge, two_hosts: TwoHosts, echo_server: Start, protocol: Protocol
) -> None:
    bind_both(edge, "web", protocol)
    for name in ("old", "new", "newer"):
        server = echo_server(two_hosts.server, protocol, "::", v6only=False, name=name)
        edge.register("web", server)
        for address in BOTH_FAMILIES:
            assert who_answers(two_hosts.client, protocol, address, 80) == name
    assert edge.service("web")["misses"] == 0


def test_unregister_takes_the_sockets_away_by_protocol(
    edge: Edge, two_hosts: TwoHosts, echo_server: Start
) -> None:
    for protocol in ("tcp", "udp"):
        bind_both(edge, "dns", protocol)
        server = echo_server(two_hosts.server, protocol, "::", v6only=False, name=protocol)
        edge.register("dns", server)
    edge("unregister", "dns", "udp").done()
    for address in BOTH_FAMILIES:
        assert who_answers(two_hosts.client, "tcp", address, 80) == "tcp"
        assert who_answers(two_hosts.client, "udp", address, 80) == "refused"
    edge("unregister", "dns").done()
    assert who_answers(two_hosts.client, "tcp", BOTH_FAMILIES[0], 80) == "refused"
