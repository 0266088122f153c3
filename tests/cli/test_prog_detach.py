"""``inet-lookup prog detach``: nothing is left of an attach."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from inet_lookup.bpf import NetnsLink
from inet_lookup.net.namespaces import Namespace
from support import steering_files
from support.command import Ended, inet_lookup, path_of
from support.networks import TwoHosts
from support.servers import EchoServer, ask

from .conftest import attached, pins

pytestmark = pytest.mark.kernel

Start = Callable[..., EchoServer]
Command = Callable[..., Ended]
Check = Callable[[], None]


def test_the_regular_lookup_is_back_and_no_pin_is_left(
    two_hosts: TwoHosts,
    echo_server: Start,
    at_server: Command,
    untouched: Check,
    tmp_path: Path,
) -> None:
    echo_server(two_hosts.server, "tcp", "0.0.0.0", 80, name="regular")
    server = echo_server(two_hosts.server, "tcp", "127.0.0.1", 8080, name="steered")
    selector = f"servers[0]={server.pid}/tcp/127.0.0.1:8080"
    path = steering_files.steer(tmp_path)
    result = at_server("--json", "prog", "attach", path, "--socket", selector).done().json
    assert ask(two_hosts.client, "tcp", "192.0.2.1", 80).server == "steered"
    detached = at_server("--json", "prog", "detach", "steer").done().json
    assert detached["name"] == "steer"
    assert detached["program_id"] == result["program"]["id"]
    assert ask(two_hosts.client, "tcp", "192.0.2.1", 80).server == "regular"
    untouched()


def test_only_the_one_that_is_named_is_detached(
    two_hosts: TwoHosts, at_server: Command, example: Path
) -> None:
    at_server("prog", "attach", example, "--name", "one").done()
    two = at_server("--json", "prog", "attach", example, "--name", "two").done().json
    at_server("prog", "detach", "one").done()
    assert attached(two_hosts.server) == [two["program"]["id"]]
    at_server("prog", "detach", "one").failed("no program is attached as 'one'", "attached are two")
    at_server("prog", "detach", "tow").failed("did you mean 'two'?")


def test_it_is_detached_for_others_who_hold_the_link(
    two_hosts: TwoHosts, bpffs: Path, at_server: Command, untouched: Check, example: Path
) -> None:
    at_server("prog", "attach", example).done()
    home = bpffs / "inet-lookup" / str(two_hosts.server.inode) / "programs" / "two_http_servers"
    with NetnsLink.open_pinned(home / "link") as held:
        at_server("prog", "detach", "two_http_servers").done()
        assert not held.info().attached
        untouched()


def test_a_stale_program_can_be_detached(
    two_hosts: TwoHosts, bpffs: Path, at_server: Command, untouched: Check, example: Path
) -> None:
    at_server("prog", "attach", example).done()
    home = bpffs / "inet-lookup" / str(two_hosts.server.inode) / "programs" / "two_http_servers"
    with NetnsLink.open_pinned(home / "link") as link:
        link.detach()
    ended = at_server("prog", "detach", "two_http_servers").done()
    assert "did not run any more" in ended.out
    untouched()


def test_a_name_that_was_never_attached_makes_no_directories(netns: Namespace, bpffs: Path) -> None:
    place = ("--netns", path_of(netns), "--bpffs", bpffs)
    inet_lookup(*place, "prog", "detach", "steer").failed(
        "no program is attached as 'steer'", "hint: no program is pinned there"
    )
    assert pins(bpffs) == []


def test_programs_of_two_namespaces_do_not_mix(
    netns: Namespace, two_hosts: TwoHosts, bpffs: Path, at_server: Command, example: Path
) -> None:
    at_server("prog", "attach", example).done()
    place = ("--netns", path_of(netns), "--bpffs", bpffs)
    inet_lookup(*place, "prog", "attach", example).done()
    inet_lookup(*place, "prog", "detach", "two_http_servers").done()
    assert attached(netns) == []
    assert len(attached(two_hosts.server)) == 1
