"""``explain`` tells where a packet goes, as the kernel answers it, and why."""

from __future__ import annotations

import pytest

from inet_lookup.bpf import Map
from support.edge import Edge
from support.networks import TwoHosts, interface_index, ip
from support.servers import Start, ask

pytestmark = pytest.mark.kernel

RULES = (
    "proxy tcp 192.0.2.0/24 any",
    "web tcp 192.0.2.0/24 80-90",
    "web tcp 192.0.2.0/28 80",
    "api tcp 192.0.2.0/28 80 --source 203.0.113.0/24",
    "inner tcp 192.0.2.0/28 80 --source 203.0.113.0/24 --interface eth0",
    "drop tcp 192.0.2.9 80",
    "pass tcp 192.0.2.8 80",
)


def test_the_winner_is_shown_and_each_loser_with_the_reason(edge: Edge) -> None:
    edge.bind(*RULES)
    arguments = ("explain", "tcp", "192.0.2.1:80", "--from", "203.0.113.7:4711")
    out = edge(*arguments, "--interface", "eth0").done().out
    expected = [
        "rule     inner tcp 192.0.2.0/28 80 from 203.0.113.0/24 on eth0",
        "service  inner, on_miss drop",
        "lost     api tcp 192.0.2.0/28 80 from 203.0.113.0/24: the winner names an interface, eth0",
        "lost     web tcp 192.0.2.0/28 80: the winner names a source, 203.0.113.0/24",
        "lost     web tcp 192.0.2.0/24 80-90: 192.0.2.0/28 is a longer prefix than 192.0.2.0/24",
        "lost     proxy tcp 192.0.2.0/24 any: 192.0.2.0/28 is a longer prefix than 192.0.2.0/24",
    ]
    shown = [line.strip() for line in out.splitlines()]
    assert out.splitlines()[0] == "tcp 192.0.2.1:80 from 203.0.113.7:4711 on eth0"
    assert [line for line in shown if line in expected] == expected
    result = edge(*arguments, "--json").done().json
    assert [each["rule"]["service"] for each in result["candidates"]] == [
        "api",
        "web",
        "web",
        "proxy",
    ]
    assert result["candidates"][0]["lost"] is None
    assert (result["agrees"], result["disagreement"]) == (True, None)


def test_socket_process_and_command_are_shown(
    edge: Edge, two_hosts: TwoHosts, echo_server: Start
) -> None:
    edge.bind(*RULES)
    server = echo_server(two_hosts.server, "tcp", "127.0.0.1", 3128)
    edge.register("proxy", server)
    result = edge("explain", "tcp", "192.0.2.77:4711", "--json").done().json
    assert (result["outcome"], result["service"]["name"]) == ("redirect", "proxy")
    assert (result["socket"]["address"], result["socket"]["port"]) == ("127.0.0.1", 3128)
    (process,) = result["socket"]["processes"]
    assert process["pid"] == server.pid
    assert process["command"].startswith(str(server.process.args[0]))  # type: ignore[index]
    out = edge("explain", "tcp", "192.0.2.77:4711").done().out
    assert "  outcome  goes to proxy\n" in out
    assert f"  socket   tcp 127.0.0.1:3128, cookie {result['socket']['cookie']}, inode " in out
    assert f"  process  {server.pid}: " in out


def test_a_reuseport_group_is_shown_as_one(
    edge: Edge, two_hosts: TwoHosts, echo_server: Start
) -> None:
    edge.bind(*RULES)
    edge.register("proxy", echo_server(two_hosts.server, "tcp", "127.0.0.1", sockets=3))
    assert "one of a reuseport group of 3" in edge("explain", "tcp", "192.0.2.77:1").done().out
    assert len(edge("explain", "tcp", "192.0.2.77:1", "--json").done().json["group"]) == 3


@pytest.mark.parametrize(
    ("destination", "outcome", "regular"),
    [
        ("192.0.2.77:4711", "dropped: proxy has no socket", "would have found no socket"),
        ("192.0.2.77:8080", "dropped: proxy has no socket", "would have chosen tcp 0.0.0.0:8080"),
        ("192.0.2.9:80", "dropped", "would have found no socket"),
        ("192.0.2.8:80", "left to the regular lookup", "finds no socket: it is refused"),
        ("198.51.100.1:8080", "left to the regular lookup", "chooses tcp 0.0.0.0:8080"),
        ("198.51.100.1:9", "left to the regular lookup", "finds no socket: it is refused"),
    ],
)
def test_what_the_regular_lookup_does_or_would_have_done(
    edge: Edge,
    two_hosts: TwoHosts,
    echo_server: Start,
    destination: str,
    outcome: str,
    regular: str,
) -> None:
    edge.bind(*RULES)
    echo_server(two_hosts.server, "tcp", "0.0.0.0", 8080)
    out = edge("explain", "tcp", destination).done().out
    assert f"  outcome  {outcome}" in out
    assert f"  regular  {regular}" in out


def test_nothing_is_counted(edge: Edge, two_hosts: TwoHosts, echo_server: Start) -> None:
    edge.bind(*RULES)
    edge.register("proxy", echo_server(two_hosts.server, "tcp", "127.0.0.1"))
    ask(two_hosts.client, "tcp", "192.0.2.77", 4711)
    before = edge.status()
    for port in (1, 80, 4711):
        edge("explain", "tcp", f"192.0.2.77:{port}").done()
    assert edge.status() == before
    assert before["lookups"] == 1


def test_an_address_that_is_not_local_and_other_programs_are_noted(edge: Edge) -> None:
    edge.bind("web tcp 10.9.0.0/16 80")
    ended = edge("explain", "tcp", "10.9.0.1:80").done()
    assert "note: 10.9.0.1 is not local" in ended.err
    assert "ip route add local 10.9.0.1 dev lo" in ended.err


def test_both_families_and_protocols_are_explained(edge: Edge) -> None:
    edge.bind("dns udp 2001:db8:1::/48 53 --source 2001:db8:ffff::/64")
    arguments = ("explain", "udp", "[2001:db8:1::1]:53")
    assert "none matches" in edge(*arguments).done().out
    out = edge(*arguments, "--from", "[2001:db8:ffff::2]:5353").done().out
    assert "rule     dns udp 2001:db8:1::/48 53 from 2001:db8:ffff::/64" in out
    edge("explain", "tcp", "192.0.2.1:80", "--interface", "eth9").failed("no interface 'eth9'")


def test_where_kernel_and_rules_disagree_it_is_loud_and_a_failure(
    edge: Edge, two_hosts: TwoHosts
) -> None:
    edge.bind("pass tcp 192.0.2.0/24 80", "drop tcp 192.0.2.9 80")
    assert edge("explain", "tcp", "192.0.2.9:80").status == 0
    # What no command does: swap the actions of two rules in the kernel.
    (actions,) = edge.bpffs.glob("inet-lookup/*/dispatcher/generations/*/actions")
    with Map.open_pinned(str(actions)) as words:
        first, second = words.lookup(1), words.lookup(2)
        assert first is not None
        assert second is not None
        words.update(1, second)
        words.update(2, first)
    ended = edge("explain", "tcp", "192.0.2.9:80")
    ended.failed("THE KERNEL AND THE RULES DISAGREE")
    assert "THE KERNEL AND THE RULES DISAGREE" in ended.out
    result = edge("explain", "tcp", "192.0.2.9:80", "--json")
    assert result.status == 1
    assert result.json["agrees"] is False


def test_an_interface_made_anew_is_a_disagreement_with_its_reason(
    edge: Edge, two_hosts: TwoHosts
) -> None:
    ip(two_hosts.server, "link add tap0 type veth peer name tap1")
    edge.bind("web tcp 192.0.2.0/24 80 --interface tap0")
    index = interface_index(two_hosts.server, "tap0")
    ip(two_hosts.server, "link del tap0", "link add tap0 type veth peer name tap1")
    assert interface_index(two_hosts.server, "tap0") != index
    edge("explain", "tcp", "192.0.2.1:80", "--interface", "tap0").failed("apply them again")
    edge("upgrade").done()
    edge("explain", "tcp", "192.0.2.1:80", "--interface", "tap0").done()
