"""Reads ``.BTF.ext``: which function and which source line an instruction belongs to.

The section names instructions by their byte offset within an ELF section; the kernel wants indices
within a program (``Documentation/bpf/btf.rst``, sections 3.3 and 4.2). :class:`DebugInfo` holds the
former, and hands out the latter for a function that lands somewhere in a program.
"""

from __future__ import annotations

import struct
from array import array
from bisect import bisect_left, bisect_right
from collections.abc import Iterator
from typing import Final

from ..errors import ObjectFileError
from .btf import MAGIC, VERSION, BtfTypes
from .elf_reader import MAX_SECTIONS
from .source_line import SourceLine
from .uapi import INSN_SIZE

_HEADER: Final = struct.Struct("<HBBIIIII")
_CORE: Final = struct.Struct("<II")
_BLOCK: Final = struct.Struct("<II")
_CORE_RELOCATION: Final = struct.Struct("<IIII")
FUNC_INFO: Final = struct.Struct("<II")
LINE_INFO: Final = struct.Struct("<IIII")
_MAX_RECORD: Final = 256


class _Columns:
    """Records of one ELF section, a column for each field; the first is the byte offset."""

    def __init__(self, fields: int) -> None:
        self.columns = tuple(array("I") for _ in range(fields))

    @property
    def offsets(self) -> array[int]:
        return self.columns[0]

    def append(self, record: tuple[int, ...]) -> None:
        for column, field in zip(self.columns, record, strict=True):
            column.append(field)


class DebugInfo:
    """Function and line records of one object file.

    :param data: the ``.BTF.ext`` section; None where the object has none.
    :param types: the object's ``.BTF``, which holds names and source lines.
    :param owner: what messages call the file.
    :raises ObjectFileError: the section is malformed, or holds CO-RE relocations, which are not
        supported.
    """

    def __init__(self, data: memoryview | None, types: BtfTypes | None, owner: str) -> None:
        self._owner = owner
        self._functions: dict[str, _Columns] = {}
        self._lines: dict[str, _Columns] = {}
        if data is None or types is None:
            return
        self._types = types
        if len(data) < _HEADER.size:
            raise self._error("truncated")
        magic, version, _flags, header_size, func_at, func_size, line_at, line_size = (
            _HEADER.unpack_from(data)
        )
        if magic != MAGIC or version != VERSION:
            raise self._error(f"magic {magic:#06x} and version {version} are not known")
        if not _HEADER.size <= header_size <= len(data):
            raise self._error("truncated")
        if header_size >= _HEADER.size + _CORE.size:
            at, size = _CORE.unpack_from(data, _HEADER.size)
            self._refuse_core(self._part(data, header_size, at, size))
        self._read(self._part(data, header_size, func_at, func_size), FUNC_INFO, self._functions)
        self._read(self._part(data, header_size, line_at, line_size), LINE_INFO, self._lines)

    def func_info(self, section: str, start: int, index: int) -> bytes:
        """Return the kernel's record of a function, empty where the compiler left none.

        :param start: the function's byte offset in its section.
        :param index: where its first instruction lands in the program.
        """
        found = self._functions.get(section)
        if found is None:
            return b""
        at = bisect_left(found.offsets, start)
        if at == len(found.offsets) or found.offsets[at] != start:
            return b""
        return FUNC_INFO.pack(index, found.columns[1][at])

    def line_info(self, section: str, start: int, end: int, index: int) -> bytes:
        """Return the kernel's records of a function's lines.

        The kernel refuses a program with a function whose first instruction has no line
        (``check_btf_line()``), so that such a function has none at all: the result is empty.

        :param start: the function's byte offset in its section; ``end`` is the one behind it.
        :param index: where its first instruction lands in the program.
        """
        found = self._lines.get(section)
        if found is None:
            return b""
        first, last = bisect_left(found.offsets, start), bisect_left(found.offsets, end)
        if first == last or found.offsets[first] != start:
            return b""
        offsets, files, texts, places = (column[first:last] for column in found.columns)
        return b"".join(
            LINE_INFO.pack(index + (offset - start) // INSN_SIZE, file, text, place)
            for offset, file, text, place in zip(offsets, files, texts, places, strict=True)
        )

    def source_of(self, section: str, start: int, offset: int) -> SourceLine | None:
        """Return the source line of the instruction at a byte offset.

        :param start: byte offset of the function that holds it.
        """
        found = self._lines.get(section)
        if found is None:
            return None
        at = bisect_right(found.offsets, offset) - 1
        # Line 0 marks what the compiler merged from several lines: the line before is the nearest.
        while at >= 0 and found.offsets[at] >= start and not found.columns[3][at] >> 10:
            at -= 1
        if at < 0 or found.offsets[at] < start:
            return None
        _, file, text, place = (column[at] for column in found.columns)
        return SourceLine(
            self._types.text(file), place >> 10, place & 0x3FF, self._types.text(text)
        )

    def _error(self, problem: str) -> ObjectFileError:
        return ObjectFileError(f"{self._owner}: line information (.BTF.ext): {problem}")

    def _part(self, data: memoryview, header_size: int, at: int, size: int) -> memoryview:
        start = header_size + at
        if start + size > len(data):
            raise self._error("truncated")
        return data[start : start + size]

    def _blocks(self, part: memoryview, smallest: int) -> Iterator[tuple[str, int, memoryview]]:
        """Yield, for each ELF section, its name, the size of a record, and the records."""
        if not part:
            return
        if len(part) < 4:
            raise self._error("truncated")
        record_size = int.from_bytes(part[:4], "little")
        if not smallest <= record_size <= _MAX_RECORD or record_size % 4:
            raise self._error(f"records of {record_size} bytes")
        at = 4
        for _ in range(MAX_SECTIONS):
            if at == len(part):
                return
            if len(part) - at < _BLOCK.size:
                raise self._error("truncated")
            name, count = _BLOCK.unpack_from(part, at)
            at += _BLOCK.size
            if count * record_size > len(part) - at:
                raise self._error("truncated")
            yield self._types.name(name), record_size, part[at : at + count * record_size]
            at += count * record_size
        raise self._error(f"records of more than {MAX_SECTIONS} sections")

    def _read(self, part: memoryview, layout: struct.Struct, into: dict[str, _Columns]) -> None:
        strings = len(self._types.strings)
        for section, record_size, records in self._blocks(part, layout.size):
            # Newer compilers may append fields: what the layout does not name is left out.
            padded = struct.Struct(f"{layout.format}{record_size - layout.size}x")
            columns = into.setdefault(section, _Columns(len(layout.format) - 1))
            previous = columns.offsets[-1] if columns.offsets else -1
            for record in padded.iter_unpack(records):
                offset = record[0]
                if offset <= previous or offset % INSN_SIZE:
                    raise self._error(f"records of section {section!r} are not in order")
                if layout is LINE_INFO and (record[1] >= strings or record[2] >= strings):
                    raise self._error(f"a line of section {section!r} has no text")
                columns.append(record)
                previous = offset

    def _refuse_core(self, part: memoryview) -> None:
        for section, _size, records in self._blocks(part, _CORE_RELOCATION.size):
            for offset, type_id, access, kind in _CORE_RELOCATION.iter_unpack(
                records[: _CORE_RELOCATION.size]
            ):
                target = self._types[type_id]
                raise ObjectFileError(
                    f"{self._owner}: section {section!r} at offset {offset:#x}: CO-RE relocation"
                    f" (kind {kind}) of {target.kind.name.lower()} {target.name!r}, access"
                    f" {self._types.name(access)!r}, is not supported",
                    hint="include the kernel's uapi headers instead of vmlinux.h,"
                    " and leave out preserve_access_index",
                )
