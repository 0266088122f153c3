"""The rules of the test session hold: what leaks fails, and what cannot run skips or fails."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

pytestmark = pytest.mark.kernel

SAMPLE = """
import os
import pytest

def test_leaks_a_descriptor():
    os.open("/dev/null", os.O_RDONLY)

def test_leaks_nothing():
    os.close(os.open("/dev/null", os.O_RDONLY))

@pytest.mark.kernel
def test_needs_the_kernel(netns):
    assert netns.inode

@pytest.mark.requires_command("no-such-command")
def test_needs_a_command(netns):
    raise AssertionError("not reached")
"""

UNPRIVILEGED = ["setpriv", "--bounding-set=-all", "--inh-caps=-all"]

Session = Callable[..., str]


@pytest.fixture
def session(tmp_path: Path) -> Session:
    """Run the sample in a session of its own and return what it prints."""
    sample = tmp_path / "test_sample.py"
    sample.write_text(SAMPLE)

    def run(*, required: bool = False, prefix: list[str] | None = None) -> str:
        environment = {
            **os.environ,
            "PYTHONPATH": str(Path(__file__).parent),
            "INET_LOOKUP_REQUIRE_KERNEL": "1" if required else "",
        }
        options = ["-p", "conftest", "-p", "no:cacheprovider", "-c", os.devnull, "-rA", "--tb=line"]
        return subprocess.run(
            [*(prefix or []), sys.executable, "-m", "pytest", *options, str(sample)],
            env=environment,
            cwd=tmp_path,
            stdout=subprocess.PIPE,
            text=True,
        ).stdout

    return run


def test_a_leak_fails_and_a_missing_command_skips(session: Session) -> None:
    output = session()
    assert "ERROR test_sample.py::test_leaks_a_descriptor" in output
    assert "PASSED test_sample.py::test_leaks_nothing" in output
    assert "PASSED test_sample.py::test_needs_the_kernel" in output
    assert "not installed: no-such-command; tests/install-packages does it" in output
    assert "1 skipped" in output


def test_a_missing_command_fails_where_nothing_may_be_skipped(session: Session) -> None:
    output = session(required=True)
    assert "ERROR test_sample.py::test_needs_a_command" in output
    assert "PASSED test_sample.py::test_needs_the_kernel" in output
    assert "skipped" not in output.splitlines()[-1]


@pytest.mark.requires_command("setpriv")
def test_without_privileges_a_kernel_test_is_skipped(session: Session) -> None:
    output = session(prefix=UNPRIVILEGED)
    assert "PASSED test_sample.py::test_leaks_nothing" in output
    assert "needs root: this process lacks CAP_NET_ADMIN" in output
    assert "2 skipped" in output


@pytest.mark.requires_command("setpriv")
def test_without_privileges_a_kernel_test_fails_where_nothing_may_be_skipped(
    session: Session,
) -> None:
    output = session(prefix=UNPRIVILEGED, required=True)
    assert "PASSED test_sample.py::test_leaks_nothing" in output
    assert "ERROR test_sample.py::test_needs_the_kernel" in output
    assert "skipped" not in output.splitlines()[-1]
