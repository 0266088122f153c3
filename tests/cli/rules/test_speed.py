"""The commands that people wait for start, do their work and end within a moment."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from inet_lookup.control import Dispatcher
from inet_lookup.rules import ANY_PORT, Family, Prefix, Protocol, Rule, Ruleset
from support.command import COMMAND
from support.edge import Edge
from support.networks import TwoHosts
from support.servers import Start

pytestmark = pytest.mark.kernel

HEAVY = {"elftools", "llvmlite", "numpy", "pyroute2", "rich"}
RUNS = 5


@pytest.fixture
def hundred(edge: Edge, two_hosts: TwoHosts, echo_server: Start) -> Edge:
    """A namespace with a hundred rules and ten services with a socket each."""
    prefixes = [Prefix(Family.IPV4, 0x0A00_0000 | n << 8, 24) for n in range(100)]
    rules = [
        Rule(f"service{n % 10}", Protocol.TCP, prefix, ANY_PORT)
        for n, prefix in enumerate(prefixes)
    ]
    server = echo_server(two_hosts.server, "tcp", "127.0.0.1")
    with Dispatcher.open(two_hosts.server, bpffs=edge.bpffs, must_exist=False) as dispatcher:
        dispatcher.apply(Ruleset(rules))
    for n in range(10):
        edge.register(f"service{n}", server)
    return edge


def processor_seconds(edge: Edge, cache: Path, *arguments: str, runs: int = RUNS) -> float:
    """The time that a command computes, from start to end; the best of a few runs.

    Computing time, since a busy machine lets a process wait for its turn. Modules are compiled
    once, as they are where the package is installed.
    """
    environment = {**os.environ, "PYTHONPYCACHEPREFIX": str(cache)}
    environment.pop("PYTHONDONTWRITEBYTECODE", None)
    times = []
    for _ in range(runs):
        process = subprocess.Popen(
            [*COMMAND, *edge.place, *arguments],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            env=environment,
        )
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
        assert process.returncode == 0
        times.append(usage.ru_utime + usage.ru_stime)
    return min(times)


def test_a_hundred_rules_are_shown_within_a_fifth_of_a_second(
    hundred: Edge, tmp_path: Path
) -> None:
    assert processor_seconds(hundred, tmp_path, "status") < 0.2
    assert processor_seconds(hundred, tmp_path, "rules") < 0.2


def test_a_rule_is_bound_to_a_hundred_within_three_tenths_of_a_second(
    hundred: Edge, tmp_path: Path
) -> None:
    bind = ("bind", "service1", "tcp", "192.0.2.0/24", "80")
    times = []
    for _ in range(RUNS):
        times.append(processor_seconds(hundred, tmp_path, *bind, runs=1))
        hundred("unbind", *bind[1:]).done()
    assert min(times) < 0.3


@pytest.mark.parametrize(
    "arguments",
    [
        ["status"],
        ["rules"],
        ["bind", "service1", "tcp", "192.0.2.0/24", "80"],
        ["unregister", "service2"],
    ],
    ids=" ".join,
)
def test_nothing_heavy_is_imported(hundred: Edge, arguments: list[str]) -> None:
    code = (
        "import sys; from inet_lookup.cli import main;"
        f" assert main({[*hundred.place, *arguments]!r}) == 0;"
        " print('modules:', *sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    modules = {name.partition(".")[0] for name in done.stdout.rpartition("modules:")[2].split()}
    assert "inet_lookup" in modules
    assert not modules & HEAVY
