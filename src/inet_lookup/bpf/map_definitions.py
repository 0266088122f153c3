"""The maps that an object file declares, and those that hold its global variables.

A map is declared as a variable of the section ``.maps``, whose type is a structure that no
instruction ever reads: its members' types say what the map is to be (``Documentation/bpf/
map_array.rst`` shows the C). ``__uint(name, n)`` is a pointer to an array of n elements,
``__type(name, t)`` a pointer to t.
"""

from __future__ import annotations

import re
from bisect import bisect_right
from dataclasses import dataclass, field, replace
from enum import IntEnum
from typing import Final

from ..errors import ObjectFileError
from .btf import BtfTypes, Kind, Member, SectionVariable
from .elf_reader import ElfFile, Section, SectionType
from .uapi import MapFlags, MapType

DATA_SECTIONS: Final = (".rodata", ".data", ".bss")
MAX_DATA_SIZE: Final = 64 << 20
_MAPS: Final = ".maps"
_MAX_MAPS: Final = 4096
_MAX_MEMBERS: Final = 32
_SLOT: Final = 8
_R_BPF_64_ABS64: Final = 2
_UINT32_MAX: Final = 0xFFFFFFFF
_IDENTIFIER: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_.$]*")

_U32_KEYS: Final = frozenset(
    {
        MapType.ARRAY,
        MapType.PERCPU_ARRAY,
        MapType.PROG_ARRAY,
        MapType.PERF_EVENT_ARRAY,
        MapType.CGROUP_ARRAY,
        MapType.ARRAY_OF_MAPS,
        MapType.DEVMAP,
        MapType.SOCKMAP,
        MapType.CPUMAP,
        MapType.XSKMAP,
        MapType.REUSEPORT_SOCKARRAY,
    }
)
_U32_VALUES: Final = frozenset(
    {
        MapType.PROG_ARRAY,
        MapType.PERF_EVENT_ARRAY,
        MapType.CGROUP_ARRAY,
        MapType.ARRAY_OF_MAPS,
        MapType.HASH_OF_MAPS,
        MapType.XSKMAP,
    }
)
SOCKET_VALUES: Final = frozenset({MapType.SOCKMAP, MapType.SOCKHASH, MapType.REUSEPORT_SOCKARRAY})
"""Maps whose values may have 4 or 8 bytes: a program sees a socket either way."""
_COOKIE_SIZE: Final = 8
_MAPS_OF_MAPS: Final = frozenset({MapType.ARRAY_OF_MAPS, MapType.HASH_OF_MAPS})
_PREFILLED: Final = _MAPS_OF_MAPS | {MapType.PROG_ARRAY}


class Pinning(IntEnum):
    """Whether a declaration asks for a pin (``__uint(pinning, …)``)."""

    NONE = 0
    BY_NAME = 1
    """Use the map that is pinned under the map's name, or create and pin it."""


@dataclass(frozen=True, slots=True)
class MapSpec:
    """A map as an object file declares it.

    Where a declaration leaves out a size that the type of map leaves no choice about, it is filled
    in: 4 bytes for an index, a descriptor or a socket's key, 8 for a socket (with them user space
    reads a slot's cookie).

    :ivar key_size: in bytes, as ``value_size``.
    :ivar max_entries: 0 where the declaration leaves it out.
    :ivar inner: for a map of maps, what its maps are like.
    :ivar btf_key_type_id: in the object's BTF; 0 where the declaration gives a size only.
    :ivar contents: for a section of global variables, what the map's one value is before the
        program runs: a view of the file; None for zeros.
    :ivar slots: for a map of maps or programs, which of them are in it from the start, by name.
    :ivar frozen: whether user space cannot write either once the object is loaded.
    """

    name: str
    type: MapType
    key_size: int
    value_size: int
    max_entries: int
    flags: MapFlags = MapFlags(0)  # noqa: RUF009 (immutable)
    pinning: Pinning = Pinning.NONE
    inner: MapSpec | None = None
    btf_key_type_id: int = 0
    btf_value_type_id: int = 0
    contents: memoryview | None = field(default=None, repr=False)
    slots: tuple[tuple[int, str], ...] = ()
    frozen: bool = False

    @property
    def holds_variables(self) -> bool:
        """Whether this is a section of global variables."""
        return self.name.startswith(".")


@dataclass(frozen=True, slots=True)
class MapDefinitions:
    """The maps of one object file, by name, and where their symbols point."""

    by_name: dict[str, MapSpec]
    section: int | None
    """Index of the section ``.maps``."""
    by_offset: dict[int, str]
    """Offset in ``.maps`` to the name of the map there."""
    data_sections: dict[int, str]
    """Index of a section of global variables to the name of its map."""


def read_maps(elf: ElfFile, types: BtfTypes | None) -> MapDefinitions:
    """Read the maps of an object file.

    :param types: the file's BTF, its data sections completed.
    :raises ObjectFileError: a declaration is malformed or uses what is not supported.
    """
    found: dict[str, MapSpec] = {}
    by_offset: dict[int, str] = {}
    section = elf.section_named(_MAPS)
    legacy = elf.section_named("maps")
    if legacy is not None and legacy.size:
        raise elf.error(
            "it declares maps in a section 'maps' (struct bpf_map_def), which is not supported",
            hint='declare them with BTF, in SEC(".maps")',
        )
    if section is not None and section.size:
        if types is None:
            raise elf.error("it declares maps but has no BTF", hint="compile it with -g")
        for spec, offset in _Declarations(elf, types, section).read():
            if spec.name in found:
                raise elf.error(f"two maps are named {spec.name!r}")
            found[spec.name] = spec
            by_offset[offset] = spec.name
    data_sections: dict[int, str] = {}
    datasecs = {each.name: each for each in types.of_kind(Kind.DATASEC)} if types else {}
    for each in elf.sections:
        if not holds_variables(each):
            continue
        if each.name in found:
            raise elf.error(f"two sections are named {each.name!r}")
        if each.size > MAX_DATA_SIZE:
            raise elf.error(
                f"section {each.name!r} of {each.size} bytes is larger than {MAX_DATA_SIZE}"
            )
        for relocation in elf.relocations(each):
            raise elf.error(
                f"relocation in section {each.name!r} at {relocation.offset:#x} against"
                f" {relocation.symbol.name!r}: a variable that holds an address is not supported"
            )
        datasec = datasecs.get(each.name)
        found[each.name] = _section_map(each, datasec.id if datasec else 0)
        data_sections[each.index] = each.name
    return MapDefinitions(found, section.index if section else None, by_offset, data_sections)


def holds_variables(section: Section) -> bool:
    """Whether a section becomes a map: ``.rodata``, ``.data``, ``.bss``, also with a suffix."""
    stem = "." + section.name[1:].partition(".")[0]
    return (
        section.name.startswith(".")
        and stem in DATA_SECTIONS
        and section.type in (SectionType.PROGBITS, SectionType.NOBITS)
        and not section.executable
        and section.size > 0
    )


def _section_map(section: Section, type_id: int) -> MapSpec:
    constant = section.name.startswith(".rodata")
    return MapSpec(
        name=section.name,
        type=MapType.ARRAY,
        key_size=4,
        value_size=section.size,
        max_entries=1,
        flags=MapFlags.MMAPABLE | (MapFlags.RDONLY_PROG if constant else MapFlags(0)),
        btf_value_type_id=type_id,
        contents=section.data if section.type == SectionType.PROGBITS else None,
        frozen=constant,
    )


class _Declarations:
    """The declarations of the section ``.maps``."""

    def __init__(self, elf: ElfFile, types: BtfTypes, section: Section) -> None:
        self._elf = elf
        self._types = types
        self._section = section

    def read(self) -> list[tuple[MapSpec, int]]:
        """Return the maps with their offsets in the section."""
        variables: list[SectionVariable] = []
        for datasec in self._types.of_kind(Kind.DATASEC):
            if datasec.name == _MAPS:
                variables += self._types.variables(datasec)
        if len(variables) > _MAX_MAPS:
            raise self._elf.error(f"more than {_MAX_MAPS} maps")
        if not variables:
            raise self._elf.error("its BTF does not describe the section '.maps'")
        names = {each.offset: self._types[each.type_id].name for each in variables}
        if len(names) < len(variables):
            raise self._elf.error("two maps are at the same place of '.maps'")
        slots = self._slots(variables, names)
        return [
            (self._read_one(each, slots.get(each.offset, ())), each.offset) for each in variables
        ]

    def _read_one(self, variable: SectionVariable, slots: tuple[tuple[int, str], ...]) -> MapSpec:
        declared = self._types[variable.type_id]
        # A name may become part of a pin's path.
        if declared.kind != Kind.VAR or not _IDENTIFIER.fullmatch(declared.name):
            raise self._elf.error(
                f"what is at {variable.offset:#x} of '.maps' is no variable: {declared.name!r}"
            )
        spec = self._read_structure(declared.name, declared.size_or_type, is_inner=False)
        if slots and spec.type not in _PREFILLED:
            raise self._error(declared.name, f"a {spec.type.label} map cannot be filled in C")
        if slots and spec.key_size != 4:
            raise self._error(declared.name, "a map filled in C has keys of 4 bytes")
        for index, _ in slots:
            if index >= spec.max_entries:
                raise self._error(
                    declared.name, f"slot {index} is outside of its {spec.max_entries} entries"
                )
        return replace(spec, slots=slots)

    def _read_structure(self, name: str, type_id: int, *, is_inner: bool) -> MapSpec:
        structure = self._types.strip(type_id)
        if structure.kind != Kind.STRUCT or structure.vlen > _MAX_MEMBERS:
            raise self._error(name, "its type is no structure of settings")
        numbers: dict[str, int] = {}
        key = value = 0
        inner: MapSpec | None = None
        sizes: dict[str, int] = {}
        for member in self._types.members(structure):
            setting = member.name
            if setting in _NUMBERS:
                numbers[setting] = self._number(name, member)
            elif setting == "key":
                key = self._pointed(name, member)
                sizes["key_size"] = self._types.size(key)
            elif setting == "value":
                value = self._pointed(name, member)
                sizes["value_size"] = self._types.size(value)
            elif setting == "values":
                inner = self._inner(name, member, is_inner=is_inner)
            else:
                raise self._error(
                    name,
                    f"the setting {setting!r} is not supported",
                    hint=f"supported are {', '.join(_NUMBERS)}, key, value and values",
                )
        for setting, size in sizes.items():
            if size > _UINT32_MAX:
                raise self._error(name, f"{setting} is too large: {size}")
            if numbers.setdefault(setting, size) != size:
                raise self._error(
                    name, f"{setting} is {numbers[setting]}, but its type has {size} bytes"
                )
        if not numbers.get("type"):
            raise self._error(name, "it has no type", hint="add __uint(type, BPF_MAP_TYPE_…)")
        map_type = MapType(numbers["type"])
        if map_type in _MAPS_OF_MAPS and inner is None:
            raise self._error(
                name, "it does not say what its maps are like", hint="add __array(values, …)"
            )
        if map_type not in _MAPS_OF_MAPS and inner is not None:
            raise self._error(name, f"a {map_type.label} map holds no maps")
        pinning = numbers.get("pinning", 0)
        if pinning not in (Pinning.NONE, Pinning.BY_NAME) or (pinning and is_inner):
            raise self._error(name, f"pinning {pinning} is not supported")
        return MapSpec(
            name=name,
            type=map_type,
            key_size=numbers.get("key_size", 4 if map_type in _U32_KEYS else 0),
            value_size=numbers.get("value_size", _default_value_size(map_type)),
            max_entries=numbers.get("max_entries", 0),
            flags=MapFlags(numbers.get("map_flags", 0)),
            pinning=Pinning(pinning),
            inner=inner,
            btf_key_type_id=key,
            btf_value_type_id=value,
        )

    def _inner(self, name: str, member: Member, *, is_inner: bool) -> MapSpec | None:
        """Read what a map's ``values`` are like; None where they are programs."""
        if is_inner:
            raise self._error(name, "maps of maps of maps do not exist")
        array = self._types.strip(member.type_id)
        if array.kind != Kind.ARRAY:
            raise self._error(name, "its values are no array")
        pointer = self._types.strip(self._types.elements(array)[0])
        if pointer.kind != Kind.PTR:
            raise self._error(name, "its values are no pointers")
        if self._types.strip(pointer.size_or_type).kind == Kind.FUNC_PROTO:
            return None
        return self._read_structure(f"{name}.inner", pointer.size_or_type, is_inner=True)

    def _number(self, name: str, member: Member) -> int:
        array = self._types.strip(self._pointed(name, member))
        if array.kind != Kind.ARRAY:
            raise self._error(name, f"the setting {member.name!r} is not written with __uint()")
        return self._types.elements(array)[1]

    def _pointed(self, name: str, member: Member) -> int:
        pointer = self._types.strip(member.type_id)
        if pointer.kind != Kind.PTR:
            raise self._error(name, f"the setting {member.name!r} is no pointer")
        return pointer.size_or_type

    def _slots(
        self, variables: list[SectionVariable], names: dict[int, str]
    ) -> dict[int, tuple[tuple[int, str], ...]]:
        """Find what stands in the slots of ``values``: pointers to other maps or to programs."""
        starts: dict[int, tuple[SectionVariable, int]] = {}
        found: dict[int, list[tuple[int, str]]] = {}
        ordered = sorted(variables, key=lambda each: each.offset)
        for each in ordered:
            starts[each.offset] = (each, self._values_at(each))
        for relocation in self._elf.relocations(self._section):
            symbol = relocation.symbol
            owner = _last_before(ordered, relocation.offset)
            where = f"relocation in section '.maps' at {relocation.offset:#x}"
            if owner is None or relocation.type != _R_BPF_64_ABS64:
                raise self._elf.error(f"{where} against {symbol.name!r} is not supported")
            values_at = owner.offset + starts[owner.offset][1]
            index, odd = divmod(relocation.offset - values_at, _SLOT)
            if index < 0 or odd or relocation.offset + _SLOT > owner.offset + owner.size:
                raise self._elf.error(f"{where} against {symbol.name!r} does not fill a slot")
            target = symbol.name
            if symbol.section == self._section.index:
                addend = int.from_bytes(
                    self._section.data[relocation.offset : relocation.offset + _SLOT], "little"
                )
                target = names.get(symbol.value + addend, "")
            if not target:
                raise self._elf.error(f"{where} against {symbol.name!r} points at no map")
            found.setdefault(owner.offset, []).append((index, target))
        return {offset: tuple(slots) for offset, slots in found.items()}

    def _values_at(self, variable: SectionVariable) -> int:
        """Return where the slots of a map start in its structure; past its end without slots."""
        declared = self._types[variable.type_id]
        structure = self._types.strip(declared.size_or_type)
        if structure.kind == Kind.STRUCT and structure.vlen <= _MAX_MEMBERS:
            for member in self._types.members(structure):
                if member.name == "values":
                    return member.bit_offset // 8
        return variable.size

    def _error(self, name: str, problem: str, *, hint: str | None = None) -> ObjectFileError:
        return self._elf.error(f"map {name!r}: {problem}", hint=hint)


_NUMBERS: Final = ("type", "key_size", "value_size", "max_entries", "map_flags", "pinning")


def _default_value_size(type: MapType) -> int:
    if type in SOCKET_VALUES:
        return _COOKIE_SIZE
    return 4 if type in _U32_VALUES else 0


def _last_before(ordered: list[SectionVariable], offset: int) -> SectionVariable | None:
    at = bisect_right(ordered, offset, key=lambda each: each.offset)
    return ordered[at - 1] if at else None
