"""``inet-lookup prog list``: what runs, in order, with its sockets and processes."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from inet_lookup.bpf import AttachType, NetnsLink, Program, ProgramType, enable_stats
from inet_lookup.net.namespaces import Namespace
from support import steering_files
from support.command import Ended, inet_lookup, path_of
from support.networks import TwoHosts
from support.servers import EchoServer, ask

pytestmark = pytest.mark.kernel

Start = Callable[..., EchoServer]
Command = Callable[..., Ended]

PASS = bytes.fromhex("b700000001000000" + "9500000000000000")


@contextlib.contextmanager
def foreign_program(namespace: Namespace, name: str = "foreign") -> Iterator[Program]:
    """A program that something else attached."""
    with (
        Program.load(
            ProgramType.SK_LOOKUP, PASS, expected_attach_type=AttachType.SK_LOOKUP, name=name
        ) as program,
        NetnsLink.create(program, namespace.fileno(), AttachType.SK_LOOKUP),
    ):
        yield program


def test_an_empty_namespace(two_hosts: TwoHosts, at_server: Command) -> None:
    assert "no program is attached to" in at_server("prog", "list").done().out
    result = at_server("--json", "prog", "list").done().json
    assert result["programs"] == result["stale"] == []
    assert result["namespace"]["inode"] == two_hosts.server.inode


def test_sockets_are_shown_with_their_addresses_and_processes(
    two_hosts: TwoHosts, echo_server: Start, at_server: Command, example: Path
) -> None:
    nginx = echo_server(two_hosts.server, "tcp", "127.0.0.1", 8080)
    apache = echo_server(two_hosts.server, "tcp", "::", 8081)
    at_server(
        *("prog", "attach", example),
        *("--socket", f"servers[0]={nginx.pid}/tcp/127.0.0.1:8080"),
        *("--socket", f"servers[1]={apache.pid}/tcp/[::]:8081"),
    ).done()
    (program,) = at_server("--json", "prog", "list").done().json["programs"]
    assert program["pin"] == "two_http_servers"
    assert program["name"] == "two_http_server"  # the kernel keeps 15 characters
    assert program["position"] == 0
    assert program["instructions"] > 10
    assert 0 <= program["age_seconds"] < 60
    (servers,) = program["maps"]
    assert (servers["name"], servers["type"], servers["max_entries"]) == ("servers", "sockmap", 2)
    first, second = servers["slots"]
    assert (first["slot"], first["address"], first["port"]) == (0, "127.0.0.1", 8080)
    assert (second["slot"], second["address"], second["port"]) == (1, "::", 8081)
    assert [each["pid"] for each in first["processes"]] == [nginx.pid]
    assert [each["pid"] for each in second["processes"]] == [apache.pid]
    text = at_server("prog", "list").done().out
    assert f"({nginx.pid})" in text
    assert "tcp [::]:8081" in text
    assert f"cookie {first['cookie']}" in text


def test_a_slot_empties_when_its_server_ends(
    two_hosts: TwoHosts, echo_server: Start, at_server: Command, example: Path
) -> None:
    server = echo_server(two_hosts.server, "tcp", "127.0.0.1", 8080)
    selector = f"servers[0]={server.pid}/tcp/127.0.0.1:8080"
    at_server("prog", "attach", example, "--socket", selector).done()
    server.kill()
    (program,) = at_server("--json", "prog", "list").done().json["programs"]
    assert program["maps"][0]["slots"] == []
    assert "0 of 2 slots hold a socket" in at_server("prog", "list").done().out


def test_programs_of_others_are_listed_in_their_place(
    two_hosts: TwoHosts, at_server: Command, example: Path
) -> None:
    with foreign_program(two_hosts.server, "one") as one:
        at_server("prog", "attach", example).done()
        with foreign_program(two_hosts.server, "two") as two:
            listed = at_server("--json", "prog", "list").done().json["programs"]
    assert [each["pin"] for each in listed] == [None, "two_http_servers", None]
    assert [each["name"] for each in listed] == ["one", "two_http_server", "two"]
    assert (listed[0]["id"], listed[2]["id"]) == (one.id, two.id)
    assert [each["position"] for each in listed] == [0, 1, 2]


def test_without_a_bpffs_programs_of_others_are_listed_all_the_same(netns: Namespace) -> None:
    with foreign_program(netns) as program:
        listed = inet_lookup("--netns", path_of(netns), "--json", "prog", "list").done().json
    assert [each["id"] for each in listed["programs"]] == [program.id]


def test_runs_are_counted_where_the_kernel_counts_them(
    two_hosts: TwoHosts, echo_server: Start, at_server: Command, tmp_path: Path
) -> None:
    server = echo_server(two_hosts.server, "tcp", "127.0.0.1", 8080)
    selector = f"servers[0]={server.pid}/tcp/127.0.0.1:8080"
    path = steering_files.steer(tmp_path)
    at_server("prog", "attach", path, "--socket", selector).done()
    with enable_stats():
        for _ in range(5):
            ask(two_hosts.client, "tcp", "192.0.2.1", 80)
        (program,) = at_server("--json", "prog", "list").done().json["programs"]
    assert program["runs"] >= 5
    assert 0 < program["mean_ns"] < 1_000_000


def test_it_says_how_to_have_runs_counted(
    two_hosts: TwoHosts, at_server: Command, example: Path
) -> None:
    if Path("/proc/sys/kernel/bpf_stats_enabled").read_text().strip() != "0":
        pytest.skip("kernel.bpf_stats_enabled is on here")
    at_server("prog", "attach", example).done()
    ended = at_server("prog", "list").done()
    assert "sysctl kernel.bpf_stats_enabled=1" in ended.err
    assert ended.out.splitlines()[1].endswith("-        -")


def test_without_sys_admin_programs_of_others_have_their_ids_alone(
    two_hosts: TwoHosts, bpffs: Path, at_server: Command, example: Path
) -> None:
    at_server("prog", "attach", example).done()
    some = ("setpriv", "--inh-caps=-all", "--bounding-set=-all,+bpf,+net_admin")
    with foreign_program(two_hosts.server) as foreign:
        ended = inet_lookup(
            "--bpffs", bpffs, "--json", "prog", "list", prefix=some, inside=two_hosts.server
        )
    ours, other = ended.done().json["programs"]
    assert ours["pin"] == "two_http_servers"
    assert ours["instructions"] > 10
    assert (other["id"], other["name"], other["maps"]) == (foreign.id, None, [])


def test_a_detached_program_is_shown_as_stale_until_the_next_change(
    two_hosts: TwoHosts, bpffs: Path, at_server: Command, example: Path
) -> None:
    at_server("prog", "attach", example).done()
    home = bpffs / "inet-lookup" / str(two_hosts.server.inode) / "programs" / "two_http_servers"
    with NetnsLink.open_pinned(home / "link") as link:
        link.detach()
    ended = at_server("prog", "list").done()
    assert "no program is attached" in ended.out
    assert "the pins of 'two_http_servers' are stale" in ended.err
    (stale,) = at_server("--json", "prog", "list").done().json["stale"]
    assert stale["name"] == "two_http_servers"
    again = at_server("prog", "attach", example).done()
    assert "note: removed the pins of 'two_http_servers'" in again.err
    assert at_server("--json", "prog", "list").done().json["stale"] == []
