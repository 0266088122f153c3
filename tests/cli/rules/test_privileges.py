"""Who may do what: ordinary users are told what they lack, the group of the pins may read."""

from __future__ import annotations

from pathlib import Path

import pytest

from support.command import WITHOUT_PRIVILEGES, Ended, inet_lookup
from support.edge import Edge
from support.networks import TwoHosts
from support.servers import Start

pytestmark = pytest.mark.kernel

USER = 61001
GROUP = 61002


def as_user(*capabilities: str, groups: str = "--clear-groups") -> tuple[str, ...]:
    """A command that runs another one as an ordinary user, with some capabilities."""
    kept = ",".join(["-all", *(f"+{each}" for each in capabilities)])
    return (
        "setpriv",
        f"--reuid={USER}",
        f"--regid={USER}",
        groups,
        f"--inh-caps={kept}",
        f"--ambient-caps={kept}",
        f"--bounding-set={kept}",
    )


@pytest.fixture
def server(edge: Edge, two_hosts: TwoHosts, echo_server: Start) -> Edge:
    edge.bind("web tcp 192.0.2.0/24 80")
    edge.register("web", echo_server(two_hosts.server, "tcp", "127.0.0.1", 8080))
    return edge


def inside(edge: Edge, *arguments: object, prefix: tuple[str, ...]) -> Ended:
    """Run the command in the server's namespace, which an ordinary user cannot enter."""
    place = ("--bpffs", edge.bpffs)
    return inet_lookup(*place, *arguments, prefix=prefix, inside=edge.hosts.server)


CHANGES = [
    ["bind", "web", "tcp", "192.0.2.0/24", "443"],
    ["unbind", "web", "tcp", "192.0.2.0/24", "80"],
    ["apply", "/dev/null", "--format", "toml", "--yes"],
    ["load"],
    ["unload"],
    ["upgrade"],
    ["unregister", "web"],
]


@pytest.mark.parametrize("arguments", [*CHANGES, ["explain", "tcp", "192.0.2.1:80"]], ids=" ".join)
def test_without_privileges_it_says_which_are_needed(server: Edge, arguments: list[str]) -> None:
    before = server.status()
    ended = inside(server, *arguments, prefix=WITHOUT_PRIVILEGES)
    ended.failed("CAP_BPF and CAP_NET_ADMIN", "hint: run it as root")
    assert server.status() == before


@pytest.mark.parametrize("arguments", [["status"], ["rules"], *CHANGES[:3]], ids=" ".join)
def test_an_ordinary_user_is_told_what_is_needed_and_sees_no_traceback(
    server: Edge, arguments: list[str]
) -> None:
    for mode in (0o700, 0o755):
        server.bpffs.chmod(mode)
        ended = inside(server, *arguments, prefix=as_user())
        ended.failed("it needs CAP_BPF and CAP_NET_ADMIN", "hint: run it as root")


def test_registering_needs_a_look_into_the_process(
    server: Edge, two_hosts: TwoHosts, echo_server: Start
) -> None:
    server.bpffs.chmod(0o755)
    mine = echo_server(two_hosts.server, "tcp", "127.0.0.1", 9090)
    ended = inside(server, "register", "web", "--pid", mine.pid, prefix=WITHOUT_PRIVILEGES)
    ended.failed("CAP_")


def test_a_member_of_the_group_reads_status_and_rules_and_changes_nothing(
    server: Edge, tmp_path: Path
) -> None:
    server("load", "--group", GROUP).done()
    server.bpffs.chmod(0o755)
    member = as_user("bpf", groups=f"--groups={GROUP}")
    assert "web" in inside(server, "status", prefix=member).done().out
    assert "web tcp 192.0.2.0/24 80" in inside(server, "rules", prefix=member).done().out
    found = inside(server, "status", "--json", prefix=member).done().json
    assert found["services"][0]["sockets"][0]["port"] == 8080
    before = server.status()
    for arguments in CHANGES:
        inside(server, *arguments, prefix=member).failed("CAP_NET_ADMIN")
    assert server.status() == before
    # Who is not in the group has no way to it.
    ended = inside(server, "status", prefix=as_user("bpf"))
    ended.failed("or CAP_BPF as a member of their group", "load --group NAME")


def test_a_group_is_named_or_numbered(server: Edge) -> None:
    (home,) = server.bpffs.glob("inet-lookup/*/dispatcher")
    server("load", "--group", "daemon").done()
    assert home.group() == "daemon"
    server("load", "--group", GROUP).done()
    assert home.stat().st_gid == GROUP
    server("load").done()
    assert home.stat().st_gid == GROUP
