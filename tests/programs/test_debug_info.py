"""A compiled program carries its Python lines: the kernel's tools and the verifier name them."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path
from types import ModuleType

import pytest

from inet_lookup import load
from inet_lookup.errors import VerifierError
from support.loading import load_module

pytestmark = pytest.mark.kernel

HEADER = """\
from inet_lookup import (
    DROP, PASS, Array, Context, Counters, Hash, SockArray, Verdict, inline, program,
)

servers = SockArray(8)
numbers = Array(16)
hits = Counters(2)
ports = Hash(8)


"""

PROGRAM = """\
@inline
def weight(port: int) -> int:
    return ports.get(port, 7) & 0xFF


@program
def f(ctx: Context) -> Verdict:
    if ctx.local_port == 80:
        return DROP  # größe, "quoted" \\\\
    total = numbers[
        ctx.local_port & 15
    ]
    for i in range(2):
        total += weight(ctx.local_port + i) & 7
    return servers.redirect(
        ctx,
        total & 7,
        otherwise=DROP,
    )
"""


def write(directory: Path, source: str) -> tuple[ModuleType, Path]:
    path = directory / "steering.py"
    path.write_text(HEADER + source)
    return load_module(path), path


def line_of(path: Path, text: str) -> int:
    lines = [n for n, line in enumerate(path.read_text().splitlines(), 1) if text in line]
    assert len(lines) == 1
    return lines[0]


@pytest.mark.requires_command("bpftool")
def test_bpftool_shows_the_python_lines(tmp_path: Path) -> None:
    module, path = write(tmp_path, PROGRAM)
    with load(module.f) as program:
        command = ["bpftool", "prog", "dump", "xlated", "id", str(program.info().id), "linum"]
        done = subprocess.run(command, capture_output=True, text=True, check=True)
    shown = re.findall(r"^; (.*) \[file:(\S+) line_num:(\d+) line_col:(\d+)\]$", done.stdout, re.M)
    assert shown
    lines = path.read_text().splitlines()
    for text, file, number, column in shown:
        assert file == str(path)
        assert text == lines[int(number) - 1].strip()
        assert int(column) <= len(lines[int(number) - 1])
    numbers = {int(number) for _, _, number, _ in shown}
    # Of the program, of what is called in it, and of statements over several lines their first.
    for text in ("local_port == 80", "ports.get(port, 7)", "total = numbers[", "servers.redirect("):
        assert line_of(path, text) in numbers
    assert done.stdout.startswith("int f(struct bpf_sk_lookup * ")


def test_the_kernel_gives_the_lines_back(tmp_path: Path) -> None:
    module, path = write(tmp_path, PROGRAM)
    with load(module.f) as program:
        found = program.program.source_lines()
    assert {line.source.file for line in found} == {str(path)}
    assert [line.instruction for line in found] == sorted({line.instruction for line in found})
    lines = path.read_text().splitlines()
    assert all(line.source.text == lines[line.source.line - 1] for line in found)
    assert len({line.source.line for line in found}) >= 5


def test_lines_beyond_what_a_column_can_say(tmp_path: Path) -> None:
    """A column has ten bits; it must not run over into the line's number."""
    blanks = " " * 3000
    module, path = write(
        tmp_path,
        f"@program\ndef f(ctx: Context) -> Verdict:\n    return DROP if {blanks}"
        f"numbers[ctx.local_port & 15] else{blanks} servers.redirect(ctx, 1)\n",
    )
    with load(module.f) as program:
        found = program.program.source_lines()
    last = len(path.read_text().splitlines())
    assert {line.source.line for line in found} == {last - 1, last}


def test_a_rejection_names_the_python_line_and_has_the_log(tmp_path: Path) -> None:
    # Each round doubles the paths, which the verifier cannot merge: `code` decides on each.
    module, path = write(
        tmp_path,
        """\
@program
def f(ctx: Context) -> Verdict:
    code = 1
    for i in range(16):
        if ports.get(i) is None:
            code = code * 3 + i & 0xFFFF
            hits.add(1)
        code = (code * 5 + 1) & 0xFFFF
        if code & 8 == 0:
            hits.add(0)
    return DROP if code == 7 else PASS
""",
    )
    with pytest.raises(VerifierError) as caught:
        load(module.f)
    error = caught.value
    assert "BPF program is too large" in error.summary
    file, _, number = error.location.rpartition(":")
    assert file == str(path)
    lines = path.read_text().splitlines()
    first = line_of(path, "def f(")
    assert first <= int(number) <= len(lines)
    assert error.source.strip() == lines[int(number) - 1].strip() != ""
    assert f"{path}:{number}" in str(error)
    assert error.source.strip() in str(error)
    # The log tells all that the verifier said, and quotes the lines too.
    assert error.summary in error.log
    assert "; if ports.get(i) is None:" in error.log
    assert "processed 1000001 insns" in error.log
    assert module.ports.kernel_map is None
