"""Objects of the RFC's programs in C, built with the command that users are told."""

from __future__ import annotations

import functools
import shutil
import subprocess
from pathlib import Path

from inet_lookup.rfc import include_dir
from support.requirements import unmet

SOURCES = Path(__file__).parent.parent / "rfc" / "c"


def build(source: str, compiler: str, *options: str) -> bytes:
    """The object of ``tests/rfc/c/SOURCE.c``; skips the test, or fails it, without the compiler."""
    if shutil.which(compiler) is None:
        unmet(f"not installed: {compiler}; tests/install-packages does it")
    return compile_file(SOURCES / f"{source}.c", compiler, "-include", "inet_lookup.h", *options)


@functools.cache
def compile_file(source: Path, compiler: str, *options: str) -> bytes:
    command = [compiler, "-O2", "-g", "-target", "bpf", f"-I{include_dir()}", *options]
    done = subprocess.run(
        [*command, "-c", str(source), "-o", "-"], capture_output=True, check=False
    )
    assert done.returncode == 0, done.stderr.decode()
    assert not done.stderr, done.stderr.decode()
    return done.stdout
