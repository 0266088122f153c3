"""BTF: reading types, completing what a compiler leaves open, simplifying for older kernels."""

from __future__ import annotations

import struct

import pytest

from inet_lookup.bpf.btf import BtfTypes, Kind, Linkage
from inet_lookup.bpf.btf_adaptation import complete, simplify
from inet_lookup.bpf.elf_reader import ElfFile
from inet_lookup.bpf.kernel_btf import Btf
from inet_lookup.bpf.objects import ObjectFile
from inet_lookup.errors import KernelError, ObjectFileError
from support import clang
from support.elf_builder import FUNC, OBJECT, RETURN_1, BtfBuilder, ElfBuilder


def types_of(builder: BtfBuilder) -> BtfTypes:
    return BtfTypes(builder.build(), "test.o")


def raw_types(source: str, compiler: str) -> tuple[BtfTypes, ElfFile]:
    """The BTF as the compiler wrote it."""
    elf = ElfFile(clang.build(source, compiler), f"{source}.o")
    section = elf.section_named(".BTF")
    assert section is not None
    return BtfTypes(section.data, f"{source}.o"), elf


def test_sizes_follow_typedefs_qualifiers_arrays_and_variables() -> None:
    btf = BtfBuilder()
    an_int = btf.integer("int", 4, signed=True)
    alias = btf.add("alias", Kind.TYPEDEF, 0, btf.add("", Kind.CONST, 0, an_int))
    table = btf.array(btf.array(alias, 3), 5)
    pointer = btf.pointer(0)
    variable = btf.variable("v", table)
    types = types_of(btf)
    assert [types.size(each) for each in (an_int, alias, table, pointer, variable)] == [
        4,
        4,
        60,
        8,
        60,
    ]
    assert types.strip(alias).name == "int"
    assert types.signed(types[an_int])
    assert types[0].kind == Kind.VOID
    assert len(types) == 7


def test_types_without_a_size_or_an_end_are_refused() -> None:
    btf = BtfBuilder()
    prototype = btf.add("", Kind.FUNC_PROTO, 0, 0)
    itself = btf.add("self", Kind.TYPEDEF, 0, 2)
    endless = btf.array(3, 2)
    types = types_of(btf)
    with pytest.raises(ObjectFileError, match=r"type 1 \(FUNC_PROTO\) has no size"):
        types.size(prototype)
    for each in (itself, endless):
        with pytest.raises(ObjectFileError, match="refers to itself"):
            types.size(each)
    with pytest.raises(ObjectFileError, match="type 4 does not exist"):
        types[4]


def test_names_longer_than_the_kernels_are_refused_and_texts_are_cut() -> None:
    btf = BtfBuilder()
    btf.integer("x" * 5000, 4)
    types = types_of(btf)
    with pytest.raises(ObjectFileError, match="longer than 512"):
        types[1]
    assert types.text(1) == "x" * 4096


def test_members_of_a_structure_with_bit_fields_have_their_offsets() -> None:
    btf = BtfBuilder()
    an_int = btf.integer("int", 4)
    trailer = struct.pack("<6I", btf.name("a"), an_int, 3 << 24, btf.name("b"), an_int, 5 << 24 | 3)
    structure = btf.add("bits", Kind.STRUCT | 1 << 7, 2, 4, trailer)
    types = types_of(btf)
    members = list(types.members(types[structure]))
    assert [(each.name, each.bit_offset) for each in members] == [("a", 0), ("b", 3)]


@pytest.mark.parametrize("compiler", clang.VERSIONS)
def test_data_sections_get_the_sizes_and_offsets_that_the_compiler_left_open(compiler: str) -> None:
    before, elf = raw_types("steering", compiler)
    after = complete(before, elf)
    sections = {section.name: section.size for section in elf.sections}
    found = {each.name: each for each in after.of_kind(Kind.DATASEC)}
    assert {each.size_or_type for each in before.of_kind(Kind.DATASEC)} == {0}
    assert {name: each.size_or_type for name, each in found.items()} == {
        name: sections[name] for name in found
    }
    places = {
        after[each.type_id].name: (each.offset, each.size)
        for each in after.variables(found[".data"])
    }
    assert places == {"runs": (0, 8), "private_count": (8, 4)}
    assert len(before) == len(after)


def test_variables_are_placed_by_symbol_where_the_relocations_are_gone() -> None:
    btf = BtfBuilder()
    an_int = btf.integer("int", 4)
    first, second = btf.variable("first", an_int), btf.variable("second", an_int)
    btf.section(".data", 0, (first, 0, 4), (second, 0, 4))
    elf = ElfBuilder()
    data = elf.section(".data", bytes(8))
    elf.symbol("first", data, 4, 4, type=OBJECT)
    elf.symbol("second", data, 0, 4, type=OBJECT)
    elf.section(".BTF", btf.build())
    variables = ObjectFile.parse(elf.build(), name="stripped.o").variables
    assert {name: each.offset for name, each in variables.items()} == {"second": 0, "first": 4}


def test_a_function_that_is_hidden_becomes_static() -> None:
    before, elf = raw_types("hidden", clang.VERSIONS[-1])
    after = complete(before, elf)

    def linkages(types: BtfTypes) -> dict[str, int]:
        return {each.name: types.linkage(each) for each in types.of_kind(Kind.FUNC)}

    assert linkages(before) == {"port_of": Linkage.GLOBAL, "calls_hidden": Linkage.GLOBAL}
    assert linkages(after) == {"port_of": Linkage.STATIC, "calls_hidden": Linkage.GLOBAL}


def with_unnamed_parameter() -> bytes:
    """An object whose function's parameter has no name, as LLVM writes it without a variable."""
    btf = BtfBuilder()
    an_int = btf.integer("int", 4, signed=True)
    prototype = btf.add(
        "", Kind.FUNC_PROTO, 2, an_int, struct.pack("<4I", 0, btf.pointer(an_int), 0, an_int)
    )
    btf.add("steer", Kind.FUNC, 1, prototype)
    variadic = struct.pack("<4I", btf.name("named"), an_int, 0, 0)
    btf.add("", Kind.FUNC_PROTO, 2, an_int, variadic)
    elf = ElfBuilder()
    elf.symbol("steer", elf.code("sk_lookup", RETURN_1), 0, 16, type=FUNC)
    elf.section(".BTF", btf.build())
    return elf.build()


def test_parameters_without_a_name_get_one() -> None:
    types = ObjectFile.parse(with_unnamed_parameter(), name="unnamed.o").btf
    assert types is not None
    names = []
    for prototype in types.of_kind(Kind.FUNC_PROTO):
        at = prototype.offset + 12
        for number in range(prototype.vlen):
            name, type_id = struct.unpack_from("<II", types.data, at + 8 * number)
            names.append(types.name(name) if type_id else "...")
    assert names == ["arg0", "arg1", "named", "..."]


@pytest.mark.kernel
def test_the_kernel_refuses_what_is_completed_here() -> None:
    """Should a later kernel take it as it is, the adaptation can go."""
    elf = ElfFile(with_unnamed_parameter(), "unnamed.o")
    section = elf.section_named(".BTF")
    assert section is not None
    with pytest.raises(KernelError, match="Invalid arg#1"):
        Btf.load(bytes(section.data))
    Btf.load(bytes(complete(BtfTypes(section.data, "unnamed.o"), elf).data)).close()


@pytest.mark.kernel
@pytest.mark.parametrize("compiler", clang.VERSIONS)
def test_simplified_types_have_only_kinds_of_linux_5_9_and_the_kernel_takes_them(
    compiler: str,
) -> None:
    newer = {Kind.FLOAT, Kind.DECL_TAG, Kind.TYPE_TAG, Kind.ENUM64}
    types = ObjectFile.parse(clang.build("newer_types", compiler), name="newer.o").btf
    assert types is not None
    before = {each.kind for each in types.of_kind(*Kind)}
    # clang 14 knows no ENUM64.
    assert newer - before <= ({Kind.ENUM64} if compiler == "clang-14" else set())
    simpler = simplify(types, "newer.o")
    assert not newer & {each.kind for each in simpler.of_kind(*Kind)}
    assert len(simpler) == len(types)
    holder = {each.name: each for each in simpler.of_kind(Kind.STRUCT)}["holder"]
    assert [simpler.size(member.type_id) for member in simpler.members(holder)] == [8, 8, 8]
    Btf.load(bytes(simpler.data)).close()
