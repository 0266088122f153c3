"""One writer at a time."""

from __future__ import annotations

import multiprocessing
import os
import threading
import time
from pathlib import Path

import pytest

from inet_lookup.control.directory_lock import DirectoryLock
from inet_lookup.errors import InetLookupError


def test_a_second_writer_waits_until_the_first_is_done(tmp_path: Path) -> None:
    first = DirectoryLock(str(tmp_path))
    threading.Timer(0.2, first.close).start()
    started = time.monotonic()
    with DirectoryLock(str(tmp_path), patience=10):
        assert 0.1 < time.monotonic() - started < 5
    assert first.closed


def test_who_holds_the_lock_is_named_when_patience_ends(tmp_path: Path) -> None:
    with (
        DirectoryLock(str(tmp_path)),
        pytest.raises(InetLookupError, match=f"is locked by process {os.getpid()}"),
    ):
        DirectoryLock(str(tmp_path), patience=0)


def test_the_lock_ends_with_its_process(tmp_path: Path) -> None:
    def hold() -> None:
        DirectoryLock(str(tmp_path))
        os._exit(0)

    process = multiprocessing.get_context("fork").Process(target=hold)
    process.start()
    process.join()
    process.close()
    DirectoryLock(str(tmp_path), patience=0).close()


def test_a_directory_that_was_removed_meanwhile_is_not_locked(tmp_path: Path) -> None:
    directory = tmp_path / "state"
    directory.mkdir()
    first = DirectoryLock(str(directory))

    def replace_and_release() -> None:
        directory.rmdir()
        directory.mkdir()
        first.close()

    threading.Timer(0.1, replace_and_release).start()
    with pytest.raises(FileNotFoundError):
        DirectoryLock(str(directory), patience=10)
    DirectoryLock(str(directory), patience=0).close()


def test_a_directory_that_does_not_exist_is_not_locked(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        DirectoryLock(str(tmp_path / "missing"))
