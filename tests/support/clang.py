"""Builds BPF objects from C with the clang versions that are installed."""

from __future__ import annotations

import functools
import platform
import shutil
import subprocess
from pathlib import Path

from support.requirements import unmet

VERSIONS = ("clang-14", "clang-19")
"""The oldest and the newest clang whose objects are held to load."""

SOURCES = Path(__file__).parent.parent / "bpf" / "c"


def build(source: str, compiler: str = VERSIONS[-1], *, debug: bool = True) -> bytes:
    """The object of ``tests/bpf/c/SOURCE.c``; skips the test, or fails it, without the compiler.

    :param debug: with BTF and line info (``-g``).
    """
    if shutil.which(compiler) is None:
        unmet(f"not installed: {compiler}; tests/install-packages does it")
    return _build(SOURCES / f"{source}.c", compiler, debug)


@functools.cache
def _build(source: Path, compiler: str, debug: bool) -> bytes:
    # asm/types.h is where Debian has it for this machine; clang -target bpf does not look there.
    includes = f"-I/usr/include/{platform.machine()}-linux-gnu"
    command = [compiler, "-O2", "-target", "bpf", "-Wall", "-Werror", includes]
    done = subprocess.run(
        [*command, *(["-g"] if debug else []), "-c", str(source), "-o", "-"],
        capture_output=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr.decode()
    return done.stdout
