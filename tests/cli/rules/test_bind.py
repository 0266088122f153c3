"""``bind`` and ``unbind``: one rule more, one rule less, and what is told on the way."""

from __future__ import annotations

import pytest

from support.edge import Edge
from support.networks import TwoHosts
from support.servers import Start

pytestmark = pytest.mark.kernel

WEB = ("web", "tcp", "192.0.2.0/24", "80")


def in_force(edge: Edge) -> list[str]:
    """The rules in force, as people see them."""
    lines = edge("rules").done().out.splitlines()
    return [line.split(maxsplit=1)[1] for line in lines[1:]]


def test_the_first_rule_loads_the_dispatcher_and_the_last_leaves_it(edge: Edge) -> None:
    edge("rules").failed("no dispatcher is loaded", "bind")
    assert "bound web tcp 192.0.2.0/24 80 in" in edge("bind", *WEB).done().out
    assert in_force(edge) == ["web tcp 192.0.2.0/24 80"]
    assert "unbound web tcp 192.0.2.0/24 80" in edge("unbind", *WEB).done().out
    assert in_force(edge) == []
    assert edge.service("web")["rules"] == 0


def test_a_list_of_ports_is_as_many_rules_and_all_options_count(edge: Edge) -> None:
    options = ("--source", "203.0.113.0/24", "--interface", "eth0")
    edge("bind", "web", "tcp", "192.0.2.0/24", "80,443,8000-8999", *options).done()
    match = "from 203.0.113.0/24 on eth0"
    assert in_force(edge) == [
        f"web tcp 192.0.2.0/24 {ports} {match}" for ports in ("80", "443", "8000-8999")
    ]
    edge("unbind", "web", "tcp", "192.0.2.0/24", "443", *options).done()
    assert len(in_force(edge)) == 2


def test_a_rule_that_is_in_force_stays_as_it_is(edge: Edge) -> None:
    edge("bind", *WEB).done()
    before = edge.status()["generation"]
    assert "is in force already" in edge("bind", *WEB).done().out
    assert edge.status()["generation"] == before


def test_on_miss_is_set_and_kept_until_it_is_set_again(edge: Edge) -> None:
    edge("bind", *WEB, "--on-miss", "pass").done()
    assert edge.service("web")["on_miss"] == "pass"
    edge("bind", *WEB[:3], "443").done()
    assert edge.service("web")["on_miss"] == "pass"
    ended = edge("bind", *WEB, "--on-miss", "drop").done()
    assert "on_miss of web is drop now" in ended.out
    assert edge.service("web")["on_miss"] == "drop"


def test_what_keeps_the_rule_from_taking_effect_is_told(
    edge: Edge, two_hosts: TwoHosts, echo_server: Start
) -> None:
    ended = edge("bind", "web", "tcp", "10.9.0.0/16", "80").done()
    assert "note: service web has no socket: its packets are dropped" in ended.err
    assert "note: 10.9.0.0/16 is not local" in ended.err
    assert "ip route add local 10.9.0.0/16 dev lo" in ended.err
    edge.register("web", echo_server(two_hosts.server, "tcp", "127.0.0.1"))
    assert edge("bind", *WEB).done().err == ""
    ended = edge("bind", "web", "tcp", "2001:db8:1::/48", "80").done()
    assert ended.err == (
        "note: service web has no socket for tcp over IPv6: these packets are dropped;"
        " inet-lookup register web --pid PID\n"
    )


def test_anyip_makes_the_addresses_of_this_rule_local_and_of_no_other(edge: Edge) -> None:
    edge.bind("web tcp 10.8.0.0/16 80")
    result = edge("--json", "bind", "web", "tcp", "10.9.0.0/16", 80, "--anyip").done().json
    assert result["routes_added"] == ["10.9.0.0/16"]
    ended = edge("unbind", "web", "tcp", "10.9.0.0/16", 80).done()
    assert "10.9.0.0/16 is no longer local" in ended.out


def test_an_ambiguous_rule_is_refused_with_the_way_out(edge: Edge) -> None:
    edge.bind("web tcp 192.0.2.0/24 80 --source 203.0.113.0/24")
    ended = edge("bind", "new", *WEB[1:], "--source", "203.0.113.0/24")
    ended.failed(
        '"new tcp 192.0.2.0/24 80 from 203.0.113.0/24"',
        "are equally specific for tcp 192.0.2.0:80",
        "inet-lookup unbind web tcp 192.0.2.0/24 80 --source 203.0.113.0/24",
    )
    assert len(in_force(edge)) == 1


def test_an_interface_that_does_not_exist_is_refused(edge: Edge) -> None:
    edge("bind", *WEB, "--interface", "eth9").failed("there is no interface 'eth9'")
    assert list(edge.bpffs.glob("inet-lookup/*/dispatcher")) == []


def test_unbind_shows_the_rules_that_may_have_been_meant(edge: Edge) -> None:
    edge("unbind", *WEB).failed("no dispatcher is loaded")
    edge.bind(
        "web tcp 192.0.2.0/24 8080",
        "api tcp 192.0.2.0/24 80",
        "web tcp 192.0.2.0/25 80 --source 203.0.113.0/24",
        "web udp 198.51.100.0/24 53",
    )
    ended = edge("unbind", *WEB).failed('"web tcp 192.0.2.0/24 80" is not in force')
    shown = ended.err.splitlines()[1]
    for near in (
        '"web tcp 192.0.2.0/24 8080"',
        '"api tcp 192.0.2.0/24 80"',
        '"web tcp 192.0.2.0/25 80 --source 203.0.113.0/24"',
    ):
        assert near in shown
    assert "198.51.100.0" not in shown
    edge("unbind", "web", "tcp", "10.0.0.0/8", "1").failed("inet-lookup rules shows")
    assert len(in_force(edge)) == 4


def test_of_several_rules_to_unbind_none_goes_when_one_is_missing(edge: Edge) -> None:
    edge("bind", "web", "tcp", "192.0.2.0/24", "80,443").done()
    edge("unbind", "web", "tcp", "192.0.2.0/24", "80,444").failed('"web tcp 192.0.2.0/24 444"')
    assert len(in_force(edge)) == 2


def test_the_json_of_bind_and_unbind(edge: Edge) -> None:
    result = edge("--json", "bind", *WEB).done().json
    assert result["rules"] == [
        {"service": "web", "protocol": "tcp", "address": "192.0.2.0/24", "port": 80, "added": True}
    ]
    assert (result["generation"], result["on_miss"], result["routes_added"]) == (1, "drop", [])
    assert [each["kind"] for each in result["warnings"]] == ["no-socket"]
    assert result["namespace"]["inode"] == edge.hosts.server.inode
    result = edge("--json", "bind", *WEB).done().json
    assert result["rules"][0]["added"] is False
    result = edge("--json", "unbind", *WEB).done().json
    assert (result["generation"], len(result["rules"]), result["routes_removed"]) == (2, 1, [])


def test_load_and_unload_and_upgrade(edge: Edge) -> None:
    assert "loaded the dispatcher in" in edge("load").done().out
    assert "is loaded already" in edge("load").done().out
    edge("bind", *WEB).done()
    assert edge("--json", "upgrade").done().json["replaced"] is False
    assert in_force(edge) == ["web tcp 192.0.2.0/24 80"]
    assert "with 1 rule" in edge("unload").done().out
    assert list(edge.bpffs.glob("inet-lookup")) == []
    for command in ("unload", "upgrade", "status", "rules"):
        edge(command).failed("no dispatcher is loaded in network namespace")
