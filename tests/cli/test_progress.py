"""Progress of long work is shown on a terminal, and gone in the end."""

from __future__ import annotations

import io
import time

import pytest

from inet_lookup.cli import progress
from inet_lookup.cli.progress import Progress


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.fixture
def terminal(monkeypatch: pytest.MonkeyPatch) -> Terminal:
    monkeypatch.setattr(progress, "_PATIENCE_SECONDS", 0.05)
    monkeypatch.setattr(progress, "_INTERVAL_SECONDS", 0.01)
    return Terminal()


def wait_for(text: str, terminal: Terminal) -> None:
    deadline = time.monotonic() + 5
    while text not in terminal.getvalue():
        assert time.monotonic() < deadline, terminal.getvalue()
        time.sleep(0.01)


def test_each_step_is_shown_in_one_line_that_goes_in_the_end(terminal: Terminal) -> None:
    with Progress(stream=terminal) as shown:
        shown("reading the rules")
        wait_for("reading the rules, 0 s", terminal)
        shown("compiling the rules", 0, 4)
        wait_for("compiling the rules (step 1 of 4), 0 s", terminal)
    assert "\n" not in terminal.getvalue()
    assert terminal.getvalue().endswith("\r\x1b[K")


def test_what_takes_no_time_is_not_shown(
    terminal: Terminal, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(progress, "_PATIENCE_SECONDS", 5)
    with Progress(stream=terminal) as shown:
        shown("reading the rules")
    assert terminal.getvalue() == ""


def test_nothing_is_shown_when_quiet_or_without_a_terminal(terminal: Terminal) -> None:
    file = io.StringIO()
    with Progress(stream=terminal, quiet=True) as quiet, Progress(stream=file) as elsewhere:
        quiet("reading the rules")
        elsewhere("reading the rules")
        time.sleep(0.2)
    assert (terminal.getvalue(), file.getvalue()) == ("", "")


def test_the_line_is_gone_also_when_the_work_fails(terminal: Terminal) -> None:
    def fail() -> None:
        with Progress(stream=terminal) as shown:
            shown("comparing the rulesets")
            wait_for("comparing the rulesets", terminal)
            raise ValueError("bad")

    with pytest.raises(ValueError, match="bad"):
        fail()
    assert terminal.getvalue().endswith("\r\x1b[K")
