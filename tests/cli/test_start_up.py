"""Starting quickly: heavy modules are imported by what needs them, and by nothing else."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from inet_lookup.net.namespaces import Namespace
from support.command import COMMAND, inet_lookup, path_of

HEAVY = {"click", "elftools", "llvmlite", "numpy", "pyroute2", "rich"}


def modules_after(code: str) -> set[str]:
    """The top-level modules that a new interpreter has imported after running some code."""
    done = subprocess.run(
        [sys.executable, "-c", f"import sys\n{code}\nprint('\\n'.join(sys.modules))"],
        capture_output=True,
        text=True,
        check=True,
    )
    return {line.partition(".")[0] for line in done.stdout.splitlines()}


def test_importing_the_package_imports_nothing_heavy() -> None:
    assert not modules_after("import inet_lookup") & HEAVY


def test_importing_what_programs_need_imports_no_compiler() -> None:
    names = "AF_INET, IPPROTO_TCP, PASS, Context, SockArray, Verdict, attach, program"
    assert not modules_after(f"from inet_lookup import {names}") & HEAVY


@pytest.mark.parametrize(
    "arguments",
    [["--version"], ["--help"], ["prog", "--help"], ["prog", "list", "--help"]],
    ids=" ".join,
)
def test_the_command_starts_without_heavy_modules(arguments: list[str]) -> None:
    code = f"from inet_lookup.cli import main; assert main({arguments!r}) == 0"
    imported = modules_after(code)
    assert "click" in imported
    assert not imported & (HEAVY - {"click"})


@pytest.mark.kernel
def test_listing_programs_imports_nothing_heavy(netns: Namespace) -> None:
    arguments = ["--netns", path_of(netns), "prog", "list"]
    imported = modules_after(f"from inet_lookup.cli import main; assert main({arguments!r}) == 0")
    assert "click" in imported
    assert not imported & (HEAVY - {"click"})


def processor_seconds(*arguments: str) -> float:
    """The time that the command computes, from start to end; the best of a few runs.

    Computing time, since a busy machine lets a process wait for its turn.
    """
    times = []
    for _ in range(4):
        process = subprocess.Popen([*COMMAND, *arguments], stdout=subprocess.DEVNULL)
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
        assert process.returncode == 0
        times.append(usage.ru_utime + usage.ru_stime)
    return min(times)


def test_the_version_is_printed_within_a_tenth_of_a_second() -> None:
    assert processor_seconds("--version") < 0.1


@pytest.mark.kernel
def test_programs_are_listed_within_a_fifth_of_a_second(netns: Namespace) -> None:
    assert processor_seconds("--netns", path_of(netns), "prog", "list") < 0.2


def test_the_version_is_that_of_the_package() -> None:
    from inet_lookup import __version__

    assert inet_lookup("--version").done().out == f"inet-lookup {__version__}\n"


def test_the_installed_command_is_the_same() -> None:
    command = Path(sys.executable).with_name("inet-lookup")
    if not command.exists():
        pytest.skip("the package is not installed beside the interpreter")
    done = subprocess.run([command, "--version"], capture_output=True, text=True, check=True)
    assert done.stdout == inet_lookup("--version").out
