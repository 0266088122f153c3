"""The objects that the package ships are what its source compiles to."""

from __future__ import annotations

from pathlib import Path

from inet_lookup.dispatch import objects


def test_shipped_objects_are_up_to_date(tmp_path: Path) -> None:
    for fresh in objects.compile_all(tmp_path):
        shipped = objects.path_of("dispatcher").with_name(fresh.name)
        assert shipped.read_bytes() == fresh.read_bytes(), (
            f"{fresh.name} is stale: run python -m inet_lookup.dispatch.compile"
        )


def test_shipped_objects_name_no_path_of_the_machine_that_built_them() -> None:
    for name in objects.NAMES:
        data = objects.path_of(name).read_bytes()
        assert b"inet_lookup/dispatch/dispatcher.py" in data
        assert str(Path(__file__).resolve().parents[2]).encode() not in data
