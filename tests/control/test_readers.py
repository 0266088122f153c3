"""Who may read a dispatcher, and who may change it."""

from __future__ import annotations

import os
import stat
from collections.abc import Callable
from pathlib import Path

import pytest

from inet_lookup.bpf.privileges import Capability
from inet_lookup.control import Dispatcher
from inet_lookup.net import Namespace
from inet_lookup.rules import Packet
from support.listeners import Listeners
from support.rule_texts import rule
from support.unprivileged import Outcome, run_with

pytestmark = pytest.mark.kernel

MEMBER, STRANGER = 64_001, 64_002  # ids of users and of their groups
WEB = rule("web tcp 127.0.0.0/8 80")


@pytest.fixture
def opened(bpffs: Path) -> Path:
    """The BPF file system, open for all to pass through."""
    bpffs.chmod(0o711)
    return bpffs


@pytest.fixture
def watched(
    dispatcher: Dispatcher, opened: Path, netns: Namespace, listeners: Listeners
) -> Dispatcher:
    """A dispatcher that the group of MEMBER may read."""
    Dispatcher.load(netns, bpffs=opened, group=MEMBER).close()
    listeners.add("web")
    dispatcher.bind([WEB])
    dispatcher.register("web", [listeners["web"]])
    assert listeners.reached(80) == "web"
    return dispatcher


def as_user(
    netns: Namespace, bpffs: Path, uid: int, read: Callable[[Dispatcher], object]
) -> Outcome:
    """Do something with the dispatcher as an ordinary user who is in its namespace."""

    def open_and_read() -> object:
        with Dispatcher.open(netns, bpffs=bpffs) as dispatcher:
            return read(dispatcher)

    return netns.run(run_with, open_and_read, uid=uid)


def modes(directory: Path) -> set[tuple[bool, int, int]]:
    """Kind, mode and group of all that is pinned."""
    found = set()
    for each in (directory, *directory.rglob("*")):
        status = each.stat()
        found.add((each.is_dir(), stat.S_IMODE(status.st_mode), status.st_gid))
    return found


def test_pins_are_for_the_owner_to_change_and_the_group_to_read(
    watched: Dispatcher, opened: Path
) -> None:
    root = opened / "inet-lookup"
    assert modes(root) == {(True, 0o750, MEMBER), (False, 0o640, MEMBER)}
    watched.bind([rule("web tcp 127.0.0.0/8 81")])
    assert modes(root) == {(True, 0o750, MEMBER), (False, 0o640, MEMBER)}


def test_without_a_group_they_are_for_that_of_the_process(
    dispatcher: Dispatcher, bpffs: Path
) -> None:
    mask = os.umask(0o077)
    try:
        dispatcher.bind([WEB])
    finally:
        os.umask(mask)
    gid = os.getegid()
    assert modes(bpffs / "inet-lookup") == {(True, 0o750, gid), (False, 0o640, gid)}


def test_the_group_can_be_changed_later(
    watched: Dispatcher, netns: Namespace, opened: Path
) -> None:
    Dispatcher.load(netns, bpffs=opened, group=STRANGER).close()
    assert {group for *_, group in modes(opened / "inet-lookup")} == {STRANGER}
    assert as_user(netns, opened, MEMBER, lambda each: each.ruleset).error == "PrivilegeError"


def test_a_member_of_the_group_reads_status_and_rules(
    watched: Dispatcher, netns: Namespace, opened: Path
) -> None:
    def read(dispatcher: Dispatcher) -> object:
        status = dispatcher.status()
        (web,) = status.services
        (sock,) = web.sockets
        assert sock.socket is not None
        return dispatcher.ruleset, list(dispatcher.rules()), web.lookups, sock.socket.endpoint

    (sock,) = watched.status().services[0].sockets
    assert sock.socket is not None
    found = as_user(netns, opened, MEMBER, read)
    assert found.error is None, found
    assert found.value == (watched.ruleset, [(WEB, 1)], 1, sock.socket.endpoint)


@pytest.mark.parametrize(
    "change",
    [
        lambda each: each.bind([rule("web tcp 127.0.0.0/8 81")]),
        lambda each: each.unbind([WEB]),
        lambda each: each.apply(each.ruleset),
        lambda each: each.register("web", []),
        lambda each: each.unregister("web"),
        lambda each: each.upgrade(),
        lambda each: each.unload(),
        lambda each: each.explain(Packet.parse("tcp", "127.0.0.1:80")),
    ],
    ids=["bind", "unbind", "apply", "register", "unregister", "upgrade", "unload", "explain"],
)
def test_a_member_of_the_group_changes_nothing(
    watched: Dispatcher, netns: Namespace, opened: Path, change: Callable[[Dispatcher], object]
) -> None:
    found = as_user(netns, opened, MEMBER, change)
    assert found.error == "PrivilegeError"
    assert "needs CAP_BPF and CAP_NET_ADMIN" in found.text
    assert watched.ruleset.rules == (WEB,)


def test_a_stranger_is_told_what_is_missing(
    watched: Dispatcher, netns: Namespace, opened: Path
) -> None:
    found = as_user(netns, opened, STRANGER, lambda dispatcher: dispatcher.status())
    assert found.error == "PrivilegeError"
    assert found.hint


def test_a_stranger_cannot_load_one(netns: Namespace, opened: Path) -> None:
    def load() -> None:
        Dispatcher.load(netns, bpffs=opened)

    found = netns.run(run_with, load, uid=STRANGER)
    assert found.error == "PrivilegeError"
    assert "needs CAP_BPF and CAP_NET_ADMIN" in found.text
    assert not (opened / "inet-lookup").exists()


def test_cap_bpf_and_cap_net_admin_are_enough_to_change_rules(
    dispatcher: Dispatcher, netns: Namespace, bpffs: Path
) -> None:
    """In the namespace of the process; entering another one takes CAP_SYS_ADMIN."""

    def change() -> object:
        with Dispatcher.open(netns, bpffs=bpffs, must_exist=False) as opened:
            opened.bind([WEB])
            return opened.bind([rule("web tcp 127.0.0.0/8 81")]).generation

    capabilities = (Capability.CAP_BPF, Capability.CAP_NET_ADMIN)
    found = netns.run(run_with, change, capabilities)
    assert (found.error, found.value) == (None, 2), found
    assert len(dispatcher.ruleset.rules) == 2
