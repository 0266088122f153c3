"""However the demo ends, nothing is left: no process, namespace, program, link, mount or file.

Pins and mounts, and children that this process adopted, are watched for by the fixture of all
tests; see ``support.leaks``.
"""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from support.demo_runs import Footprint, adopting_orphans, environment, read_until, running

pytestmark = pytest.mark.kernel

BACKGROUND_SECONDS = 2.0
"""For what the kernel frees after the process has ended."""

MOMENTS = [
    # Up to which line, and how many seconds longer: while the network is made, while the servers
    # start, when both are up, between the rounds of requests, with the program attached.
    ("Two web servers", 0.0),
    ("Two web servers", 0.15),
    ("Set up", 0.0),
    ("Before the program", 0.0),
    ("The program: ", 0.05),
]


@pytest.fixture(autouse=True)
def orphans_are_noticed() -> Iterator[None]:
    with adopting_orphans():
        yield


@pytest.fixture
def temporary(tmp_path: Path) -> Iterator[Path]:
    """The directory for the demo's temporary files, which is as empty afterwards."""
    directory = tmp_path / "temporary"
    directory.mkdir()
    shared = set(os.listdir("/dev/shm"))
    yield directory
    assert list(directory.iterdir()) == []
    assert not {"nginx", "apache"} & (set(os.listdir("/dev/shm")) - shared)


@pytest.mark.parametrize(
    ("signum", "status", "line", "seconds"),
    [
        *((signal.SIGINT, 130, *moment) for moment in MOMENTS),
        *((signal.SIGTERM, 143, *moment) for moment in MOMENTS),
        (signal.SIGHUP, 129, "Set up", 0.0),
    ],
)
def test_nothing_is_left_when_a_signal_ends_it(
    temporary: Path, signum: signal.Signals, status: int, line: str, seconds: float
) -> None:
    with running(temporary) as demo:
        read_until(demo, line)
        time.sleep(seconds)
        footprint = Footprint.of(demo.pid)
        demo.send_signal(signum)
        _, errors = demo.communicate(timeout=10)
    assert (demo.returncode, errors) == (status, "")
    assert footprint.processes
    assert [each for each in footprint.remains() if each.startswith("process")] == []
    assert footprint.remains_after(BACKGROUND_SECONDS) == []


@pytest.mark.parametrize(("line", "seconds"), MOMENTS)
def test_nothing_is_left_when_it_is_killed(temporary: Path, line: str, seconds: float) -> None:
    with running(temporary) as demo:
        read_until(demo, line)
        time.sleep(seconds)
        footprint = Footprint.of(demo.pid)
        demo.kill()
        demo.wait()
        assert footprint.remains_after(BACKGROUND_SECONDS) == []


def test_nothing_is_left_when_an_impatient_user_presses_ctrl_c_again_and_again(
    temporary: Path,
) -> None:
    with running(temporary) as demo:
        read_until(demo, "Set up")
        footprint = Footprint.of(demo.pid)
        for _ in range(20):
            demo.send_signal(signal.SIGINT)
            time.sleep(0.005)
        _, errors = demo.communicate(timeout=10)
    assert "Traceback" not in errors
    assert demo.returncode in (130, -signal.SIGINT)
    assert footprint.remains_after(BACKGROUND_SECONDS) == []


def test_ctrl_c_at_a_terminal_is_for_the_demo_alone_which_ends_the_others(
    temporary: Path,
) -> None:
    with running(temporary, start_new_session=True) as demo:
        read_until(demo, "Set up")
        demo.send_signal(signal.SIGSTOP)  # so that it cannot react yet
        footprint = Footprint.of(demo.pid)
        os.killpg(demo.pid, signal.SIGINT)
        time.sleep(0.2)
        processes = [each for each in footprint.remains() if each.startswith("process")]
        demo.send_signal(signal.SIGCONT)
        _, errors = demo.communicate(timeout=10)
    assert len(processes) == len(footprint.processes) >= 4
    assert (demo.returncode, errors) == (130, "")
    assert footprint.remains_after(BACKGROUND_SECONDS) == []


def test_nothing_is_left_when_the_reader_of_its_output_leaves(temporary: Path) -> None:
    with running(temporary) as demo:
        read_until(demo, "Set up")
        footprint = Footprint.of(demo.pid)
        assert demo.stdout is not None
        demo.stdout.close()
        assert demo.wait(timeout=10) == 128 + signal.SIGPIPE
        assert footprint.remains_after(BACKGROUND_SECONDS) == []


@pytest.mark.parametrize(
    "script",
    [
        "exit 1",
        "sleep 60 & exit 1",
        # A child that left the session and ignores what can be ignored.
        "setsid sh -c 'trap \"\" INT TERM HUP; sleep 60' & sleep 0.2; exit 1",
    ],
    ids=["it ends", "it leaves a child", "it leaves a daemon"],
)
def test_nothing_is_left_when_a_server_does_not_start(
    temporary: Path, tmp_path: Path, script: str
) -> None:
    fake = tmp_path / "bin" / "nginx"
    fake.parent.mkdir()
    fake.write_text(f"#!/bin/sh\n{script}\n")
    fake.chmod(0o755)
    path = f"{fake.parent}:{os.environ['PATH']}"
    with running(temporary, env=environment(temporary, PATH=path)) as demo:
        read_until(demo, "Two web servers")
        time.sleep(0.1)
        footprint = Footprint.of(demo.pid)
        _, errors = demo.communicate(timeout=20)
    assert demo.returncode == 1
    assert errors.startswith("error: NGINX ended with status 1")
    assert footprint.remains_after(BACKGROUND_SECONDS) == []


def test_nothing_is_left_when_it_succeeds(temporary: Path) -> None:
    with running(temporary) as demo:
        read_until(demo, "The program: ")
        footprint = Footprint.of(demo.pid)
        output, errors = demo.communicate(timeout=20)
    assert (demo.returncode, errors) == (0, "")
    assert "Nothing is left behind." in output
    assert footprint.remains_after(BACKGROUND_SECONDS) == []


def test_the_watch_sees_all_that_a_demo_holds(temporary: Path) -> None:
    with running(temporary) as demo:
        read_until(demo, "The program: ")
        os.kill(demo.pid, signal.SIGSTOP)
        footprint = Footprint.of(demo.pid)
        remains = footprint.remains()
        os.kill(demo.pid, signal.SIGCONT)
        demo.communicate(timeout=20)
    assert len(footprint.processes) >= 4  # the demo, the sandbox's first process, two servers
    assert len(footprint.programs) == 1
    assert len(footprint.links) == 1
    kinds = sorted(each.partition(":")[0] for each in footprint.namespaces)
    assert kinds == ["mnt", "net", "net", "pid"]
    assert len(remains) == len(footprint.processes) + 2 + 4


def test_a_hangup_that_is_ignored_does_not_end_it(temporary: Path) -> None:
    with running(
        temporary, preexec_fn=lambda: signal.signal(signal.SIGHUP, signal.SIG_IGN)
    ) as demo:
        read_until(demo, "Set up")
        demo.send_signal(signal.SIGHUP)
        output, errors = demo.communicate(timeout=20)
    assert (demo.returncode, errors) == (0, "")
    assert output.endswith("prog attach --help\n")


def test_it_takes_a_few_seconds(temporary: Path) -> None:
    start = time.monotonic()
    with running(temporary, stdin=subprocess.DEVNULL) as demo:
        demo.communicate(timeout=30)
    assert time.monotonic() - start < 15
