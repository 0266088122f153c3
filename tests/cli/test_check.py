"""``inet-lookup check``: what is there, what is missing, what to do."""

from __future__ import annotations

from pathlib import Path

import pytest

from inet_lookup.bpf import FEATURES
from inet_lookup.net.namespaces import Namespace
from support.command import WITHOUT_PRIVILEGES, inet_lookup

pytestmark = pytest.mark.kernel

CAPABILITIES = ["CAP_BPF", "CAP_NET_ADMIN", "CAP_SYS_PTRACE", "CAP_SYS_ADMIN"]


def test_all_is_well_with_privileges_and_a_bpffs(bpffs: Path) -> None:
    ended = inet_lookup("check", "--bpffs", bpffs).done()
    assert "steering works here" in ended.out
    assert str(bpffs) in ended.out
    for feature in FEATURES:
        assert feature.name in ended.out


def test_every_check_is_in_the_json_with_the_same_keys(bpffs: Path) -> None:
    result = inet_lookup("check", "--json", "--bpffs", bpffs).done().json
    assert result["steering"] is True
    keys = {"group", "name", "status", "needed", "detail", "mend"}
    assert all(set(each) == keys for each in result["checks"])
    names = [each["name"] for each in result["checks"]]
    assert len(names) == len(set(names))
    assert {feature.name for feature in FEATURES} < set(names)
    assert all(each["mend"] for each in result["checks"] if each["status"] != "ok")


def test_a_missing_bpffs_is_named_with_its_mend(tmp_path: Path) -> None:
    ended = inet_lookup("check", "--bpffs", tmp_path)
    assert ended.status == 1
    assert "mount -t bpf bpf /sys/fs/bpf" in ended.out
    assert "for want of: BPF file system" in ended.out
    assert not ended.err


def test_without_a_mounted_bpffs_the_default_is_missing() -> None:
    ended = inet_lookup("--json", "check")
    assert ended.status == 1
    missing = [each for each in ended.json["checks"] if each["status"] != "ok" and each["needed"]]
    assert [each["name"] for each in missing] == ["BPF file system"]


def test_each_missing_privilege_is_named_and_features_are_not_guessed(bpffs: Path) -> None:
    bpffs.chmod(0o755)
    ended = inet_lookup("--json", "check", "--bpffs", bpffs, prefix=WITHOUT_PRIVILEGES)
    assert ended.status == 1
    assert "Traceback" not in ended.err
    checks = {each["name"]: each for each in ended.json["checks"]}
    for capability in CAPABILITIES:
        assert checks[capability]["status"] == "missing"
        assert capability in checks[capability]["mend"]
    hook = checks["socket lookup programs"]
    assert hook["status"] == "unknown"
    assert "CAP_BPF" in hook["detail"]
    assert checks["BPF file system"]["status"] == "ok"


def test_some_privileges_are_enough_to_try_the_features(bpffs: Path, netns: Namespace) -> None:
    bpffs.chmod(0o755)
    some = ("setpriv", "--inh-caps=-all", "--bounding-set=-all,+bpf,+net_admin")
    ended = inet_lookup("--json", "check", "--bpffs", bpffs, prefix=some, inside=netns)
    checks = {each["name"]: each["status"] for each in ended.json["checks"]}
    assert checks["socket lookup programs"] == "ok"
    assert checks["CAP_BPF"] == checks["CAP_NET_ADMIN"] == "ok"
    assert checks["CAP_SYS_ADMIN"] == checks["CAP_SYS_PTRACE"] == "missing"
    assert ended.status == 1
