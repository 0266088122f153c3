"""``status`` and ``rules``: what is in force, whose it is, what came to it, what is amiss."""

from __future__ import annotations

import json
import time

import pytest

from support.edge import Edge
from support.networks import SERVER_V4, TwoHosts, ip
from support.servers import Start, ask, who_answers

pytestmark = pytest.mark.kernel


@pytest.fixture
def busy(edge: Edge, two_hosts: TwoHosts, echo_server: Start) -> Edge:
    """A namespace in which everything that is counted was counted."""
    edge.bind(
        "web tcp 192.0.2.0/24 80",
        "web tcp 2001:db8:1::/48 80",
        "dns udp 192.0.2.0/24 53 --on-miss pass",
        "drop tcp 192.0.2.9 80",
    )
    web = echo_server(two_hosts.server, "tcp", "127.0.0.1", 8080, sockets=2, name="web")
    edge.register("web", web)
    for _ in range(3):
        ask(two_hosts.client, "tcp", "192.0.2.1", 80)
    for address in ("192.0.2.9", "2001:db8:1::1"):
        assert who_answers(two_hosts.client, "tcp", address, 80) == "refused"
    return edge


def test_services_are_shown_with_sockets_processes_and_counters(busy: Edge) -> None:
    out = busy("status").done().out
    lines = [line.split() for line in out.splitlines()]
    assert ["web", "drop", "2", "4", "1", "0"] in lines
    assert ["dns", "pass", "1", "0", "0", "0"] in lines
    assert out.count("  tcp 127.0.0.1:8080  cookie ") == 2
    assert "4 rules, 5 look-ups decided" in out
    assert "generation 4" in out


def test_the_json_of_status(busy: Edge, two_hosts: TwoHosts) -> None:
    found = busy.status()
    assert set(found) == {
        "namespace",
        "path",
        "version",
        "generation",
        "program_id",
        "loaded_at",
        "changed_at",
        "rules",
        "lookups",
        "services",
        "interfaces",
        "routes",
        "warnings",
    }
    assert found["namespace"]["inode"] == two_hosts.server.inode
    assert (found["rules"], found["lookups"]) == (4, 5)
    assert 0 <= time.time() - found["changed_at"] <= time.time() - found["loaded_at"] < 60
    dns, web = found["services"]
    assert (dns["name"], dns["on_miss"], dns["sockets"]) == ("dns", "pass", [])
    assert (web["lookups"], web["misses"], web["errors"], web["rules"]) == (4, 1, 0, 2)
    first, second = web["sockets"]
    assert (first["protocol"], first["family"], first["address"], first["port"]) == (
        "tcp",
        "IPv4",
        "127.0.0.1",
        8080,
    )
    assert first["cookie"] != second["cookie"]
    assert first["processes"] == second["processes"] != []


def test_rules_stand_in_the_order_of_precedence_with_their_counters(busy: Edge) -> None:
    assert busy("rules").done().out.splitlines() == [
        "    look-ups  rule",
        "           1  drop tcp 192.0.2.9 80",
        "           3  web tcp 192.0.2.0/24 80",
        "           1  web tcp 2001:db8:1::/48 80",
        "           0  dns udp 192.0.2.0/24 53",
    ]
    found = busy("--json", "rules").done().json
    assert list(found) == ["rules"]
    assert found["rules"][0] == {
        "action": "drop",
        "protocol": "tcp",
        "address": "192.0.2.9",
        "port": 80,
        "lookups": 1,
    }


def test_no_rules_are_one_json_object_too(edge: Edge) -> None:
    edge("load").done()
    assert json.loads(edge("rules", "--json").done().out) == {"rules": []}
    assert "no services" in edge("status").done().out


def test_warnings_name_what_is_amiss_with_its_mend(
    edge: Edge, two_hosts: TwoHosts, echo_server: Start
) -> None:
    ip(two_hosts.server, "link add tap0 type veth peer name tap1")
    edge.bind("web tcp 10.9.0.0/16 80", "web tcp 192.0.2.0/24 80 --interface tap0")
    assert {each["kind"] for each in edge.status()["warnings"]} == {"no-socket", "not-local"}
    ip(two_hosts.server, "route add local 10.9.0.0/16 dev lo")
    edge.register("web", echo_server(two_hosts.server, "tcp", "127.0.0.1"))
    assert edge.status()["warnings"] == []
    ip(two_hosts.server, "link del tap0")
    (warning,) = edge.status()["warnings"]
    assert (warning["kind"], warning["subject"]) == ("no-interface", "tap0")
    assert "there is no interface tap0" in warning["message"]
    ip(two_hosts.server, "link add tap0 type veth peer name tap1")
    (warning,) = edge.status()["warnings"]
    assert "was made anew" in warning["message"]
    edge(*warning["mend"].split()[1:]).done()
    assert edge.status()["warnings"] == []


def test_of_many_warnings_a_few_are_shown_and_all_are_in_the_json(edge: Edge) -> None:
    edge("bind", "web", "tcp", SERVER_V4, 80).done()
    for n in range(8):
        edge("bind", "web", "tcp", f"10.{n}.0.0/16", 80).done()
    out = edge("status").done().out
    assert out.count("is not local") == 5
    assert "and 3 more like this" in out
    assert len([each for each in edge.status()["warnings"] if each["kind"] == "not-local"]) == 8


def test_a_service_that_no_ruleset_names_any_more_shows_the_sockets_it_holds(
    edge: Edge, two_hosts: TwoHosts, echo_server: Start, tmp_path: object
) -> None:
    edge.bind("web tcp 192.0.2.0/24 80")
    edge.register("web", echo_server(two_hosts.server, "tcp", "127.0.0.1"))
    edge("apply", "--yes", "/dev/null", "--format", "toml").done()
    held = edge.service("web")
    assert (held["on_miss"], held["rules"], len(held["sockets"])) == (None, 0, 1)
    edge.bind("web tcp 192.0.2.0/24 80")
    assert who_answers(two_hosts.client, "tcp", "192.0.2.1", 80) == "server"
