"""The package's names: all there, and cheap until they are used."""

from __future__ import annotations

import ast
import json
import subprocess
import sys
from pathlib import Path

import pytest

import inet_lookup.bpf as package


def modules_after(code: str) -> set[str]:
    shown = subprocess.run(
        [sys.executable, "-c", f"{code}\nimport json, sys\nprint(json.dumps(list(sys.modules)))"],
        check=True,
        capture_output=True,
        text=True,
    )
    return set(json.loads(shown.stdout))


def names_for_type_checkers() -> set[str]:
    assert package.__file__ is not None
    tree = ast.parse(Path(package.__file__).read_text())
    return {
        alias.asname or alias.name
        for block in tree.body
        if isinstance(block, ast.If)
        for statement in block.body
        if isinstance(statement, ast.ImportFrom)
        and statement.level == 1
        and statement.module != "_lazy"
        for alias in statement.names
    }


def test_every_name_is_found_and_known_to_type_checkers() -> None:
    names = {name for module in package._HOMES.values() for name in module}
    assert names == names_for_type_checkers()
    for name in names:
        assert getattr(package, name) is not None
    assert names <= set(dir(package))


def test_unknown_name_is_refused() -> None:
    with pytest.raises(AttributeError, match="has no attribute 'Nonsense'"):
        _ = package.Nonsense  # type: ignore[attr-defined]


def test_using_maps_does_not_import_what_they_do_not_need() -> None:
    plain = modules_after("")
    loaded = modules_after("from inet_lookup.bpf import Map, Program, NetnsLink, query") - plain
    assert "inet_lookup.bpf.maps" in loaded
    unwanted = {
        "dataclasses",
        "inspect",
        "inet_lookup.bpf.btf",
        "inet_lookup.bpf.features",
        "inet_lookup.bpf.helper_ids",
        "inet_lookup.bpf.objects",
        "inet_lookup.bpf.source_line",
        "elftools",
        "llvmlite",
        "numpy",
        "pyroute2",
        "rich",
    }
    assert not loaded & unwanted
