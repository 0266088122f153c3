"""What ``docs/language.md`` shows works as it says."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from inet_lookup.programs.compiler import map_access, membership, stack, statements
from inet_lookup.programs.context import FIELDS
from inet_lookup.programs.maps import Array, Counters, Hash, LpmTrie, SockArray
from support.loading import load_module

DOCUMENT = (Path(__file__).parents[2] / "docs" / "language.md").read_text()
BLOCK = re.compile(r"^```(?P<info>[^\n]*)\n(?P<text>.*?)^```$", re.DOTALL | re.MULTILINE)


def blocks(info: str) -> list[re.Match[str]]:
    return [found for found in BLOCK.finditer(DOCUMENT) if found["info"] == info]


def test_every_block_is_of_a_kind_that_is_tested() -> None:
    assert {found["info"] for found in BLOCK.finditer(DOCUMENT)} == {
        "python",
        "python refused greedy.py",
        "text",
    }


@pytest.mark.kernel
def test_the_programs_run(tmp_path: Path) -> None:
    """All blocks are one module, whose lines have the document's numbers."""
    module = ""
    for found in blocks("python"):
        first = DOCUMENT.count("\n", 0, found.start("text"))
        module += "\n" * (first - module.count("\n")) + found["text"]
    path = tmp_path / "language.py"
    path.write_text(module)
    loaded = load_module(path)
    tests = [value for name, value in vars(loaded).items() if name.startswith("test_")]
    assert len(tests) == 2
    for test in tests:
        test()
    for name in ("steer", "spread", "route", "meter"):
        getattr(loaded, name).compile()


def test_the_error_reads_as_it_is_shown(tmp_path: Path) -> None:
    (source,) = blocks("python refused greedy.py")
    (shown,) = blocks("text")
    (tmp_path / "greedy.py").write_text(source["text"])
    done = subprocess.run(
        [sys.executable, "-m", "inet_lookup", "prog", "check", "greedy.py"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1
    assert done.stderr.replace(f"{tmp_path}/", "") == shown["text"]


def test_the_tables_are_complete() -> None:
    for name in (*FIELDS, "local_ip", "remote_ip", "sk"):
        assert f"`{name}`" in DOCUMENT
    for cls in (Array, Counters, Hash, LpmTrie, SockArray):
        assert f"`{cls.__name__}(n" in DOCUMENT
        for method in map_access._METHODS[cls]:
            assert f".{method}(" in DOCUMENT
    for limit in (statements._LIMIT, membership.LIMIT, stack._LIMIT):
        assert f"{limit:,}" in DOCUMENT
