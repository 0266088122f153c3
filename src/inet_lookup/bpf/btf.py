"""Reads BTF, the type information of a BPF object (``Documentation/bpf/btf.rst``).

:class:`BtfTypes` reads the ``.BTF`` section of an object file, type by type and only on request: a
file is not trusted, and one that announces a million types costs four bytes for each.
"""

from __future__ import annotations

import struct
from array import array
from collections.abc import Iterator
from dataclasses import dataclass
from enum import IntEnum
from typing import Final

from ..errors import ObjectFileError

MAX_SIZE: Final = 16 << 20
"""``BTF_MAX_SIZE``: the kernel takes no more."""

MAX_NAME: Final = 512
"""``KSYM_NAME_LEN``: the longest name that the kernel takes."""

MAX_TEXT: Final = 4096
"""Longer source lines are cut; no verifier message or listing shows more."""

MAX_DEPTH: Final = 64
"""Twice what the kernel resolves (``MAX_RESOLVE_DEPTH``): beyond it, types refer to themselves."""

HEADER: Final = struct.Struct("<HBBIIIII")
TYPE: Final = struct.Struct("<III")
MAGIC: Final = 0xEB9F
VERSION: Final = 1
KIND_FLAG: Final = 1 << 31

_ARRAY: Final = struct.Struct("<III")
_MEMBER: Final = struct.Struct("<III")
_PARAMETER: Final = struct.Struct("<II")
_VARIABLE: Final = struct.Struct("<III")
_POINTER_SIZE: Final = 8


class Kind(IntEnum):
    """``BTF_KIND_*``; the comments say since which kernel, where that is later than 5.9."""

    VOID = 0
    INT = 1
    PTR = 2
    ARRAY = 3
    STRUCT = 4
    UNION = 5
    ENUM = 6
    FWD = 7
    TYPEDEF = 8
    VOLATILE = 9
    CONST = 10
    RESTRICT = 11
    FUNC = 12
    FUNC_PROTO = 13
    VAR = 14
    DATASEC = 15
    FLOAT = 16  # Linux 5.13
    DECL_TAG = 17  # Linux 5.16
    TYPE_TAG = 18  # Linux 5.17
    ENUM64 = 19  # Linux 6.0


_MODIFIERS: Final = frozenset(
    {Kind.TYPEDEF, Kind.VOLATILE, Kind.CONST, Kind.RESTRICT, Kind.TYPE_TAG}
)
_SIZED: Final = frozenset(
    {Kind.INT, Kind.STRUCT, Kind.UNION, Kind.ENUM, Kind.FLOAT, Kind.ENUM64, Kind.DATASEC}
)
# What follows the three words of a type: bytes once, and bytes for each of its ``vlen`` elements.
_TRAILER: Final = {
    Kind.INT: (4, 0),
    Kind.ARRAY: (_ARRAY.size, 0),
    Kind.STRUCT: (0, _MEMBER.size),
    Kind.UNION: (0, _MEMBER.size),
    Kind.ENUM: (0, 8),
    Kind.FUNC_PROTO: (0, _PARAMETER.size),
    Kind.VAR: (4, 0),
    Kind.DATASEC: (0, _VARIABLE.size),
    Kind.DECL_TAG: (4, 0),
    Kind.ENUM64: (0, 12),
}
_SIZES: Final = tuple(_TRAILER.get(Kind(kind), (0, 0)) for kind in range(len(Kind)))


class Linkage(IntEnum):
    """``BTF_VAR_*`` and ``BTF_FUNC_*``, which have the same numbers."""

    STATIC = 0
    GLOBAL = 1
    EXTERN = 2


@dataclass(frozen=True, slots=True)
class BtfType:
    """One type.

    :ivar offset: where it stands in the section, in bytes.
    :ivar vlen: number of its members, parameters, values or variables; a FUNC's linkage.
    :ivar size_or_type: a size in bytes or another type's id, as the kind has it.
    """

    id: int
    kind: Kind
    name: str
    vlen: int
    flag: bool
    size_or_type: int
    offset: int


@dataclass(frozen=True, slots=True)
class Member:
    """A member of a structure or union; ``bit_offset`` counts from its start."""

    name: str
    type_id: int
    bit_offset: int


@dataclass(frozen=True, slots=True)
class SectionVariable:
    """A variable's place in a data section.

    :ivar type_id: of the VAR.
    :ivar entry: where this entry stands in the BTF section, in bytes.
    :ivar offset: where the variable lies in the data section, in bytes.
    """

    type_id: int
    entry: int
    offset: int
    size: int


class BtfTypes:
    """The types and strings of one ``.BTF`` section.

    :param data: the section.
    :param owner: what messages call the file.
    :raises ObjectFileError: the section is truncated, contradicts itself, or is of another version
        or byte order.
    """

    def __init__(self, data: bytes | memoryview, owner: str) -> None:
        self._owner = owner
        self.data = memoryview(data)
        if len(self.data) > MAX_SIZE:
            raise self.error(f"{len(self.data)} bytes are more than the {MAX_SIZE} allowed")
        if len(self.data) < HEADER.size:
            raise self.error("truncated")
        magic, version, _flags, header_size, type_at, type_size, string_at, string_size = (
            HEADER.unpack_from(self.data)
        )
        if magic != MAGIC or version != VERSION:
            raise self.error(f"magic {magic:#06x} and version {version} are not known")
        self._types_at: int = header_size + type_at
        self._types_end = self._types_at + type_size
        strings_at = header_size + string_at
        if header_size < HEADER.size or max(self._types_end, strings_at + string_size) > len(
            self.data
        ):
            raise self.error("truncated")
        self.strings = self.data[strings_at : strings_at + string_size]
        if string_size and (self.strings[0] or self.strings[-1]):
            raise self.error("its strings do not start and end with a NUL")
        self._offsets = self._index()

    def error(self, problem: str) -> ObjectFileError:
        """Make the error that names this section."""
        return ObjectFileError(f"{self._owner}: type information (.BTF): {problem}")

    @property
    def types(self) -> memoryview:
        """The types as the section has them."""
        return self.data[self._types_at : self._types_end]

    @property
    def types_offset(self) -> int:
        """Where :attr:`types` start in the section, in bytes."""
        return self._types_at

    def __len__(self) -> int:
        """Return the number of types, ``void`` (id 0) not counted."""
        return len(self._offsets)

    def __getitem__(self, type_id: int) -> BtfType:
        """Return a type.

        :raises ObjectFileError: there is none with this id, or its name is malformed.
        """
        if type_id == 0:
            return BtfType(0, Kind.VOID, "", 0, False, 0, 0)
        if type_id > len(self._offsets):
            raise self.error(f"type {type_id} does not exist")
        offset = self._offsets[type_id - 1]
        name, info, size_or_type = TYPE.unpack_from(self.data, offset)
        return BtfType(
            type_id,
            Kind(info >> 24 & 0x1F),
            self.name(name),
            info & 0xFFFF,
            bool(info & KIND_FLAG),
            size_or_type,
            offset,
        )

    def of_kind(self, *kinds: Kind) -> Iterator[BtfType]:
        """Yield the types of some kinds, in the order of their ids."""
        wanted = frozenset(int(kind) for kind in kinds)
        for number, offset in enumerate(self._offsets, 1):
            if self.data[offset + 7] & 0x1F in wanted:
                yield self[number]

    def name(self, offset: int) -> str:
        """Return a name from the strings.

        :raises ObjectFileError: it lies outside of them or is longer than names may be.
        """
        text = self._bytes(offset, MAX_NAME)
        if len(text) > MAX_NAME:
            raise self.error(f"a name is longer than {MAX_NAME} bytes")
        return text.decode("utf-8", "backslashreplace")

    def text(self, offset: int) -> str:
        """Return free text from the strings, cut at :data:`MAX_TEXT` bytes.

        :raises ObjectFileError: it lies outside of them.
        """
        return self._bytes(offset, MAX_TEXT)[:MAX_TEXT].decode("utf-8", "replace")

    def strip(self, type_id: int) -> BtfType:
        """Return the type under typedefs and qualifiers.

        :raises ObjectFileError: it refers to itself.
        """
        for _ in range(MAX_DEPTH):
            found = self[type_id]
            if found.kind not in _MODIFIERS:
                return found
            type_id = found.size_or_type
        raise self.error(f"type {type_id} refers to itself")

    def size(self, type_id: int) -> int:
        """Return the size of a type's values in bytes.

        :raises ObjectFileError: it has none.
        """
        elements = 1
        for _ in range(MAX_DEPTH):
            found = self.strip(type_id)
            if found.kind in _SIZED:
                return elements * found.size_or_type
            if found.kind == Kind.PTR:
                return elements * _POINTER_SIZE
            if found.kind == Kind.ARRAY:
                type_id, length = self.elements(found)
                elements *= length
            elif found.kind == Kind.VAR:
                type_id = found.size_or_type
            else:
                raise self.error(f"type {type_id} ({found.kind.name}) has no size")
        raise self.error(f"type {type_id} refers to itself")

    def elements(self, of: BtfType) -> tuple[int, int]:
        """Return the type of an array's elements and their number."""
        element, _index, length = _ARRAY.unpack_from(self.data, of.offset + TYPE.size)
        return element, length

    def members(self, of: BtfType) -> Iterator[Member]:
        """Yield the members of a structure or union."""
        for name, type_id, offset in self._trailer(of, _MEMBER):
            # With the kind flag, the high byte holds the width of a bit field.
            yield Member(self.name(name), type_id, offset & 0xFFFFFF if of.flag else offset)

    def variables(self, of: BtfType) -> Iterator[SectionVariable]:
        """Yield the variables of a data section."""
        for number, (type_id, offset, size) in enumerate(self._trailer(of, _VARIABLE)):
            entry = of.offset + TYPE.size + number * _VARIABLE.size
            yield SectionVariable(type_id, entry, offset, size)

    def linkage(self, of: BtfType) -> int:
        """Return the linkage of a variable or function, see :class:`Linkage`."""
        if of.kind == Kind.FUNC:
            return of.vlen
        return int.from_bytes(self.data[of.offset + TYPE.size :][:4], "little")

    def signed(self, of: BtfType) -> bool:
        """Tell whether an integer or enumeration is signed."""
        if of.kind == Kind.INT:
            return bool(self.data[of.offset + TYPE.size + 3] & 1)
        return of.flag

    def _trailer(self, of: BtfType, layout: struct.Struct) -> Iterator[tuple[int, ...]]:
        start = of.offset + TYPE.size
        return layout.iter_unpack(self.data[start : start + of.vlen * layout.size])

    def _index(self) -> array[int]:
        """Find where each type starts."""
        data, at, end = self.data, self._types_at, self._types_end
        offsets = array("I")
        kinds = len(_SIZES)
        unpack = TYPE.unpack_from
        while at < end:
            if end - at < TYPE.size:
                raise self.error("truncated")
            offsets.append(at)
            info: int = unpack(data, at)[1]
            kind = info >> 24 & 0x1F
            if not 0 < kind < kinds:
                raise self.error(f"type {len(offsets)} is of kind {kind}, which is not known")
            fixed, each = _SIZES[kind]
            at += TYPE.size + fixed + (info & 0xFFFF) * each
        if at > end:
            raise self.error("truncated")
        return offsets

    def _bytes(self, offset: int, limit: int) -> bytes:
        """Return a string, cut one byte beyond the limit."""
        if offset >= len(self.strings):
            if not offset:
                return b""
            raise self.error(f"string {offset} lies outside its strings")
        text = bytes(self.strings[offset : offset + limit + 1])
        return text.partition(b"\0")[0]
