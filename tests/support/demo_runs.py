"""The demo as a process of its own, and everything that it holds while it runs."""

from __future__ import annotations

import contextlib
import ctypes
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from inet_lookup.bpf.links import link_ids
from inet_lookup.bpf.programs import program_ids

COMMAND = [
    sys.executable,
    "-c",
    "import sys; from inet_lookup.cli import main; sys.exit(main())",
    "demo",
]

_PR_SET_CHILD_SUBREAPER = 36
_libc = ctypes.CDLL(None, use_errno=True)


@dataclass(frozen=True)
class Footprint:
    """What a running demo and its descendants hold.

    :ivar processes: pids with the times at which they started, which tell a reused pid apart.
    :ivar programs: ids of BPF programs.
    :ivar links: ids of BPF links.
    :ivar namespaces: network, mount and process namespaces that this process is not in.
    """

    processes: dict[int, int]
    programs: set[int]
    links: set[int]
    namespaces: set[str]

    @classmethod
    def of(cls, pid: int) -> Footprint:
        tree = _tree(pid)
        return cls(
            processes={each: start for each in tree if (start := _start_time(each))},
            programs=_ids(pid, "prog_id"),
            links=_ids(pid, "link_id"),
            namespaces={link for each in tree for link in _namespaces(each)}
            - _namespaces(os.getpid()),
        )

    def remains(self) -> list[str]:
        """What of it still exists, a line each."""
        alive = {pid for pid, start in self.processes.items() if _start_time(pid) == start}
        found = [f"process {pid}" for pid in sorted(alive)]
        found += [f"program {id}" for id in sorted(self.programs & set(program_ids()))]
        found += [f"link {id}" for id in sorted(self.links & set(link_ids()))]
        # A namespace has no name: it exists as long as a process is in it or has it open, or it is
        # mounted, for which nothing_left_behind looks.
        inside = set().union(*(_namespaces(pid) for pid in alive)) if alive else set()
        return found + sorted(inside & self.namespaces)

    def remains_after(self, seconds: float) -> list[str]:
        """What remains when the kernel had time for what it frees in the background."""
        end = time.monotonic() + seconds
        while (found := self.remains()) and time.monotonic() < end:
            time.sleep(0.02)
        return found


@contextlib.contextmanager
def running(directory: Path, **options: Any) -> Iterator[subprocess.Popen[str]]:
    """Start the demo, with a directory for its temporary files; end it with the block."""
    options.setdefault("env", environment(directory))
    with subprocess.Popen(
        COMMAND, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, **options
    ) as process:
        try:
            yield process
        finally:
            process.kill()


def environment(directory: Path, **changes: str) -> dict[str, str]:
    """The environment that a demo gets: its temporary files would go to a directory."""
    return {**os.environ, "TMPDIR": str(directory), **changes}


def read_until(process: subprocess.Popen[str], beginning: str) -> None:
    """Read what the demo prints up to a line that begins so."""
    assert process.stdout is not None
    for line in process.stdout:
        if line.startswith(beginning):
            return
    assert process.stderr is not None
    raise AssertionError(f"the demo ended before '{beginning}': {process.stderr.read()}")


@contextlib.contextmanager
def adopting_orphans() -> Iterator[None]:
    """Have this process get the orphans among its descendants as children, and reap them."""
    _set_subreaper(True)
    try:
        yield
    finally:
        _set_subreaper(False)
        end = time.monotonic() + 5
        with contextlib.suppress(ChildProcessError):
            while time.monotonic() < end:
                if os.waitpid(-1, os.WNOHANG)[0] == 0:
                    time.sleep(0.01)


def _set_subreaper(on: bool) -> None:
    if _libc.prctl(_PR_SET_CHILD_SUBREAPER, ctypes.c_ulong(on), 0, 0, 0):
        raise OSError(ctypes.get_errno(), "prctl(PR_SET_CHILD_SUBREAPER)")


def _tree(pid: int) -> list[int]:
    """A process and its descendants."""
    found = [pid]
    for each in found:
        with contextlib.suppress(OSError):
            for task in os.listdir(f"/proc/{each}/task"):
                children = Path(f"/proc/{each}/task/{task}/children").read_text()
                found += [int(child) for child in children.split()]
    return found


def _start_time(pid: int) -> int | None:
    """When a process started, in clock ticks since boot; None where it is gone or a zombie."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return None
    return None if fields[0] == "Z" else int(fields[19])


def _ids(pid: int, key: str) -> set[int]:
    """The ids of BPF objects that a process has open."""
    found = set()
    with contextlib.suppress(OSError):
        for name in os.listdir(f"/proc/{pid}/fdinfo"):
            with contextlib.suppress(OSError):
                for line in Path(f"/proc/{pid}/fdinfo/{name}").read_text().splitlines():
                    field, _, value = line.partition(":")
                    if field == key:
                        found.add(int(value))
    return found


def _namespaces(pid: int) -> set[str]:
    found = set()
    paths = [f"/proc/{pid}/ns/{kind}" for kind in ("net", "mnt", "pid")]
    with contextlib.suppress(OSError):
        paths += [f"/proc/{pid}/fd/{name}" for name in os.listdir(f"/proc/{pid}/fd")]
    for path in paths:
        with contextlib.suppress(OSError):
            target = os.readlink(path)
            if target.startswith(("net:", "mnt:", "pid:")):
                found.add(target)
    return found
