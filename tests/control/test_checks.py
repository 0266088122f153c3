"""What is missing for steering, for commands that say so before they begin."""

from __future__ import annotations

from pathlib import Path

import pytest

from inet_lookup.control import Status, missing_for_steering, run_checks
from support.unprivileged import run_with

pytestmark = pytest.mark.kernel


def test_nothing_is_missing_with_privileges_and_a_bpffs(bpffs: Path) -> None:
    assert missing_for_steering(bpffs=bpffs, compiler=True) == []


def test_pins_alone_need_a_bpffs(tmp_path: Path) -> None:
    (missing,) = missing_for_steering(bpffs=tmp_path)
    assert missing.name == "BPF file system"
    assert missing.status is Status.MISSING
    assert missing.mend
    assert missing_for_steering(bpffs=tmp_path, pins=False) == []


def test_each_missing_privilege_is_named_with_its_mend() -> None:
    outcome = run_with(
        lambda: [(each.name, each.mend) for each in missing_for_steering(pins=False)]
    )
    assert isinstance(outcome.value, list)
    missing = dict(outcome.value)
    for name in ("CAP_BPF", "CAP_NET_ADMIN", "CAP_SYS_ADMIN", "CAP_SYS_PTRACE"):
        assert name in missing[name]


def test_sys_admin_does_not_stand_in_for_looking_into_processes() -> None:
    everything_but_ptrace = [12, 21, 39]
    outcome = run_with(
        lambda: [each.name for each in missing_for_steering(pins=False)], everything_but_ptrace
    )
    assert outcome.value == ["CAP_SYS_PTRACE"]


def test_a_compiler_that_is_missing_is_only_needed_to_compile(
    monkeypatch: pytest.MonkeyPatch, bpffs: Path
) -> None:
    from importlib import metadata

    def version(name: str) -> str:
        raise metadata.PackageNotFoundError(name)

    monkeypatch.setattr(metadata, "version", version)
    assert missing_for_steering(bpffs=bpffs) == []
    (missing,) = missing_for_steering(bpffs=bpffs, compiler=True)
    assert missing.name == "llvmlite"
    assert missing.mend == "pip install 'inet-lookup[compiler]'"


def test_what_is_not_there_always_has_a_mend(tmp_path: Path) -> None:
    outcome = run_with(
        lambda: [
            each.name
            for each in run_checks(bpffs=tmp_path)
            if each.status is not Status.OK and not each.mend
        ]
    )
    assert outcome.value == []
