"""Turns the BTF of an object file into BTF that the kernel takes.

A compiler leaves to the loader what it cannot know when it writes an object: how large a data
section is and where its variables lie. And it writes what one kernel or another refuses:
:func:`complete` fills in and mends what every kernel wants, :func:`simplify` replaces the kinds of
types that came after Linux 5.9. Neither changes the id of a type.
"""

from __future__ import annotations

import struct
from typing import Final

from .btf import HEADER, MAGIC, TYPE, VERSION, BtfType, BtfTypes, Kind, Linkage
from .elf_reader import MAX_SYMBOLS, ElfFile, Symbol, SymbolType

_ENTRY: Final = struct.Struct("<III")
_WORD: Final = struct.Struct("<I")
_INFO_AT: Final = 4
_SIZE_AT: Final = 8
_ABSOLUTE: Final = frozenset({2, 3, 4, 10})
"""Relocations that LLVM has used for a variable's offset: R_BPF_64_ABS64, R_BPF_64_ABS32,
R_BPF_64_NODYLD32 (LLVM 13 and newer), R_BPF_64_32 (before)."""


def complete(types: BtfTypes, elf: ElfFile) -> BtfTypes:
    """Fill in the data sections, and mend what the kernel refuses in any version.

    - A DATASEC gets the size of its ELF section, and its variables their offsets: LLVM writes zeros
      and leaves relocations; the kernel wants the variables in ascending order.
    - A parameter without a name gets one: the kernel refuses a function that has such
      (``btf_func_check()``), and C and LLVM allow it.
    - A function that is hidden in the object becomes static: the kernel verifies a global one for
      any argument, a static one for those that its callers pass.

    :returns: new BTF with the same ids.
    :raises ObjectFileError: a data section's variables do not fit into it.
    """
    changed = bytearray(types.data)
    strings = bytearray(types.strings) or bytearray(1)
    _place_variables(types, elf, changed)
    _name_parameters(types, changed, strings)
    _hide_functions(types, elf, changed)
    start = types.types_offset
    return BtfTypes(_assemble(changed[start : start + len(types.types)], strings), elf.name)


def simplify(types: BtfTypes, owner: str) -> BtfTypes:
    """Replace the kinds of types that Linux 5.9 does not know.

    FLOAT becomes a structure of the same size, DECL_TAG (which nothing refers to) an integer,
    TYPE_TAG a ``const``, ENUM64 a union with a member for each value. Enumerations lose their sign.
    """
    changed = bytearray(types.data)
    strings = bytearray(types.strings)

    def rewrite(of: BtfType, kind: Kind, vlen: int, size_or_type: int, *, named: bool) -> None:
        name = int.from_bytes(changed[of.offset : of.offset + 4], "little") if named else 0
        TYPE.pack_into(changed, of.offset, name, kind << 24 | vlen, size_or_type)

    tag_name = len(strings)
    strings += b"decl_tag\0"
    an_integer = next((each.id for each in types.of_kind(Kind.INT)), 0)
    for each in types.of_kind(Kind.FLOAT, Kind.DECL_TAG, Kind.TYPE_TAG, Kind.ENUM, Kind.ENUM64):
        if each.kind == Kind.FLOAT:
            rewrite(each, Kind.STRUCT, 0, each.size_or_type, named=True)
        elif each.kind == Kind.DECL_TAG:
            # The four bytes behind it, its component index, become the integer's encoding.
            rewrite(each, Kind.INT, 0, 1, named=False)
            _WORD.pack_into(changed, each.offset, tag_name)
            _WORD.pack_into(changed, each.offset + TYPE.size, 8)
        elif each.kind == Kind.TYPE_TAG:
            rewrite(each, Kind.CONST, 0, each.size_or_type, named=False)
        elif each.kind == Kind.ENUM:
            rewrite(each, Kind.ENUM, each.vlen, each.size_or_type, named=True)
        else:
            rewrite(each, Kind.UNION, each.vlen, each.size_or_type, named=True)
            for number in range(each.vlen):
                at = each.offset + TYPE.size + number * _ENTRY.size
                _ENTRY.pack_into(changed, at, *(_WORD.unpack_from(changed, at)[0], an_integer, 0))
    start = types.types_offset
    return BtfTypes(_assemble(changed[start : start + len(types.types)], strings), owner)


def make_functions_static(types: BtfTypes, owner: str) -> BtfTypes:
    """Have the kernel verify every function for what its callers pass, as before Linux 5.6.

    For programs of an interface that the kernel does not know by name: of a global function, it
    would take a pointer to the context's structure for one to memory, and refuse each call.
    """
    changed = bytearray(types.data)
    for function in types.of_kind(Kind.FUNC):
        _WORD.pack_into(changed, function.offset + _INFO_AT, Kind.FUNC << 24 | Linkage.STATIC)
    start = types.types_offset
    return BtfTypes(
        _assemble(changed[start : start + len(types.types)], bytearray(types.strings)), owner
    )


def _assemble(types: bytearray, strings: bytearray) -> bytes:
    header = HEADER.pack(MAGIC, VERSION, 0, HEADER.size, 0, len(types), len(types), len(strings))
    return header + types + strings


def _place_variables(types: BtfTypes, elf: ElfFile, changed: bytearray) -> None:
    sections = {section.name: section for section in elf.sections if section.name}
    btf_section = elf.section_named(".BTF")
    places: dict[int, Symbol] = {}
    if btf_section is not None:
        places = {
            relocation.offset: relocation.symbol
            for relocation in elf.relocations(btf_section)
            if relocation.type in _ABSOLUTE
        }
    # A linker or a strip that drops the relocations leaves the symbols' names to go by.
    symbols = {} if places else _objects_by_name(elf)
    count = 0
    for datasec in types.of_kind(Kind.DATASEC):
        count += datasec.vlen
        if count > MAX_SYMBOLS:
            raise types.error(f"more than {MAX_SYMBOLS} variables in sections")
        section = sections.get(datasec.name)
        if section is None:
            continue
        unplaced = not datasec.size_or_type
        _WORD.pack_into(changed, datasec.offset + _SIZE_AT, min(section.size, 0xFFFFFFFF))
        entries = []
        for variable in types.variables(datasec):
            offset, size = variable.offset, variable.size
            symbol = places.get(variable.entry + 4)
            if symbol is not None and symbol.section == section.index:
                # For static variables, the section's own symbol: the offset stands in place.
                offset += symbol.value
            elif unplaced and symbols:
                symbol = symbols.get((section.index, types[variable.type_id].name))
                offset = offset if symbol is None else symbol.value
            if size > section.size or offset > section.size - size:
                raise types.error(
                    f"a variable of section {section.name!r} lies outside of it,"
                    f" {size} bytes at {offset}"
                )
            entries.append((variable.type_id, offset, size))
        entries.sort(key=lambda entry: entry[1])
        for number, entry in enumerate(entries):
            at = datasec.offset + TYPE.size + number * _ENTRY.size
            _ENTRY.pack_into(changed, at, *entry)


def _objects_by_name(elf: ElfFile) -> dict[tuple[int, str], Symbol]:
    return {
        (symbol.section, symbol.name): symbol
        for symbol in elf.symbols
        if symbol.type == SymbolType.OBJECT
    }


def _name_parameters(types: BtfTypes, changed: bytearray, strings: bytearray) -> None:
    names: dict[int, int] = {}
    for prototype in types.of_kind(Kind.FUNC_PROTO):
        for number in range(prototype.vlen):
            at = prototype.offset + TYPE.size + number * 8
            name, type_id = struct.unpack_from("<II", changed, at)
            # A last parameter without name and type stands for "...".
            if name or not type_id:
                continue
            if number not in names:
                names[number] = len(strings)
                strings += f"arg{number}\0".encode()
            _WORD.pack_into(changed, at, names[number])


def _hide_functions(types: BtfTypes, elf: ElfFile, changed: bytearray) -> None:
    hidden = {
        symbol.name
        for symbol in elf.symbols
        if symbol.type == SymbolType.FUNC and symbol.hidden and symbol.section
    }
    if not hidden:
        return
    for function in types.of_kind(Kind.FUNC):
        if function.name in hidden and types.linkage(function) == Linkage.GLOBAL:
            info = Kind.FUNC << 24 | Linkage.STATIC
            _WORD.pack_into(changed, function.offset + _INFO_AT, info)
