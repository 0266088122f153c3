"""A pinned link steers on with no process of ours, and can be taken up again."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path

import pytest

from inet_lookup import DROP, PASS, Context, SockArray, Verdict, attach, load, program, query
from inet_lookup.bpf import NetnsLink
from inet_lookup.errors import BpffsError, KernelError
from support.downloads import download, download_server
from support.networks import TwoHosts
from support.servers import EchoServer, Start, who_answers
from support.taking import Take

pytestmark = pytest.mark.kernel

SCRIPT = Path(__file__).with_name("steer_and_leave.py")
ADDRESSES = ["192.0.2.1", "2001:db8:1::1"]

servers = SockArray(max_entries=1)


@program
def steer(ctx: Context) -> Verdict:
    return servers.redirect(ctx, 0) if ctx.local_port == 80 else PASS


@program
def drop_web(ctx: Context) -> Verdict:
    return DROP if ctx.local_port == 80 else PASS


def steer_and_leave(hosts: TwoHosts, server: EchoServer, pin: Path) -> None:
    """Attach and pin in another process, and wait until it has ended."""
    selector = f"{server.pid}/tcp/[::]:{server.port}"
    with hosts.server.popen(
        [sys.executable, str(SCRIPT), selector, str(pin)], stderr=subprocess.PIPE, text=True
    ) as process:
        _, errors = process.communicate(timeout=30)
    assert (process.returncode, errors) == (0, "")


@pytest.fixture
def left_steering(
    two_hosts: TwoHosts, echo_server: Start, bpffs: Path
) -> tuple[TwoHosts, EchoServer, Path]:
    server = echo_server(two_hosts.server, "tcp", "::", 8080, v6only=False, name="steered")
    steer_and_leave(two_hosts, server, bpffs / "web")
    return two_hosts, server, bpffs / "web"


def test_steering_goes_on_when_the_attaching_process_has_ended(
    left_steering: tuple[TwoHosts, EchoServer, Path],
) -> None:
    hosts, server, pin = left_steering
    assert [each.name for each in query(hosts.server)] == ["left_behind"]
    for address in ADDRESSES:
        assert who_answers(hosts.client, "tcp", address, 80) == "steered"
    # Nothing but the server itself holds its socket: with it the slot empties.
    server.kill()
    assert who_answers(hosts.client, "tcp", ADDRESSES[0], 80) == "refused"
    pin.unlink()


def test_removing_the_pin_ends_the_steering(
    left_steering: tuple[TwoHosts, EchoServer, Path],
) -> None:
    hosts, _, pin = left_steering
    pin.unlink()
    # The kernel detaches a link some time after its last pin has gone.
    deadline = time.monotonic() + 10
    while query(hosts.server) and time.monotonic() < deadline:
        time.sleep(0.01)
    assert query(hosts.server) == []
    assert who_answers(hosts.client, "tcp", ADDRESSES[0], 80) == "refused"


def test_a_link_opened_by_its_pin_replaces_and_detaches(
    left_steering: tuple[TwoHosts, EchoServer, Path],
) -> None:
    hosts, _, pin = left_steering
    with NetnsLink.open_pinned(pin) as link, load(drop_web) as dropping:
        assert link.info().netns_ino == hosts.server.inode
        assert [link.info().program_id] == [each.id for each in query(hosts.server)]
        assert who_answers(hosts.client, "tcp", ADDRESSES[0], 80) == "steered"
        link.update(dropping.program)
        assert [each.name for each in query(hosts.server)] == ["drop_web"]
        assert who_answers(hosts.client, "tcp", ADDRESSES[0], 80) == "refused"
        link.detach()
        assert not link.info().attached
    assert query(hosts.server) == []
    pin.unlink()


def test_a_pinned_link_goes_on_after_it_was_closed_and_ends_when_detached(
    two_hosts: TwoHosts, echo_server: Start, take: Take, bpffs: Path
) -> None:
    servers[0] = take(echo_server(two_hosts.server, "tcp", "127.0.0.1", name="steered"))
    link = attach(steer, two_hosts.server)
    with link:
        link.pin(bpffs / "web")
    assert who_answers(two_hosts.client, "tcp", ADDRESSES[0], 80) == "steered"
    (bpffs / "web").unlink()
    assert who_answers(two_hosts.client, "tcp", ADDRESSES[0], 80) == "refused"

    link = attach(steer, two_hosts.server)
    link.pin(bpffs / "web")
    link.detach()
    assert link.closed
    assert who_answers(two_hosts.client, "tcp", ADDRESSES[0], 80) == "refused"
    with NetnsLink.open_pinned(bpffs / "web") as shell:
        assert not shell.info().attached
    (bpffs / "web").unlink()


def test_a_download_goes_on_when_the_pin_that_steered_it_is_removed(
    two_hosts: TwoHosts, bpffs: Path
) -> None:
    with download_server(two_hosts.server, "127.0.0.1") as source:
        with source.take() as servers[0], attach(steer, two_hosts.server) as link:
            link.pin(bpffs / "web")
        with download(two_hosts.client, ADDRESSES[0], 80) as numbers:
            numbers.read(20_000)
            with NetnsLink.open_pinned(bpffs / "web") as pinned:
                pinned.detach()
            (bpffs / "web").unlink()
            assert who_answers(two_hosts.client, "tcp", ADDRESSES[0], 80) == "refused"
            numbers.read(200_000)


def test_a_pin_that_cannot_be_made_leaves_the_program_attached(
    two_hosts: TwoHosts, bpffs: Path, tmp_path: Path
) -> None:
    with attach(drop_web, two_hosts.server) as link:
        with pytest.raises(BpffsError):
            link.pin(tmp_path / "web")
        link.pin(bpffs / "web")
        with pytest.raises(KernelError, match="EEXIST"):
            link.pin(bpffs / "web")
        assert link.info().attached
        # A link goes some time after its last pin; detaching does not wait.
        link.detach()
    (bpffs / "web").unlink()
    assert query(two_hosts.server) == []
