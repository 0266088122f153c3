"""The ELF reader against pyelftools, on real objects."""

from __future__ import annotations

import io

import pytest

from inet_lookup.bpf.elf_reader import ElfFile
from support import clang


@pytest.mark.parametrize("compiler", clang.VERSIONS)
@pytest.mark.parametrize("source", ["steering", "map_in_map", "data", "dissect"])
def test_sections_symbols_and_relocations_are_those_that_pyelftools_reads(
    source: str, compiler: str
) -> None:
    from elftools.elf.elffile import ELFFile
    from elftools.elf.relocation import RelocationSection
    from elftools.elf.sections import SymbolTableSection

    data = clang.build(source, compiler)
    mine = ElfFile(data, "mine.o")
    with ELFFile(io.BytesIO(data)) as theirs:
        sections = list(theirs.iter_sections())
        assert [(each.name, each.size, bytes(each.data)) for each in mine.sections] == [
            (
                each.name,
                each["sh_size"],
                b"" if each["sh_type"] in ("SHT_NULL", "SHT_NOBITS") else each.data(),
            )
            for each in sections
        ]
        symbols = next(
            list(each.iter_symbols()) for each in sections if isinstance(each, SymbolTableSection)
        )
        assert [(each.name, each.value, each.size) for each in mine.symbols] == [
            (
                each.name or (mine.symbols[number].name if number else ""),
                each["st_value"],
                each["st_size"],
            )
            for number, each in enumerate(symbols)
        ]
        tables = [each for each in sections if isinstance(each, RelocationSection)]
        assert tables
        for table in tables:
            found = mine.relocations(mine.sections[table["sh_info"]])
            assert [(each.offset, each.type, each.symbol) for each in found] == [
                (
                    each["r_offset"],
                    each["r_info_type"],
                    mine.symbols[each["r_info_sym"]],
                )
                for each in table.iter_relocations()
            ]
