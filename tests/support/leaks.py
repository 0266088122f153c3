"""The watch for what a test leaves behind: descriptors, processes, mounts, pins, namespaces."""

from __future__ import annotations

import contextlib
import gc
import os
from dataclasses import dataclass, field
from pathlib import Path

from support.mounts import NAMED_NAMESPACES, Mount, mounts

_MADE_WITH_A_BPFFS = {"maps.debug", "progs.debug"}  # by the kernel's bpf_preload


@dataclass(frozen=True)
class Holdings:
    """What this process and its surroundings hold at one moment."""

    fds: dict[int, str]
    children: dict[int, str]
    mounts: list[Mount]
    pins: set[str]
    names: set[str]
    strayed_threads: dict[int, str] = field(default_factory=dict)

    @classmethod
    def now(cls) -> Holdings:
        mounted = mounts()
        return cls(
            fds=_fds(),
            children=_children(),
            mounts=mounted,
            pins=_pins(mounted),
            names=set(os.listdir(NAMED_NAMESPACES)) if NAMED_NAMESPACES.exists() else set(),
            strayed_threads=_strayed_threads(),
        )

    def left_behind(self, later: Holdings) -> list[str]:
        """What exists later and did not exist at this moment, a line each."""
        found = [
            f"file descriptor {fd}: {target}"
            for fd, target in later.fds.items()
            if self.fds.get(fd) != target
        ]
        found += [
            f"child process {pid}: {command}"
            for pid, command in later.children.items()
            if pid not in self.children
        ]
        found += [
            f"mount: {each.type} on {each.point}"
            for each in later.mounts
            if each not in self.mounts
        ]
        found += [f"pin: {path}" for path in sorted(later.pins - self.pins)]
        found += [f"named network namespace: {name}" for name in sorted(later.names - self.names)]
        found += [
            f"thread {tid} in another network namespace: {target}"
            for tid, target in later.strayed_threads.items()
            if tid not in self.strayed_threads
        ]
        return found


def left_behind_since(before: Holdings) -> list[str]:
    """What was left behind since ``before``, garbage not counted."""
    found = before.left_behind(Holdings.now())
    if found:
        gc.collect()
        found = before.left_behind(Holdings.now())
    return found


def _fds() -> dict[int, str]:
    found = {}
    for number in os.listdir("/proc/self/fd"):
        # The listing's own descriptor is gone by now.
        with contextlib.suppress(FileNotFoundError):
            found[int(number)] = os.readlink(f"/proc/self/fd/{number}")
    return found


def _children() -> dict[int, str]:
    found = {}
    for task in os.listdir("/proc/self/task"):
        with contextlib.suppress(FileNotFoundError, ProcessLookupError):
            for pid in Path(f"/proc/self/task/{task}/children").read_text().split():
                found[int(pid)] = _command(int(pid))
    return found


def _command(pid: int) -> str:
    try:
        line = (
            Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
        )
        return line.strip() or Path(f"/proc/{pid}/comm").read_text().strip() + " (zombie)"
    except OSError:
        return "ended"


def _pins(mounted: list[Mount]) -> set[str]:
    return {
        os.path.join(directory, name)
        for each in mounted
        if each.type == "bpf"
        for directory, directories, files in os.walk(each.point)
        for name in directories + files
        if directory != each.point or name not in _MADE_WITH_A_BPFFS
    }


def _strayed_threads() -> dict[int, str]:
    home = os.readlink("/proc/self/ns/net")
    found = {}
    for task in os.listdir("/proc/self/task"):
        with contextlib.suppress(OSError):
            target = os.readlink(f"/proc/self/task/{task}/ns/net")
            if target != home:
                found[int(task)] = target
    return found
