"""Objects in the kernel: loaded, run, attached, and rejected with their source line."""

from __future__ import annotations

import os
import socket
import struct
from dataclasses import replace
from pathlib import Path
from typing import Self

import pytest

from inet_lookup.bpf import object_loading
from inet_lookup.bpf.handle import live_handles
from inet_lookup.bpf.kernel_btf import Btf
from inet_lookup.bpf.links import NetnsLink, query
from inet_lookup.bpf.maps import Map
from inet_lookup.bpf.objects import LoadedObject, ObjectFile
from inet_lookup.bpf.programs import Program
from inet_lookup.bpf.uapi import AttachType, MapFlags, MapType, ProgramType
from inet_lookup.errors import KernelError, ObjectFileError, VerifierError
from inet_lookup.net.namespaces import Namespace
from support import clang
from support.elf_builder import RETURN_1, ElfBuilder, instruction

pytestmark = pytest.mark.kernel

DROP, PASS = 0, 1


@pytest.fixture(params=clang.VERSIONS)
def compiler(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def read(source: str, compiler: str = clang.VERSIONS[-1], *, debug: bool = True) -> ObjectFile:
    return ObjectFile.parse(clang.build(source, compiler, debug=debug), name=f"{source}.o")


def context(local_port: int) -> bytes:
    """A ``struct bpf_sk_lookup`` of TCP over IPv4, from 192.0.2.2:4000 to 127.0.0.1."""
    return struct.pack(
        "<QII4s16s2s2x4s16sII",
        0,
        socket.AF_INET,
        socket.IPPROTO_TCP,
        socket.inet_aton("192.0.2.2"),
        bytes(16),
        struct.pack(">H", 4000),
        socket.inet_aton("127.0.0.1"),
        bytes(16),
        local_port,
        0,
    )


def verdict(program: Program, local_port: int = 80) -> int:
    return program.test_run(context(local_port)).retval


def variable(loaded: LoadedObject, of: ObjectFile, name: str) -> int:
    """The value of a global variable in the kernel."""
    found = of.variables[name]
    value = loaded.maps[found.map].lookup(0)
    assert value is not None
    data = value[found.offset : found.offset + found.size]
    return int.from_bytes(data, "little", signed=bool(found.signed))


def pins(bpffs: Path) -> list[str]:
    """What is pinned; the kernel puts two listings of its own into a bpffs."""
    return sorted(set(os.listdir(bpffs)) - {"maps.debug", "progs.debug"})


def line_of(source: str, text: str) -> int:
    lines = (clang.SOURCES / f"{source}.c").read_text().splitlines()
    return next(number for number, line in enumerate(lines, 1) if text in line)


def test_several_programs_share_maps_globals_and_subprograms(compiler: str) -> None:
    found = read("steering", compiler)
    with found.load() as loaded:
        assert sorted(loaded.programs) == ["drop_wanted", "pass_wanted", "redirect"]
        assert {each.type for each in loaded.programs.values()} == {ProgramType.SK_LOOKUP}
        assert verdict(loaded.programs["drop_wanted"], 80) == DROP
        assert verdict(loaded.programs["drop_wanted"], 81) == PASS
        assert verdict(loaded.programs["pass_wanted"], 80) == PASS
        assert verdict(loaded.programs["pass_wanted"], 81) == DROP
        assert variable(loaded, found, "runs") == 9
        assert variable(loaded, found, "passed") == 1
        assert variable(loaded, found, "private_count") == 7
        assert loaded.maps["seen"].lookup(80) == struct.pack("<Q", 1)


def test_a_program_redirects_to_the_socket_in_its_map(compiler: str) -> None:
    with (
        read("steering", compiler).load(programs=["redirect"]) as loaded,
        socket.create_server(("127.0.0.1", 0)) as server,
    ):
        assert list(loaded.programs) == ["redirect"]
        loaded.maps["servers"].update(1, server.fileno())
        run = loaded.programs["redirect"].test_run(context(80))
        (cookie,) = struct.unpack_from("<Q", run.ctx_out)
        so_cookie = 57
        assert server.getsockopt(socket.SOL_SOCKET, so_cookie, 8) == struct.pack("<Q", cookie)


def test_programs_attach_to_a_namespace(compiler: str, netns: Namespace) -> None:
    with (
        read("steering", compiler).load() as loaded,
        NetnsLink.create(
            loaded.programs["drop_wanted"], netns.fileno(), AttachType.SK_LOOKUP
        ) as first,
        NetnsLink.create(
            loaded.programs["pass_wanted"], netns.fileno(), AttachType.SK_LOOKUP
        ) as second,
    ):
        assert query(netns.fileno(), AttachType.SK_LOOKUP) == [
            first.info().program_id,
            second.info().program_id,
        ]


def test_flow_dissector_and_xdp_programs_load_and_run(compiler: str) -> None:
    with read("dissect", compiler).load() as loaded:
        assert {name: each.type for name, each in loaded.programs.items()} == {
            "dissect": ProgramType.FLOW_DISSECTOR,
            "drop_short": ProgramType.XDP,
            "with_frags": ProgramType.XDP,
            "on_sock_ops": ProgramType.SOCK_OPS,
            "on_bind4": ProgramType.CGROUP_SOCK_ADDR,
            "on_connect6": ProgramType.CGROUP_SOCK_ADDR,
            "on_create": ProgramType.CGROUP_SOCK,
            "select_socket": ProgramType.SK_REUSEPORT,
        }
        xdp_drop, xdp_pass = 1, 2
        assert loaded.programs["drop_short"].test_run(data=bytes(63)).retval == xdp_drop
        assert loaded.programs["drop_short"].test_run(data=bytes(64)).retval == xdp_pass
        ipv4 = bytes(12) + b"\x08\x00" + b"\x45" + bytes(50)
        dissected = loaded.programs["dissect"].test_run(data=ipv4)
        nhoff, thoff, _addr_proto, is_frag = struct.unpack_from("<HHHB", dissected.data_out)
        assert (nhoff, thoff, is_frag) == (14, 34, 1)


def test_programs_without_btf_run(compiler: str) -> None:
    with read("dissect", compiler, debug=False).load(programs=["drop_short"]) as loaded:
        assert loaded.btf_refusal is None
        assert loaded.programs["drop_short"].info().btf_id == 0
        assert loaded.programs["drop_short"].test_run(data=bytes(64)).retval == 2


def test_constants_set_before_the_load_change_the_verdict(compiler: str) -> None:
    found = read("steering", compiler)
    with found.load(variables={"port": 8080, "bias": -2, "runs": 100, "passed": 5}) as loaded:
        assert verdict(loaded.programs["drop_wanted"], 80) == PASS
        assert verdict(loaded.programs["drop_wanted"], 8080) == DROP
        assert variable(loaded, found, "port") == 8080
        assert variable(loaded, found, "bias") == -2
        assert variable(loaded, found, "runs") == 102
        assert variable(loaded, found, "passed") == 5
    with found.load() as loaded:
        assert variable(loaded, found, "port") == 80


def test_constants_are_frozen_and_known_to_the_verifier(compiler: str) -> None:
    found = read("data", compiler)
    with found.load() as as_written, found.load(variables={"enabled": 0}) as disabled:
        with pytest.raises(KernelError, match="EPERM"):
            as_written.maps[".rodata"].update(0, bytes(as_written.maps[".rodata"].value_size))
        # A constant false cuts off what follows it.
        assert (
            disabled.programs["read_globals"].info().xlated_insns
            < as_written.programs["read_globals"].info().xlated_insns
        )


def test_all_sections_of_variables_and_callbacks_work(compiler: str) -> None:
    found = read("data", compiler)
    with found.load(programs=["read_globals", "loop"]) as loaded:
        assert verdict(loaded.programs["read_globals"], 80) == PASS
        assert verdict(loaded.programs["read_globals"], 81) == PASS
        assert loaded.maps[".bss.table"].lookup(0) == struct.pack("<4I", 0, 0, 0, 2)
        assert loaded.maps[".data"].lookup(0) == struct.pack("<2I", 1, 4)
        assert verdict(loaded.programs["loop"]) == PASS
    with found.load(variables={"mode": -1, "pair": struct.pack("<2I", 7, 8)}) as loaded:
        assert verdict(loaded.programs["read_globals"]) == DROP
        assert loaded.maps[".data"].lookup(0) == struct.pack("<2I", 7, 9)


def test_variables_can_be_mapped_into_memory() -> None:
    with read("steering").load() as loaded, loaded.maps[".bss"].mmap(writable=False):
        assert loaded.maps[".bss"].flags == MapFlags.MMAPABLE


def test_maps_of_maps_and_of_programs_are_filled_as_written(compiler: str) -> None:
    with read("map_in_map", compiler).load() as loaded:
        second = loaded.maps["second"]
        assert loaded.maps["generations"].lookup(3) == struct.pack("<I", second.id)
        assert loaded.maps["generations"].lookup(0) is None
        second.update(1, 443)
        assert verdict(loaded.programs["look_inside"], 443) == PASS
        assert verdict(loaded.programs["look_inside"], 80) == DROP
        assert verdict(loaded.programs["jump"]) == DROP
        with Map.create(MapType.ARRAY, key_size=4, value_size=4, max_entries=2) as other:
            other.update(1, 80)
            loaded.maps["generations"].update(3, other)
            loaded.maps["by_cookie"].update(struct.pack("<Q", 1), other)
            assert verdict(loaded.programs["look_inside"], 80) == PASS


def test_a_slot_for_a_program_that_is_not_loaded_is_refused() -> None:
    with pytest.raises(ObjectFileError, match="slot 1 of map 'steps' is to hold 'called'"):
        read("map_in_map").load(programs=["jump"])


def test_hidden_functions_are_verified_with_their_callers_arguments(compiler: str) -> None:
    with read("hidden", compiler).load() as loaded:
        assert verdict(loaded.programs["calls_hidden"], 80) == PASS
        assert verdict(loaded.programs["calls_hidden"], 81) == DROP


@pytest.mark.parametrize(
    ("program", "marker"),
    [
        ("in_program", "rejected: in the program"),
        ("in_subprogram", "rejected: in a subprogram"),
    ],
)
def test_a_rejection_shows_the_line_of_c(program: str, marker: str, compiler: str) -> None:
    with pytest.raises(VerifierError) as rejected:
        read("rejected", compiler).load(programs=[program])
    error = rejected.value
    assert error.location is not None
    assert error.location.endswith(f"rejected.c:{line_of('rejected', marker)}")
    assert error.source is not None
    assert marker in error.source
    assert marker in str(error)
    assert "invalid mem access 'map_value_or_null'" in error.summary
    assert "processed" in error.log


def test_the_kernel_has_the_source_lines_and_names_of_types(compiler: str) -> None:
    with read("steering", compiler).load() as loaded:
        assert loaded.btf_refusal is None
        lines = loaded.programs["pass_wanted"].source_lines()
        assert "passed++;" in [each.source.text.strip() for each in lines]
        assert loaded.maps["seen"].info().btf_value_type_id
        assert loaded.maps[".bss"].info().btf_value_type_id


@pytest.mark.parametrize("refusals", [1, 2])
def test_btf_that_the_kernel_refuses_is_simplified_or_left_out(
    refusals: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    tried = []

    class OlderKernel(Btf):
        @classmethod
        def load(cls, raw: bytes) -> Self:
            tried.append(raw)
            return super().load(raw[:-1] if len(tried) <= refusals else raw)

    monkeypatch.setattr(object_loading, "Btf", OlderKernel)
    with read("newer_types").load() as loaded:
        assert len(tried) == 2
        assert verdict(loaded.programs["uses"]) == PASS
        has_types = loaded.programs["uses"].info().btf_id != 0
        assert has_types == (refusals == 1)
        assert bool(loaded.programs["uses"].source_lines()) == has_types
        assert (loaded.btf_refusal is None) == has_types


def test_maps_given_take_the_place_of_those_declared(compiler: str) -> None:
    found = read("steering", compiler)
    with Map.create(MapType.HASH, key_size=4, value_size=8, max_entries=16) as seen:
        with found.load(maps={"seen": seen}) as loaded:
            assert loaded.maps["seen"] is seen
            verdict(loaded.programs["pass_wanted"], 80)
            assert seen.id in loaded.programs["pass_wanted"].info().map_ids
        assert seen.lookup(80) == struct.pack("<Q", 1)


def test_variables_go_on_in_another_load_when_their_map_is_given() -> None:
    found = read("steering")
    with found.load() as first:
        verdict(first.programs["drop_wanted"])
        with found.load(maps={".data": first.maps[".data"]}) as second:
            verdict(second.programs["drop_wanted"])
            assert variable(second, found, "runs") == 9
            with pytest.raises(ObjectFileError, match=r"'runs' is in '\.data', which is given"):
                found.load(maps={".data": first.maps[".data"]}, variables={"runs": 1})


@pytest.mark.parametrize("value_size", [4, 8])
def test_a_map_of_sockets_fits_with_either_size_of_values(value_size: int) -> None:
    with (
        Map.create(MapType.SOCKMAP, key_size=4, value_size=value_size, max_entries=2) as servers,
        read("steering").load(maps={"servers": servers}) as loaded,
    ):
        assert verdict(loaded.programs["redirect"]) == PASS


@pytest.mark.parametrize(
    ("type", "key_size", "value_size", "max_entries", "reason"),
    [
        (MapType.LRU_HASH, 4, 8, 16, "type lru_hash instead of hash"),
        (MapType.HASH, 8, 8, 16, "key_size 8 instead of 4"),
        (MapType.HASH, 4, 4, 16, "value_size 4 instead of 8"),
        (MapType.HASH, 4, 8, 17, "max_entries 17 instead of 16"),
        (MapType.HASH, 2, 8, 1, "key_size 2 instead of 4, max_entries 1 instead of 16"),
    ],
)
def test_a_map_that_does_not_fit_is_refused(
    type: MapType, key_size: int, value_size: int, max_entries: int, reason: str
) -> None:
    with (
        Map.create(
            type, key_size=key_size, value_size=value_size, max_entries=max_entries, name="given"
        ) as given,
        pytest.raises(ObjectFileError, match=f"map 'given' .* of 'seen': {reason}$"),
    ):
        read("steering").load(maps={"seen": given})


def test_names_that_are_not_in_the_file_are_refused_with_those_that_are() -> None:
    found = read("steering")
    with pytest.raises(ObjectFileError, match=r"no program 'x' \(it has drop_wanted, "):
        found.load(programs=["x"])
    with pytest.raises(ObjectFileError, match=r"no variable 'x' \(it has .*port"):
        found.load(variables={"x": 1})
    with (
        Map.create(MapType.ARRAY, key_size=4, value_size=4, max_entries=1) as given,
        pytest.raises(ObjectFileError, match=r"no map 'x' \(it has .*servers"),
    ):
        found.load(maps={"x": given})


def test_programs_marked_with_a_question_mark_load_on_request() -> None:
    with read("steering").load(programs=["on_request"]) as loaded:
        assert list(loaded.programs) == ["on_request"]
        assert verdict(loaded.programs["on_request"]) == DROP


def test_the_type_of_a_program_can_be_given() -> None:
    found = read("untyped")
    with pytest.raises(ObjectFileError, match="section 'steer/me' of program 'untyped' does not"):
        found.load()
    with found.load(
        program_type=ProgramType.SK_LOOKUP, expected_attach_type=AttachType.SK_LOOKUP
    ) as loaded:
        assert verdict(loaded.programs["untyped"]) == PASS


def test_the_licence_is_the_files_unless_given() -> None:
    with read("steering").load() as loaded:
        assert loaded.programs["redirect"].info().gpl_compatible
    with read("steering").load(license="Apache-2.0") as loaded:
        assert not loaded.programs["redirect"].info().gpl_compatible
    with read("dissect").load() as loaded:
        assert not loaded.programs["dissect"].info().gpl_compatible


def test_maps_declared_as_pinned_are_shared_by_name(compiler: str, bpffs: Path) -> None:
    found = read("pinned", compiler)
    with found.load(pin_directory=bpffs) as first:
        assert pins(bpffs) == ["shared"]
        verdict(first.programs["count"])
        with found.load(pin_directory=bpffs) as second:
            verdict(second.programs["count"])
            assert second.maps["shared"].id == first.maps["shared"].id
            assert second.maps["shared"].lookup(2) == struct.pack("<Q", 2)
    with pytest.raises(ObjectFileError, match="'shared' is declared to be pinned by name"):
        found.load()
    with Map.create(MapType.ARRAY, key_size=4, value_size=8, max_entries=4) as given:
        found.load(maps={"shared": given}).close()


def test_a_pinned_map_that_does_not_fit_is_refused(bpffs: Path) -> None:
    with Map.create(MapType.ARRAY, key_size=4, value_size=4, max_entries=4) as other:
        other.pin(bpffs / "shared")
    with pytest.raises(ObjectFileError, match="value_size 4 instead of 8"):
        read("pinned").load(pin_directory=bpffs)
    assert pins(bpffs) == ["shared"]


def test_when_a_program_is_rejected_nothing_stays_open_or_pinned(bpffs: Path) -> None:
    found = read("pinned")
    rejecting = ElfBuilder()
    section = rejecting.code("sk_lookup", RETURN_1, instruction(0x95))
    rejecting.symbol("refused_late", section, 0, 16)
    rejecting.symbol("bad", section, 16, 8)
    before = set(map(id, live_handles()))
    with pytest.raises(VerifierError, match="'bad'"):
        ObjectFile.parse(rejecting.build(), name="rejecting.o").load()
    with pytest.raises(KernelError):
        found.load(pin_directory=bpffs, program_type=ProgramType.TRACING)
    with pytest.raises(VerifierError):
        read("rejected").load()
    assert set(map(id, live_handles())) <= before
    assert pins(bpffs) == []


def test_when_a_map_cannot_be_made_nothing_stays_open() -> None:
    found = read("steering")
    endless = replace(found.maps["seen"], max_entries=0xFFFFFFFF)
    before = set(map(id, live_handles()))
    with pytest.raises(KernelError, match="create map 'seen'"):
        replace(found, maps={**found.maps, "seen": endless}).load()
    assert set(map(id, live_handles())) <= before


def test_closing_closes_what_was_made_and_leaves_what_was_given() -> None:
    with Map.create(MapType.HASH, key_size=4, value_size=8, max_entries=16) as seen:
        loaded = read("steering").load(maps={"seen": seen})
        made = [*loaded.programs.values(), *(m for m in loaded.maps.values() if m is not seen)]
        loaded.close()
        loaded.close()
        assert all(each.closed for each in made)
        assert not seen.closed
        assert loaded.closed
