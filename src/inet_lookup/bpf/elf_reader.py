"""Reads the parts of an ELF file that a BPF object uses: sections, symbols and relocations.

Only what compilers emit for BPF is read: a relocatable (``ET_REL``) 64-bit little-endian file for
``EM_BPF``, as the ELF specification (gABI, chapters 4 and 5) lays it out. The file is not trusted:
every offset, count and name is bounded before it is used, so that reading takes time and memory in
proportion to the file's size and fails with nothing but
:class:`~inet_lookup.errors.ObjectFileError`. A general ELF library does not promise that: names
of sections and symbols may share one huge string, and reading each of them in full is quadratic.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from enum import IntEnum
from typing import Final

from ..errors import ObjectFileError

MAX_FILE_SIZE: Final = 32 << 20
MAX_SECTIONS: Final = 8192
MAX_SYMBOLS: Final = 65536
MAX_RELOCATIONS: Final = 262144
MAX_NAME: Final = 512

_HEADER: Final = struct.Struct("<16sHHIQQQIHHHHHH")
_SECTION: Final = struct.Struct("<IIQQQQIIQQ")
_SYMBOL: Final = struct.Struct("<IBBHQQ")
_RELOCATION: Final = struct.Struct("<QQ")

_ET_REL: Final = 1
_EM_BPF: Final = 247
_SHN_LORESERVE: Final = 0xFF00
_SHF_COMPRESSED: Final = 0x800
_SHF_EXECINSTR: Final = 0x4

SHN_UNDEF: Final = 0


class SectionType(IntEnum):
    """The section types (``SHT_*``) that matter in a BPF object."""

    NULL = 0
    PROGBITS = 1
    SYMTAB = 2
    STRTAB = 3
    RELA = 4
    NOBITS = 8
    REL = 9


class SymbolType(IntEnum):
    """The symbol types (``STT_*``) that matter in a BPF object."""

    NOTYPE = 0
    OBJECT = 1
    FUNC = 2
    SECTION = 3


class Binding(IntEnum):
    """How a symbol is bound (``STB_*``)."""

    LOCAL = 0
    GLOBAL = 1
    WEAK = 2


@dataclass(frozen=True, slots=True)
class Section:
    """One section.

    :ivar type: an ``SHT_*`` number, not limited to :class:`SectionType`.
    :ivar size: in bytes; a ``NOBITS`` section has a size but no ``data``.
    :ivar data: the content, a view of the file.
    """

    index: int
    name: str
    type: int
    flags: int
    size: int
    link: int
    info: int
    entry_size: int
    data: memoryview

    @property
    def executable(self) -> bool:
        """Whether the section holds instructions."""
        return self.type == SectionType.PROGBITS and bool(self.flags & _SHF_EXECINSTR)


@dataclass(frozen=True, slots=True)
class Symbol:
    """One entry of the symbol table.

    :ivar value: offset in bytes from the start of its section.
    :ivar section: index of its section; 0 (``SHN_UNDEF``) for a symbol defined elsewhere, 0xff00
        and above for special ones (absolute, common).
    :ivar hidden: whether the visibility keeps the symbol inside its component (``STV_HIDDEN``,
        ``STV_INTERNAL``).
    """

    name: str
    type: int
    binding: int
    hidden: bool
    section: int
    value: int
    size: int


@dataclass(frozen=True, slots=True)
class Relocation:
    """One relocation without explicit addend (``SHT_REL``): the addend stands where it applies.

    :ivar offset: in bytes from the start of the section that it changes.
    :ivar type: an ``R_BPF_*`` number.
    """

    offset: int
    type: int
    symbol: Symbol


class ElfFile:
    """The sections, symbols and relocations of one BPF object.

    :param data: the whole file.
    :param name: what messages call the file.
    :raises ObjectFileError: the file is truncated, contradicts itself, is too large, or is not a
        relocatable 64-bit little-endian BPF object.
    """

    def __init__(self, data: bytes, name: str) -> None:
        self.name = name
        if len(data) > MAX_FILE_SIZE:
            raise self.error(f"{len(data)} bytes are more than the {MAX_FILE_SIZE} allowed")
        self._data = memoryview(data)
        self.sections = self._read_sections()
        self.symbols = self._read_symbols()

    def error(self, problem: str, *, hint: str | None = None) -> ObjectFileError:
        """Make the error that names this file."""
        return ObjectFileError(f"{self.name}: {problem}", hint=hint)

    def section_named(self, name: str) -> Section | None:
        """Return the first section of that name, or None.

        :raises ObjectFileError: there are several.
        """
        found = [section for section in self.sections if section.name == name]
        if len(found) > 1:
            raise self.error(f"{len(found)} sections are named {name!r}")
        return found[0] if found else None

    def relocations(self, section: Section) -> list[Relocation]:
        """Return the relocations that apply to a section, in the order of the file.

        :raises ObjectFileError: they are malformed, or carry explicit addends (``SHT_RELA``), which
            LLVM does not emit for BPF.
        """
        found: list[Relocation] = []
        for table in self._relocation_tables.get(section.index, ()):
            if table.type == SectionType.RELA:
                raise self.error(f"section {table.name!r} has relocations with addends (SHT_RELA)")
            count = len(table.data) // _RELOCATION.size
            if count + len(found) > MAX_RELOCATIONS:
                raise self.error(
                    f"section {section.name!r} has more than {MAX_RELOCATIONS} relocations"
                )
            for offset, info in self._records(table, _RELOCATION):
                symbol = info >> 32
                if symbol >= len(self.symbols):
                    raise self.error(
                        f"a relocation of section {section.name!r} at offset {offset} "
                        f"uses symbol {symbol} of {len(self.symbols)}"
                    )
                found.append(Relocation(offset, info & 0xFFFFFFFF, self.symbols[symbol]))
        return found

    def _read_sections(self) -> tuple[Section, ...]:
        data = self._data
        if bytes(data[:4]) != b"\x7fELF":
            raise self.error("not an ELF file", hint="build it with clang -target bpf -c")
        if len(data) < _HEADER.size:
            raise self.error(f"truncated: {len(data)} bytes are less than an ELF header")
        (ident, file_type, machine, _version, _entry, _phoff, shoff, _flags, ehsize) = (
            _HEADER.unpack_from(data)[:9]
        )
        _phentsize, _phnum, shentsize, count, names_index = _HEADER.unpack_from(data)[9:]
        if ident[4] != 2:
            raise self.error("not a 64-bit ELF file")
        if ident[5] != 1:
            raise self.error(
                "not a little-endian ELF file", hint="build it with -target bpf or bpfel, not bpfeb"
            )
        if machine != _EM_BPF:
            raise self.error(
                f"built for machine {machine}, not for BPF ({_EM_BPF})",
                hint="build it with clang -target bpf",
            )
        if file_type != _ET_REL:
            raise self.error(f"ELF type {file_type} is not a relocatable object file ({_ET_REL})")
        if ehsize != _HEADER.size or (count and shentsize != _SECTION.size):
            raise self.error("the ELF header gives wrong sizes of its structures")
        # More than 65279 sections are announced in section 0, with a count of 0 here: not for us.
        if not count or count > MAX_SECTIONS:
            raise self.error(f"{count} sections: there must be 1 to {MAX_SECTIONS}")
        if shoff > len(data) or len(data) - shoff < count * _SECTION.size:
            raise self.error("truncated: the section headers lie outside the file")
        headers = [
            _SECTION.unpack_from(data, shoff + index * _SECTION.size) for index in range(count)
        ]
        if names_index >= count:
            raise self.error(f"section {names_index} for the names of sections does not exist")
        contents = [self._content(index, header) for index, header in enumerate(headers)]
        sections = []
        for index, header in enumerate(headers):
            name_at, kind, flags, _addr, _offset, size, link, info, _align, entry_size = header
            name = self._string(contents[names_index], name_at, f"section {index}")
            sections.append(
                Section(index, name, kind, flags, size, link, info, entry_size, contents[index])
            )
        self._relocation_tables: dict[int, list[Section]] = {}
        for section in sections:
            if section.type in (SectionType.REL, SectionType.RELA):
                self._relocation_tables.setdefault(section.info, []).append(section)
        return tuple(sections)

    def _content(self, index: int, header: tuple[int, ...]) -> memoryview:
        kind, flags, offset, size = header[1], header[2], header[4], header[5]
        if kind in (SectionType.NULL, SectionType.NOBITS):
            return self._data[:0]
        if offset > len(self._data) or size > len(self._data) - offset:
            raise self.error(f"truncated: section {index} lies outside the file")
        if flags & _SHF_COMPRESSED:
            # Only debug sections, which are not read here, come compressed.
            return self._data[:0]
        return self._data[offset : offset + size]

    def _read_symbols(self) -> tuple[Symbol, ...]:
        tables = [section for section in self.sections if section.type == SectionType.SYMTAB]
        if len(tables) > 1:
            raise self.error(f"{len(tables)} symbol tables instead of one")
        if not tables:
            return ()
        table = tables[0]
        for relocations in self._relocation_tables.values():
            for each in relocations:
                if each.link != table.index:
                    raise self.error(f"section {each.name!r} uses another symbol table")
        if len(table.data) // _SYMBOL.size > MAX_SYMBOLS:
            raise self.error(f"more than {MAX_SYMBOLS} symbols")
        if table.link >= len(self.sections):
            raise self.error(f"section {table.link} for the names of symbols does not exist")
        strings = self.sections[table.link].data
        symbols = []
        for number, (name_at, info, other, section, value, size) in enumerate(
            self._records(table, _SYMBOL)
        ):
            kind = info & 0xF
            if section < _SHN_LORESERVE and section >= len(self.sections):
                raise self.error(f"symbol {number} is in section {section}, which does not exist")
            if kind == SymbolType.SECTION and not name_at and section < len(self.sections):
                name = self.sections[section].name
            else:
                name = self._string(strings, name_at, f"symbol {number}")
            hidden = other & 3 in (1, 2)
            symbols.append(Symbol(name, kind, info >> 4, hidden, section, value, size))
        return tuple(symbols)

    def _records(self, table: Section, layout: struct.Struct) -> Iterator[tuple[int, ...]]:
        if table.entry_size != layout.size or len(table.data) % layout.size:
            raise self.error(f"section {table.name!r} does not hold whole entries")
        return layout.iter_unpack(table.data)

    def _string(self, table: memoryview, offset: int, owner: str) -> str:
        if not offset and not len(table):
            return ""
        if offset >= len(table):
            raise self.error(f"the name of {owner} lies outside its string table")
        text = bytes(table[offset : offset + MAX_NAME + 1])
        end = text.find(b"\0")
        if end < 0:
            raise self.error(f"the name of {owner} does not end, or is longer than {MAX_NAME}")
        return text[:end].decode("utf-8", "backslashreplace")
