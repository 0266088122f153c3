from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from inet_lookup.bpf import (
    AttachType,
    Map,
    MapType,
    NetnsLink,
    Program,
    ProgramType,
    default_bpffs,
    is_bpffs,
    live_handles,
    pins,
    require_bpffs,
    unpin,
)
from inet_lookup.errors import BpffsError, KernelError
from inet_lookup.net.namespaces import Namespace
from support.instructions import returning

pytestmark = pytest.mark.kernel


def make_map() -> Map:
    return Map.create(MapType.ARRAY, key_size=4, value_size=4, max_entries=1, name="pinned")


def make_program() -> Program:
    return Program.load(
        ProgramType.SK_LOOKUP,
        returning(1),
        expected_attach_type=AttachType.SK_LOOKUP,
        name="pinned",
    )


@pytest.mark.parametrize("make", [make_map, make_program])
def test_pinned_object_lives_without_a_descriptor(
    bpffs: Path, make: Callable[[], Map | Program]
) -> None:
    path = bpffs / "kept"
    with make() as original:
        original.pin(path)
        id = original.id
    with type(original).open_pinned(path) as found:
        assert found.id == id
        assert found.name == "pinned"
    unpin(path)
    assert not path.exists()


def test_path_may_be_text(bpffs: Path) -> None:
    path = f"{bpffs}/kept"
    with make_map() as array:
        array.pin(path)
    Map.open_pinned(path).close()
    unpin(path)


def test_directories_hold_pins_too(bpffs: Path) -> None:
    (bpffs / "deep" / "er").mkdir(parents=True)
    with make_map() as array:
        array.pin(bpffs / "deep" / "er" / "kept")
        assert is_bpffs(bpffs / "deep" / "er" / "kept")


def test_taken_name_is_refused(bpffs: Path) -> None:
    with make_map() as array:
        array.pin(bpffs / "kept")
        with pytest.raises(KernelError, match="EEXIST: the name is taken"):
            array.pin(bpffs / "kept")


def test_missing_pin_is_named(bpffs: Path) -> None:
    with pytest.raises(KernelError) as raised:
        Map.open_pinned(bpffs / "missing")
    assert raised.value.message == f"open the pin {bpffs}/missing: ENOENT: nothing is pinned there"
    with pytest.raises(KernelError, match="ENOENT: nothing is pinned there"):
        unpin(bpffs / "missing")


def test_missing_directory_is_named(bpffs: Path) -> None:
    with (
        make_map() as array,
        pytest.raises(KernelError, match=f"there is no directory {bpffs}/missing"),
    ):
        array.pin(bpffs / "missing" / "kept")


def test_name_with_a_dot_is_refused_with_another_one(bpffs: Path) -> None:
    with make_map() as array, pytest.raises(KernelError) as raised:
        array.pin(bpffs / "kept.map")
    assert "takes no name with a dot" in raised.value.message
    assert raised.value.hint == "take another name: kept_map"


def test_pin_of_another_kind_is_refused(bpffs: Path) -> None:
    with make_map() as array:
        array.pin(bpffs / "kept")
    before = len(live_handles())
    with pytest.raises(
        KernelError, match="it is of another kind: anon_inode:bpf-map, not a program"
    ):
        Program.open_pinned(bpffs / "kept")
    with pytest.raises(KernelError, match="not a link"):
        NetnsLink.open_pinned(bpffs / "kept")
    assert len(live_handles()) == before


@pytest.mark.parametrize("missing", [(), ("a", "b")])
def test_other_file_systems_are_refused_with_what_to_mount(
    tmp_path: Path, bpffs: Path, missing: tuple[str, ...]
) -> None:
    path = tmp_path.joinpath(*missing, "kept")
    with make_map() as array, pytest.raises(BpffsError) as raised:
        array.pin(path)
    assert f"{tmp_path} is not in a BPF file system" in raised.value.message
    assert raised.value.hint is not None
    assert "is mounted at" in raised.value.hint
    with pytest.raises(BpffsError):
        Map.open_pinned(path)
    with pytest.raises(BpffsError):
        unpin(path)
    with pytest.raises(BpffsError):
        require_bpffs(path, "apply the rules")
    assert not is_bpffs(path)


def test_file_elsewhere_is_neither_opened_nor_removed(tmp_path: Path) -> None:
    file = tmp_path / "precious"
    file.write_text("content")
    with pytest.raises(BpffsError):
        Map.open_pinned(file)
    with pytest.raises(BpffsError):
        unpin(file)
    assert file.read_text() == "content"


def test_hint_says_how_to_mount_where_none_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pins, "mounted_bpffs", lambda: iter(()))
    monkeypatch.setattr(pins, "STANDARD_BPFFS", str(tmp_path))
    with make_map() as array, pytest.raises(BpffsError, match="mount -t bpf bpf"):
        array.pin(tmp_path / "kept")
    with pytest.raises(BpffsError, match=r"ENOENT: none is mounted .*mount -t bpf bpf"):
        default_bpffs()


def test_mounted_file_system_is_found(bpffs: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert str(bpffs) in set(pins.mounted_bpffs())
    monkeypatch.setattr(pins, "STANDARD_BPFFS", str(bpffs))
    assert default_bpffs() == str(bpffs)
    monkeypatch.setattr(pins, "STANDARD_BPFFS", "/missing")
    assert is_bpffs(default_bpffs())


def test_require_takes_paths_that_do_not_exist_yet(bpffs: Path) -> None:
    require_bpffs(bpffs / "later" / "on", "apply the rules")


def test_pinned_link_keeps_its_program_attached(bpffs: Path, netns: Namespace) -> None:
    with (
        make_program() as program,
        NetnsLink.create(program, netns.fileno(), AttachType.SK_LOOKUP) as link,
    ):
        link.pin(bpffs / "link")
        id = link.id
    with NetnsLink.open_pinned(bpffs / "link") as found:
        assert found.id == id
        assert found.info().netns_ino == os.fstat(netns.fileno()).st_ino
