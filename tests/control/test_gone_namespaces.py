"""What a namespace that has gone leaves does not confuse the one that comes after it."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

import pytest

from inet_lookup.bpf import NetnsLink
from inet_lookup.control import Dispatcher, PinnedPrograms
from inet_lookup.errors import DispatcherMissingError
from inet_lookup.net import Namespace
from inet_lookup.rules import Ruleset
from support.rule_texts import rule

pytestmark = pytest.mark.kernel

RULES = (rule("web tcp 192.0.2.0/24 80"), rule("drop tcp 127.0.0.0/8 81"))
SECONDS = 20.0


def leave_one_behind(bpffs: Path) -> int:
    """Load a dispatcher in a namespace that goes; return the namespace's inode number."""
    with Namespace.create() as namespace:
        inode = namespace.inode
        with Dispatcher.open(namespace, bpffs=bpffs, must_exist=False) as dispatcher:
            dispatcher.bind(RULES, anyip=True)
    return inode


def eventually(happens: Callable[[], bool]) -> None:
    """The kernel frees a namespace a little after its last user has gone."""
    deadline = time.monotonic() + SECONDS
    while not happens():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def test_its_successor_of_the_same_number_begins_with_nothing(
    netns: Namespace, bpffs: Path
) -> None:
    """The kernel uses numbers again, but not when a test wants it: what was left is moved."""
    inode = leave_one_behind(bpffs)
    left = bpffs / "inet-lookup" / str(inode)

    def has_gone() -> bool:
        with NetnsLink.open_pinned(left / "dispatcher" / "link") as link:
            return not link.info().attached

    eventually(has_gone)
    left.rename(bpffs / "inet-lookup" / str(netns.inode))
    with pytest.raises(DispatcherMissingError):
        Dispatcher.open(netns, bpffs=bpffs)
    with Dispatcher.open(netns, bpffs=bpffs, must_exist=False) as dispatcher:
        assert dispatcher.ruleset == Ruleset()
        change = dispatcher.bind([RULES[1]])
        assert (change.before, change.generation) == (Ruleset(), 1)
        assert dispatcher.status().routes == ()
        dispatcher.unload()
    assert not (bpffs / "inet-lookup").exists()


def test_whoever_changes_something_elsewhere_removes_what_it_left(
    dispatcher: Dispatcher, bpffs: Path
) -> None:
    inode = leave_one_behind(bpffs)
    left = bpffs / "inet-lookup" / str(inode)

    def is_removed() -> bool:
        with Dispatcher.load(dispatcher.namespace, bpffs=bpffs):
            return not left.exists()

    eventually(is_removed)
    assert dispatcher.ruleset == Ruleset()


def test_so_does_who_changes_programs(netns: Namespace, bpffs: Path) -> None:
    inode = leave_one_behind(bpffs)

    def is_removed() -> bool:
        with PinnedPrograms(netns, bpffs=bpffs)._store.writing():
            return not (bpffs / "inet-lookup" / str(inode)).exists()

    eventually(is_removed)
    assert not (bpffs / "inet-lookup").exists()


def test_one_that_is_alive_is_left_alone(netns: Namespace, bpffs: Path) -> None:
    with (
        Namespace.create() as other,
        Dispatcher.load(other, bpffs=bpffs) as theirs,
        Dispatcher.load(netns, bpffs=bpffs) as ours,
    ):
        theirs.bind(RULES)
        ours.bind(RULES[:1])
        ours.unload()
        assert theirs.ruleset == Ruleset(RULES)
        theirs.unload()


def test_a_dispatcher_that_was_detached_by_others_is_none(
    dispatcher: Dispatcher, netns: Namespace
) -> None:
    dispatcher.bind(RULES)
    with dispatcher._pins.open_link() as link:
        link.detach()
    assert not dispatcher.loaded
    with pytest.raises(DispatcherMissingError):
        dispatcher.status()
    assert dispatcher.bind(RULES[:1]).generation == 1
    assert dispatcher.ruleset == Ruleset(RULES[:1])
