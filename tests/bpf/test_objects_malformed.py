"""Objects that are broken or hostile: one kind of error, little time, little memory."""

from __future__ import annotations

import os
import struct
import subprocess
import sys
import textwrap
from collections.abc import Callable
from pathlib import Path

import pytest

from inet_lookup.bpf.objects import ObjectFile
from inet_lookup.errors import ObjectFileError
from support import clang, object_mutation
from support.elf_builder import (
    EXECUTE,
    LOCAL,
    NOBITS,
    OBJECT,
    R_BPF_64_32,
    R_BPF_64_64,
    R_BPF_64_ABS64,
    RELA,
    RETURN_1,
    SECTION,
    STRTAB,
    BtfBuilder,
    ElfBuilder,
    call,
    instruction,
    load_64,
)

MEMORY_MIB = 256


def parse(data: bytes) -> ObjectFile:
    return ObjectFile.parse(data, name="broken.o")


def with_program(*instructions: bytes) -> tuple[ElfBuilder, int]:
    """An object with one program ``steer`` in the section ``sk_lookup``."""
    elf = ElfBuilder()
    code = b"".join((*instructions, RETURN_1))
    section = elf.code("sk_lookup", code)
    elf.symbol("steer", section, 0, len(code))
    return elf, section


def with_map(**settings: int) -> ElfBuilder:
    """An object that declares the map ``values``."""
    elf, _ = with_program()
    btf = BtfBuilder()
    structure = btf.map(**settings)
    size = 8 * len(settings)
    btf.section(".maps", size, (btf.variable("values", structure), 0, size))
    elf.section(".maps", bytes(size))
    elf.section(".BTF", btf.build())
    return elf


def test_what_the_builder_builds_is_read() -> None:
    elf, _ = with_program()
    assert list(parse(elf.build()).programs) == ["steer"]
    spec = parse(with_map(type=2, max_entries=3, key_size=4, value_size=8).build()).maps["values"]
    assert (spec.max_entries, spec.value_size) == (3, 8)


def test_truncation_at_any_length_is_refused() -> None:
    data = clang.build("steering")
    for length in range(0, len(data), 5):
        with pytest.raises(ObjectFileError):
            parse(data[:length])


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"", "not an ELF file"),
        (b"#!/bin/sh\n", "not an ELF file.*clang -target bpf"),
        (b"\x7fELF", "truncated"),
        (Path("/proc/self/exe").read_bytes()[:4096], "for machine .*, not for BPF"),
    ],
)
def test_files_of_another_kind_are_refused(data: bytes, reason: str) -> None:
    with pytest.raises(ObjectFileError, match=reason):
        parse(data)


@pytest.mark.parametrize(
    ("header", "reason"),
    [
        ({"class": 1}, "not a 64-bit ELF file"),
        ({"order": 2}, "not a little-endian ELF file"),
        ({"machine": 62}, "built for machine 62, not for BPF"),
        ({"type": 3}, "ELF type 3 is not a relocatable object file"),
        ({"ehsize": 52}, "wrong sizes"),
        ({"shentsize": 40}, "wrong sizes"),
        ({"shnum": 0}, "0 sections"),
        ({"shnum": 0xFEFF}, "65279 sections"),
        ({"shoff": 1 << 63}, "section headers lie outside"),
        ({"shstrndx": 60}, "section 60 for the names"),
    ],
)
def test_headers_that_are_foreign_or_wrong_are_refused(header: dict[str, int], reason: str) -> None:
    elf, _ = with_program()
    elf.header = header
    with pytest.raises(ObjectFileError, match=f"^broken.o: {reason}|{reason}"):
        parse(elf.build())


def with_stray_call() -> ElfBuilder:
    return with_program(call(5))[0]


def with_kernel_call() -> ElfBuilder:
    return with_program(call(1234, source=2))[0]


def with_foreign_map() -> ElfBuilder:
    return with_program(load_64(source=1, immediate=3))[0]


def with_half_a_load() -> ElfBuilder:
    elf = ElfBuilder()
    section = elf.code("sk_lookup", RETURN_1, load_64())
    elf.symbol("steer", section, 0, 24)
    return elf


def with_half_an_instruction() -> ElfBuilder:
    elf, _ = with_program(b"\0\0\0")
    return elf


def with_overlap() -> ElfBuilder:
    elf, section = with_program(RETURN_1)
    elf.symbol("inside", section, 8, 8)
    return elf


def with_long_function() -> ElfBuilder:
    elf = ElfBuilder()
    elf.symbol("longer", elf.code("sk_lookup", RETURN_1), 8, 80)
    return elf


def with_two_programs_of_a_name() -> ElfBuilder:
    elf, _ = with_program()
    section = elf.code("sk_lookup/other", RETURN_1)
    elf.symbol("steer", section, 0, 16)
    return elf


def relocated(*entries: tuple[int, int], second: bytes = RETURN_1, type: int = 9) -> ElfBuilder:
    """A load and a second instruction, relocated by (offset, type) against a variable."""
    elf, code = with_program(load_64(), second)
    data = elf.section(".bss", b"", type=NOBITS, size=8)
    variable = elf.symbol("variable", data, 0, 8, type=OBJECT)
    elf.relocate(code, *((*entry, variable) for entry in entries), type=type)
    return elf


def with_variable_outside_its_section() -> ElfBuilder:
    elf, code = with_program(load_64(immediate=8))
    data = elf.section(".bss", b"", type=NOBITS, size=8)
    elf.relocate(code, (0, R_BPF_64_64, elf.symbol(".bss", data, type=SECTION, binding=LOCAL)))
    return elf


def with_pointer_into_a_map() -> ElfBuilder:
    elf = ElfBuilder()
    code = elf.code("sk_lookup", load_64(immediate=8), RETURN_1)
    elf.symbol("steer", code, 0, 32)
    btf = BtfBuilder()
    structure = btf.map(type=2, max_entries=1, key_size=4, value_size=4)
    btf.section(".maps", 32, (btf.variable("values", structure), 0, 32))
    maps = elf.section(".maps", bytes(32))
    elf.section(".BTF", btf.build())
    elf.relocate(code, (0, R_BPF_64_64, elf.symbol("values", maps, 0, 32, type=OBJECT)))
    return elf


def with_call_into_a_function() -> ElfBuilder:
    elf, code = with_program(call(0))
    text = elf.code(".text", RETURN_1)
    elf.symbol("called", text, 0, 16)
    elf.relocate(code, (0, R_BPF_64_32, elf.symbol(".text", text, type=SECTION, binding=LOCAL)))
    return elf


def with_symbol_number_out_of_range() -> ElfBuilder:
    elf, code = with_program(load_64())
    elf.relocate(code, (0, R_BPF_64_64, 1000))
    return elf


def with_absolute_symbol() -> ElfBuilder:
    elf, code = with_program(load_64())
    elf.relocate(code, (0, R_BPF_64_64, elf.symbol("absolute", 0xFFF1, type=OBJECT)))
    return elf


def with_two_sections_of_a_name() -> ElfBuilder:
    elf, _ = with_program()
    elf.section("license", b"GPL\0")
    elf.section("license", b"MIT\0")
    return elf


def with_struct_ops() -> ElfBuilder:
    elf, _ = with_program()
    elf.section(".struct_ops", bytes(8))
    return elf


def with_license(text: bytes) -> ElfBuilder:
    elf, _ = with_program()
    elf.section("license", text)
    return elf


def with_huge_data() -> ElfBuilder:
    elf, _ = with_program()
    elf.section(".bss", b"", type=NOBITS, size=1 << 62)
    return elf


def with_btf(data: bytes) -> ElfBuilder:
    elf, _ = with_program()
    elf.section(".BTF", data)
    return elf


def with_recursive_types() -> ElfBuilder:
    """A map whose type is a typedef of itself."""
    elf, _ = with_program()
    btf = BtfBuilder()
    btf.add("self", 8, 0, 1)
    btf.section(".maps", 8, (btf.variable("values", 1), 0, 8))
    elf.section(".maps", bytes(8))
    elf.section(".BTF", btf.build())
    return elf


def with_variable_of_btf_outside() -> ElfBuilder:
    elf, _ = with_program()
    btf = BtfBuilder()
    btf.section(".data", 4, (btf.variable("far", btf.integer("int", 4)), 100, 4))
    elf.section(".data", bytes(4))
    elf.section(".BTF", btf.build())
    return elf


def with_endless_values() -> ElfBuilder:
    """A map whose values are arrays of arrays of more bytes than a size can say."""
    elf, _ = with_program()
    btf = BtfBuilder()
    inner = btf.array(btf.integer("int", 4), 1 << 31)
    structure = btf.structure([("value", btf.pointer(btf.array(inner, 1 << 31)))])
    btf.section(".maps", 8, (btf.variable("values", structure), 0, 8))
    elf.section(".maps", bytes(8))
    elf.section(".BTF", btf.build())
    return elf


def with_path_as_map_name() -> ElfBuilder:
    elf, _ = with_program()
    btf = BtfBuilder()
    variable = btf.variable("../../escape", btf.map(type=2, max_entries=1))
    btf.section(".maps", 16, (variable, 0, 16))
    elf.section(".maps", bytes(16))
    elf.section(".BTF", btf.build())
    return elf


def with_line_info(records: bytes, *, header_size: int = 24) -> ElfBuilder:
    elf = with_btf(BtfBuilder(strings=bytearray(b"\0sk_lookup\0")).build())
    part = struct.pack("<III", 16, 1, len(records) // 16) + records
    header = struct.pack("<HBBIIIII", 0xEB9F, 1, 0, header_size, 0, 0, 0, len(part))
    elf.section(".BTF.ext", header + part)
    return elf


@pytest.mark.parametrize(
    ("build", "reason"),
    [
        (with_stray_call, "'sk_lookup' at 0x0: the called address is not the start of a function"),
        (with_kernel_call, "'sk_lookup' at 0x0: it calls a kernel function by number"),
        (with_foreign_map, "'sk_lookup' at 0x0: it refers to a map .* without a relocation"),
        (with_half_a_load, "function 'steer' ends within an instruction"),
        (with_half_an_instruction, "'sk_lookup' does not hold whole instructions"),
        (with_overlap, "functions 'steer' and 'inside' .* overlap"),
        (with_long_function, "function 'longer' .* does not fit into"),
        (with_two_programs_of_a_name, "two programs are named 'steer'"),
        (
            lambda: relocated((0, R_BPF_64_ABS64)),
            "R_BPF_64_ABS64 .*'variable': here only R_BPF_64_64",
        ),
        (lambda: relocated((0, 77)), "relocation of type 77 in section 'sk_lookup' at 0x0"),
        (
            lambda: relocated((16, R_BPF_64_64), second=call()),
            "at 0x10 .*: here only R_BPF_64_32 is supported",
        ),
        (
            lambda: relocated((16, R_BPF_64_32), second=call()),
            "at 0x10 .*: that is not the start of a function",
        ),
        (
            lambda: relocated((16, R_BPF_64_32), second=call(1, source=0)),
            "at 0x10 .*: the instruction is no call of a function",
        ),
        (lambda: relocated((24, R_BPF_64_64)), "at 0x18 .*: it does not apply to a call or a"),
        (lambda: relocated((4096, R_BPF_64_64)), "at 0x1000 .*: it does not apply to a call or a"),
        (lambda: relocated((4, R_BPF_64_64)), "at 0x4 .*: it does not apply to a call or a"),
        (lambda: relocated((0, R_BPF_64_64), (0, R_BPF_64_64)), "has another relocation"),
        (lambda: relocated((0, R_BPF_64_64), type=RELA), r"relocations with addends \(SHT_RELA\)"),
        (with_variable_outside_its_section, "0x8 lies outside of the 0x8 bytes of section '.bss'"),
        (with_pointer_into_a_map, "no map is declared at 0x8 of '.maps'"),
        (with_call_into_a_function, "'.text': that is not the start of a function"),
        (with_symbol_number_out_of_range, "uses symbol 1000 of"),
        (with_absolute_symbol, "'absolute': the symbol has no place in this file"),
        (with_two_sections_of_a_name, "2 sections are named 'license'"),
        (with_struct_ops, "section '.struct_ops' is not supported"),
        (lambda: with_license(b"x" * 200), "longer than 127"),
        (lambda: with_license(b"\xff\xfe\0"), "not ASCII"),
        (with_huge_data, "section '.bss' of .* bytes is larger than"),
        (lambda: with_btf(b""), r"\(\.BTF\): truncated"),
        (lambda: with_btf(b"\xeb\x9f" + bytes(40)), r"\(\.BTF\): magic 0x9feb"),
        (lambda: with_btf(BtfBuilder(types=bytearray(b"\0" * 12)).build()), "kind 0"),
        (lambda: with_btf(BtfBuilder(strings=bytearray(b"x\0")).build()), "strings do not start"),
        (with_recursive_types, "type 1 refers to itself"),
        (with_variable_of_btf_outside, "variable of section '.data' lies outside of it"),
        (with_path_as_map_name, r"is no variable: '\.\./\.\./escape'"),
        (with_endless_values, "map 'values': value_size is too large"),
        (lambda: with_map(max_entries=1), "map 'values': it has no type"),
        (lambda: with_map(type=2, pinning=2), "map 'values': pinning 2 is not supported"),
        (lambda: with_map(type=12, max_entries=1), "does not say what its maps are like"),
        (lambda: with_map(type=2, numa_node=1), "setting 'numa_node' is not supported"),
        (lambda: with_line_info(bytes(8) + b"\xff" * 4 + bytes(4)), "has no text"),
        (lambda: with_line_info(bytes(32)), "records of section 'sk_lookup' are not in order"),
        (lambda: with_line_info(bytes(16), header_size=1 << 31), r"\(\.BTF\.ext\): truncated"),
    ],
)
def test_each_malformation_is_refused_with_its_place(
    build: Callable[[], ElfBuilder], reason: str
) -> None:
    with pytest.raises(ObjectFileError, match=reason):
        parse(build().build())


def test_a_function_without_a_size_reaches_up_to_the_next_one() -> None:
    elf = ElfBuilder()
    section = elf.code("sk_lookup", RETURN_1, instruction(0xB7), RETURN_1)
    elf.symbol("second", section, 16)
    elf.symbol("first", section, 0)
    programs = parse(elf.build()).programs
    assert programs["first"].instructions == RETURN_1
    assert programs["second"].instructions == instruction(0xB7) + RETURN_1


def test_a_call_within_a_section_needs_no_relocation() -> None:
    elf = ElfBuilder()
    section = elf.code("sk_lookup", call(2), RETURN_1, RETURN_1)
    elf.symbol("steer", section, 0, 24)
    elf.symbol("called", section, 24, 16, binding=LOCAL)
    programs = parse(elf.build()).programs
    assert list(programs) == ["steer"]
    assert programs["steer"].instructions == call(2) + RETURN_1 + RETURN_1


# Files of some megabytes that are as costly to read as their author could make them.


def many_types() -> bytes:
    count = (16 << 20) // 12 - 10
    return with_btf(
        BtfBuilder(types=bytearray(struct.pack("<III", 0, 2 << 24, 1) * count)).build()
    ).build()


def many_unnamed_parameters() -> bytes:
    prototype = struct.pack("<III", 0, 13 << 24 | 65535, 0) + struct.pack("<II", 0, 1) * 65535
    an_int = struct.pack("<IIII", 0, 1 << 24, 4, 32)
    return with_btf(BtfBuilder(types=bytearray(an_int + prototype * 30)).build()).build()


def many_variables() -> bytes:
    elf, _ = with_program()
    btf = BtfBuilder()
    variable = btf.variable("v", btf.integer("int", 4))
    for _ in range(20):
        btf.section(".data", 8, *((variable, 0, 4) for _ in range(65535)))
    elf.section(".data", bytes(8))
    elf.section(".BTF", btf.build())
    return elf.build()


def many_lines() -> bytes:
    count = (31 << 20) // 16
    return with_line_info(
        b"".join(struct.pack("<IIII", 8 * number, 0, 0, 1 << 10) for number in range(count))
    ).build()


def many_calls() -> bytes:
    count = 999_998
    elf = ElfBuilder()
    code = RETURN_1 + b"".join(call(-(number + 3)) for number in range(count))
    elf.symbol("steer", elf.code("sk_lookup", code), 0, len(code))
    return elf.build()


def many_relocations() -> bytes:
    count = 262144
    elf, code = with_program(load_64() * count)
    data = elf.section(".bss", b"", type=NOBITS, size=64 << 20)
    variable = elf.symbol("variable", data, 0, 8, type=OBJECT)
    elf.relocate(code, *((16 * number, R_BPF_64_64, variable) for number in range(count)))
    return elf.build()


def many_programs_of_one_big_function() -> bytes:
    count = 20_000
    elf = ElfBuilder()
    text = elf.code(".text", RETURN_1 * 200_000)
    elf.symbol("big", text, 0, 16 * 200_000, binding=LOCAL)
    start = elf.symbol(".text", text, type=SECTION, binding=LOCAL)
    code = elf.code("sk_lookup", (call() + RETURN_1) * count)
    for number in range(count):
        elf.symbol(f"p{number}", code, 24 * number, 24)
    elf.relocate(code, *((24 * number, R_BPF_64_32, start) for number in range(count)))
    return elf.build()


def sections_over_one_stretch(flags: int, name: bytes) -> bytes:
    count, size = 8000, 20 << 20
    names = b"\0.strtab\0" + b"".join(name + b"%d\0" % number for number in range(count))
    starts = [0, 1]
    for number in range(count):
        starts.append(starts[-1] + (8 if number == 0 else len(name + b"%d\0" % (number - 1))))
    data = names.ljust(size, b"\0")
    headers = b"".join(
        struct.pack(
            "<IIQQQQIIQQ",
            starts[number],
            STRTAB if number == 1 else 1,
            flags,
            0,
            64 + 64 * count,
            size,
            0,
            0,
            0,
            0,
        )
        for number in range(count)
    )
    header = struct.pack(
        "<4sBBB9xHHIQQQIHHHHHH",
        b"\x7fELF",
        2,
        1,
        1,
        1,
        247,
        1,
        0,
        0,
        64,
        0,
        64,
        0,
        0,
        64,
        count,
        1,
    )
    return header + headers + data


def one_endless_name() -> bytes:
    data = bytearray(sections_over_one_stretch(0, b"x"))
    start = 64 + 64 * 8000
    data[start:-1] = b"x" * (len(data) - start - 1)
    return bytes(data)


def overlapping_code() -> bytes:
    return sections_over_one_stretch(EXECUTE, b"x")


def overlapping_data() -> bytes:
    return sections_over_one_stretch(0, b".data.")


HOSTILE = (
    many_types,
    many_unnamed_parameters,
    many_variables,
    many_lines,
    many_calls,
    many_relocations,
    many_programs_of_one_big_function,
    one_endless_name,
    overlapping_code,
    overlapping_data,
)

READ_LIMITED = textwrap.dedent(
    """
    import sys, time
    from pathlib import Path
    from inet_lookup.bpf.objects import ObjectFile
    from inet_lookup.errors import ObjectFileError
    from support.object_mutation import limit_memory

    data = Path(sys.argv[1]).read_bytes()
    limit_memory(int(sys.argv[2]))
    start = time.process_time()
    try:
        ObjectFile.parse(data, name="hostile.o")
    except ObjectFileError:
        pass
    print(time.process_time() - start)
    """
)


def in_tests(*arguments: str) -> subprocess.CompletedProcess[str]:
    """Run Python in a process of its own, with the tests' support modules."""
    environment = os.environ | {"PYTHONPATH": str(Path(__file__).parent.parent)}
    return subprocess.run(
        [sys.executable, *arguments], env=environment, capture_output=True, text=True, check=False
    )


@pytest.mark.parametrize("build", HOSTILE, ids=lambda build: build.__name__)
def test_hostile_files_cost_neither_much_memory_nor_much_time(
    build: Callable[[], bytes], tmp_path: Path
) -> None:
    path = tmp_path / "hostile.o"
    path.write_bytes(build())
    done = in_tests("-c", READ_LIMITED, str(path), str(MEMORY_MIB))
    assert done.returncode == 0, done.stderr[-2000:]
    assert float(done.stdout) < 10


def test_a_file_that_is_too_large_is_refused() -> None:
    with pytest.raises(ObjectFileError, match="33554433 bytes are more than"):
        parse(bytes((32 << 20) + 1))


def test_mutations_of_real_objects_are_read_or_refused_and_nothing_else(tmp_path: Path) -> None:
    paths = []
    for source in ("steering", "map_in_map", "data", "dissect", "newer_types"):
        for compiler in clang.VERSIONS:
            path = tmp_path / f"{source}-{compiler}.o"
            path.write_bytes(clang.build(source, compiler))
            paths.append(str(path))
    done = in_tests(
        object_mutation.__file__, "--count", "20000", "--memory", str(MEMORY_MIB), *paths
    )
    assert done.returncode == 0, done.stderr[-4000:]
    read, refused = (int(part.split()[0]) for part in done.stdout.split(",")[:2])
    # Neither outcome may swallow the other: then the mutations would test little.
    assert min(read, refused) > 2000
