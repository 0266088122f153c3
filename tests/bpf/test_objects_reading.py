"""What an object file holds, as the reader gives it: no kernel is asked."""

from __future__ import annotations

import pytest

from inet_lookup.bpf.map_definitions import Pinning
from inet_lookup.bpf.objects import ObjectFile
from inet_lookup.bpf.uapi import AttachType, MapFlags, MapType, ProgramFlags, ProgramType
from inet_lookup.errors import ObjectFileError
from support import clang

CALL = 0x85
LOAD_64 = 0x18


@pytest.fixture(params=clang.VERSIONS)
def compiler(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def read(source: str, compiler: str = clang.VERSIONS[-1], *, debug: bool = True) -> ObjectFile:
    return ObjectFile.parse(clang.build(source, compiler, debug=debug), name=f"{source}.o")


def line_of(source: str, text: str) -> int:
    lines = (clang.SOURCES / f"{source}.c").read_text().splitlines()
    return next(number for number, line in enumerate(lines, 1) if text in line)


def test_programs_are_the_visible_functions_outside_of_text(compiler: str) -> None:
    found = read("steering", compiler)
    assert list(found.programs) == ["drop_wanted", "pass_wanted", "redirect", "on_request"]
    assert [program.section for program in found.programs.values()] == [
        "sk_lookup",
        "sk_lookup",
        "sk_lookup/redirect",
        "?sk_lookup",
    ]
    assert {(each.type, each.expected_attach_type) for each in found.programs.values()} == {
        (ProgramType.SK_LOOKUP, AttachType.SK_LOOKUP)
    }
    assert [name for name, each in found.programs.items() if not each.autoload] == ["on_request"]
    assert found.license == "Dual MIT/GPL"


def test_section_names_say_type_attach_type_and_flags(compiler: str) -> None:
    assert {
        name: (each.type, each.expected_attach_type)
        for name, each in read("dissect", compiler).programs.items()
    } == {
        "dissect": (ProgramType.FLOW_DISSECTOR, AttachType.FLOW_DISSECTOR),
        "drop_short": (ProgramType.XDP, AttachType.XDP),
        "with_frags": (ProgramType.XDP, AttachType.XDP),
        "on_sock_ops": (ProgramType.SOCK_OPS, AttachType.CGROUP_SOCK_OPS),
        "on_bind4": (ProgramType.CGROUP_SOCK_ADDR, AttachType.CGROUP_INET4_BIND),
        "on_connect6": (ProgramType.CGROUP_SOCK_ADDR, AttachType.CGROUP_INET6_CONNECT),
        "on_create": (ProgramType.CGROUP_SOCK, AttachType.CGROUP_INET_SOCK_CREATE),
        "select_socket": (ProgramType.SK_REUSEPORT, AttachType.SK_REUSEPORT_SELECT),
    }
    assert read("dissect").programs["with_frags"].flags == ProgramFlags.XDP_HAS_FRAGS


def test_a_section_name_that_says_nothing_leaves_the_type_open() -> None:
    assert read("untyped").programs["untyped"].type is None


def test_a_file_without_a_licence_has_an_empty_one() -> None:
    assert read("dissect").license == ""


def test_maps_have_what_their_declarations_say(compiler: str) -> None:
    maps = read("steering", compiler).maps
    servers, seen = maps["servers"], maps["seen"]
    assert (servers.type, servers.key_size, servers.value_size, servers.max_entries) == (
        MapType.SOCKMAP,
        4,
        8,
        2,
    )
    assert (seen.type, seen.key_size, seen.value_size, seen.max_entries, seen.flags) == (
        MapType.HASH,
        4,
        8,
        16,
        MapFlags.NO_PREALLOC,
    )
    assert seen.btf_key_type_id
    assert seen.btf_value_type_id
    assert read("pinned", compiler).maps["shared"].pinning == Pinning.BY_NAME


def test_sections_of_variables_are_maps_of_one_value(compiler: str) -> None:
    maps = read("steering", compiler).maps
    for name, contents in {
        ".rodata": b"\x50\0\0\0\xff\xff",
        ".data": b"\x07" + bytes(7) + b"\3\0\0\0",
    }.items():
        spec = maps[name]
        assert spec.holds_variables
        assert spec.contents is not None
        assert (spec.type, spec.max_entries, spec.value_size) == (MapType.ARRAY, 1, len(contents))
        assert bytes(spec.contents) == contents
    assert maps[".bss"].contents is None
    assert maps[".rodata"].frozen
    assert maps[".rodata"].flags & MapFlags.RDONLY_PROG
    assert not maps[".data"].frozen
    suffixed = read("data", compiler).maps
    assert {".data.separate", ".bss.table", ".rodata.names"} <= set(suffixed)
    assert suffixed[".rodata.names"].frozen


def test_maps_of_maps_know_their_inner_map_and_what_is_in_their_slots(compiler: str) -> None:
    maps = read("map_in_map", compiler).maps
    inner = maps["generations"].inner
    assert inner is not None
    assert (inner.type, inner.key_size, inner.value_size, inner.max_entries) == (
        MapType.ARRAY,
        4,
        4,
        2,
    )
    assert sorted(maps["generations"].slots) == [(1, "first"), (3, "second")]
    assert (maps["generations"].key_size, maps["generations"].value_size) == (4, 4)
    assert maps["by_cookie"].slots == ()
    assert maps["by_cookie"].key_size == 8
    assert maps["steps"].slots == ((1, "called"),)
    assert maps["steps"].inner is None


def test_variables_are_found_with_place_size_and_sign(compiler: str) -> None:
    variables = read("steering", compiler).variables
    assert {
        name: (each.map, each.offset, each.size, each.signed) for name, each in variables.items()
    } == {
        "port": (".rodata", 0, 4, False),
        "bias": (".rodata", 4, 2, True),
        "runs": (".data", 0, 8, False),
        "private_count": (".data", 8, 4, False),
        "passed": (".bss", 0, 8, False),
    }
    assert not read("data", compiler).variables["pair"].integer


def test_variables_are_found_by_symbol_without_btf(compiler: str) -> None:
    variables = read("data", compiler, debug=False).variables
    assert variables["mode"].encode(-1) == variables["mode"].encode(0xFFFFFFFF) == b"\xff" * 4
    assert {"mode", "enabled", "pair", "one_byte", "table", "names"} <= set(variables)


@pytest.mark.parametrize(
    ("name", "value", "reason"),
    [
        ("port", -1, "-1 does not fit into 4 unsigned bytes"),
        ("port", 1 << 32, "does not fit into 4 unsigned bytes"),
        ("bias", 40000, "40000 does not fit into 2 signed bytes"),
        ("port", b"\0\0", "it has 4 bytes, not 2"),
    ],
)
def test_values_that_do_not_fit_a_variable_are_refused(
    name: str, value: int | bytes, reason: str
) -> None:
    with pytest.raises(ObjectFileError, match=reason):
        read("steering").variables[name].encode(value)


def test_a_structure_takes_bytes_only() -> None:
    pair = read("data").variables["pair"]
    assert pair.encode(bytes(8)) == bytes(8)
    with pytest.raises(ObjectFileError, match="it is no integer"):
        pair.encode(1)


def test_called_functions_are_appended_once_and_calls_point_at_them(compiler: str) -> None:
    program = read("steering", compiler).programs["pass_wanted"]
    functions = {function.name: index for index, function in program.linked.functions}
    assert list(functions) == ["pass_wanted", "wanted", "count"]
    code = program.instructions
    targets = []
    for index in range(len(code) // 8):
        if code[index * 8] == CALL and code[index * 8 + 1] >> 4 == 1:
            distance = int.from_bytes(code[index * 8 + 4 : index * 8 + 8], "little", signed=True)
            targets.append(index + 1 + distance)
    assert sorted(targets) == sorted([functions["wanted"], functions["count"]])
    # A function that it does not call is not there.
    assert [
        f.name for _, f in read("steering", compiler).programs["redirect"].linked.functions
    ] == ["redirect"]


def test_relocations_name_the_map_and_the_place_in_its_value(compiler: str) -> None:
    program = read("steering", compiler).programs["drop_wanted"]
    assert {(each.map, each.value_offset) for each in program.relocations} == {
        (".data", 0),
        (".data", 8),
        (".rodata", 0),
    }
    descriptors = {".data": 10, ".rodata": 11}
    code = program.linked.with_maps(descriptors.__getitem__)
    for each in program.relocations:
        first, second = code[each.index * 8 :][:8], code[each.index * 8 + 8 :][:8]
        assert first[0] == LOAD_64
        assert first[1] >> 4 == 2  # BPF_PSEUDO_MAP_VALUE
        assert int.from_bytes(first[4:], "little") == descriptors[each.map]
        assert int.from_bytes(second[4:], "little") == each.value_offset


def test_every_instruction_knows_its_source_line_also_in_called_functions(compiler: str) -> None:
    program = read("steering", compiler).programs["pass_wanted"]
    places = [program.source_of(index) for index in range(len(program.instructions) // 8)]
    assert all(places)
    texts = {place.text.strip() for place in places if place}
    assert {"private_count++;", "passed++;", "if (value)"} <= texts
    wanted = next(place for place in places if place and place.text.strip() == "private_count++;")
    assert wanted.line == line_of("steering", "private_count++;")
    assert wanted.file.endswith("steering.c")
    assert wanted.column == 15
    assert str(wanted) == f"{wanted.file}:{wanted.line}"
    assert program.source_of(len(places)) is None
    assert program.source_of(-1) is None


def test_function_and_line_records_cover_all_functions_of_a_program(compiler: str) -> None:
    program = read("steering", compiler).programs["pass_wanted"]
    starts = [index for index, _ in program.linked.functions]
    assert list(memoryview(program.func_info).cast("I"))[::2] == starts
    lines = list(memoryview(program.line_info).cast("I"))[::4]
    assert lines == sorted(set(lines))
    assert set(starts) <= set(lines)


def test_without_btf_programs_are_read_but_maps_are_refused(compiler: str) -> None:
    program = read("dissect", compiler, debug=False).programs["dissect"]
    assert program.func_info == program.line_info == b""
    assert program.source_of(0) is None
    with pytest.raises(ObjectFileError, match=r"declares maps but has no BTF.*compile it with -g"):
        read("steering", compiler, debug=False)


@pytest.mark.parametrize(
    ("source", "reason"),
    [
        ("core", r"'sk_lookup' at offset 0x8: CO-RE relocation .* of struct 'sock_common'"),
        ("kernel_function", r"R_BPF_64_32 .*'sk_lookup' at 0x.* 'bpf_cast_to_kern_ctx': .*extern"),
        ("kernel_variable", r"R_BPF_64_64 .*'sk_lookup' at 0x.* 'bpf_prog_active': .*extern"),
        ("configuration", r"R_BPF_64_64 .*'sk_lookup' at 0x.* 'CONFIG_HZ': .*extern"),
        ("legacy_maps", r"section 'maps' \(struct bpf_map_def\).*SEC\(\"\.maps\"\)"),
        ("custom_section", r"R_BPF_64_64 .* against 'elsewhere': it is in section 'private'"),
        ("data_pointers", r"section '\.data' at 0x.*: a variable that holds an address"),
        ("map_setting", r"map 'placed': the setting 'numa_node' is not supported"),
    ],
)
def test_what_is_not_supported_is_refused_by_name(source: str, reason: str, compiler: str) -> None:
    with pytest.raises(ObjectFileError, match=reason) as refused:
        read(f"refused/{source}", compiler)
    assert f"refused/{source}.o: " in str(refused.value)
