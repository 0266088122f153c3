"""Writers at the same time: each one's rules land, and none's are lost."""

from __future__ import annotations

import multiprocessing
from pathlib import Path

import pytest

from inet_lookup.control import Dispatcher
from inet_lookup.control.directory_lock import DirectoryLock
from inet_lookup.errors import InetLookupError
from inet_lookup.net import Namespace
from inet_lookup.rules import Ruleset
from support.rule_texts import rule

pytestmark = pytest.mark.kernel

WRITERS = 16
RULES_EACH = 3

# Like a command each: a process that opens the dispatcher by itself. What was imported here is
# there, so that they truly come at once.
_processes = multiprocessing.get_context("fork")


def rules_of(writer: int) -> list[str]:
    return [f"s{writer} tcp 10.0.{writer}.{number} 80" for number in range(RULES_EACH)]


def bind_one_after_the_other(netns: Namespace, bpffs: Path, writer: int) -> None:
    for text in rules_of(writer):
        with Dispatcher.open(netns, bpffs=bpffs, must_exist=False) as dispatcher:
            dispatcher.bind([rule(text)])


def test_sixteen_processes_that_bind_at_once_lose_no_rule(
    dispatcher: Dispatcher, netns: Namespace, bpffs: Path
) -> None:
    """The first of them loads the dispatcher."""
    writers = [
        _processes.Process(target=bind_one_after_the_other, args=(netns, bpffs, writer))
        for writer in range(WRITERS)
    ]
    for each in writers:
        each.start()
    for each in writers:
        each.join()
    assert [each.exitcode for each in writers] == [0] * WRITERS
    for each in writers:
        each.close()
    every = [rule(text) for writer in range(WRITERS) for text in rules_of(writer)]
    assert dispatcher.ruleset == Ruleset(every)
    assert dispatcher.status().generation == len(every)


def test_a_writer_that_never_ends_is_named(
    dispatcher: Dispatcher, monkeypatch: pytest.MonkeyPatch
) -> None:
    from inet_lookup.control import dispatcher as module

    monkeypatch.setattr(module, "PATIENCE_SECONDS", 0.1)
    before = dispatcher.bind([rule("web tcp 127.0.0.0/8 80")]).after
    with (
        DirectoryLock(str(Path(dispatcher.path).parent)),
        pytest.raises(InetLookupError, match="is locked by process"),
    ):
        dispatcher.bind([rule("web tcp 127.0.0.0/8 81")])
    assert dispatcher.ruleset == before


def test_readers_need_no_lock(dispatcher: Dispatcher) -> None:
    ruleset = dispatcher.bind([rule("web tcp 127.0.0.0/8 80")]).after
    with DirectoryLock(str(Path(dispatcher.path).parent)):
        assert dispatcher.status().rules == 1
        assert dispatcher.plan(ruleset).moves == ()
