"""The global variables of an object file: set before it is loaded, found afterwards."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from ..errors import ObjectFileError
from .btf import BtfTypes, Kind
from .elf_reader import ElfFile, SymbolType
from .map_definitions import MapDefinitions

_INTEGER_SIZES: Final = (1, 2, 4, 8)


@dataclass(frozen=True, slots=True)
class Variable:
    """A global variable of a program.

    :ivar map: name of the map that holds it, as its section: ``.rodata``, ``.data``, ``.bss``.
    :ivar offset: where it lies in that map's one value, in bytes.
    :ivar size: in bytes.
    :ivar signed: for an integer or enumeration, whether it is signed; None where the object does
        not tell, and for any other type.
    :ivar integer: whether an ``int`` can be given for it.
    """

    name: str
    map: str
    offset: int
    size: int
    signed: bool | None
    integer: bool

    def encode(self, value: int | bytes) -> bytes:
        """Return the bytes of a value.

        :param value: an integer, or the variable's bytes as they lie in memory (little-endian).
        :raises ObjectFileError: the value does not fit the variable.
        """
        if isinstance(value, bytes):
            if len(value) != self.size:
                raise self._error(f"it has {self.size} bytes, not {len(value)}")
            return value
        if not self.integer:
            raise self._error("it is no integer", hint=f"give its {self.size} bytes")
        signed = value < 0 if self.signed is None else self.signed
        try:
            return value.to_bytes(self.size, "little", signed=signed)
        except OverflowError:
            kind = {True: "signed ", False: "unsigned ", None: ""}[self.signed]
            raise self._error(f"{value} does not fit into {self.size} {kind}bytes") from None

    def _error(self, problem: str, *, hint: str | None = None) -> ObjectFileError:
        return ObjectFileError(f"variable {self.name!r} ({self.map}): {problem}", hint=hint)


def read_variables(
    elf: ElfFile, types: BtfTypes | None, maps: MapDefinitions
) -> dict[str, Variable | None]:
    """Find the variables of an object file; a name that several of them have stands for None.

    :raises ObjectFileError: a variable lies outside of its section.
    """
    found: dict[str, Variable | None] = {}
    described = _from_btf(types, maps) if types is not None else _from_symbols(elf, maps)
    for variable in described:
        found[variable.name] = None if variable.name in found else variable
    return found


def _from_btf(types: BtfTypes, maps: MapDefinitions) -> Iterator[Variable]:
    sections = set(maps.data_sections.values())
    for datasec in types.of_kind(Kind.DATASEC):
        if datasec.name not in sections:
            continue
        for each in types.variables(datasec):
            declared = types[each.type_id]
            if not declared.name:
                continue
            type = types.strip(declared.size_or_type)
            integer = type.kind in (Kind.INT, Kind.ENUM, Kind.ENUM64)
            signed = types.signed(type) if integer else None
            if type.kind == Kind.ENUM and not signed:
                # Only since LLVM 15 is an enumeration marked as signed.
                signed = None
            yield Variable(
                declared.name,
                datasec.name,
                each.offset,
                each.size,
                signed,
                integer and each.size in _INTEGER_SIZES,
            )


def _from_symbols(elf: ElfFile, maps: MapDefinitions) -> Iterator[Variable]:
    for symbol in elf.symbols:
        section = maps.data_sections.get(symbol.section)
        if section is None or symbol.type != SymbolType.OBJECT or not symbol.size:
            continue
        if symbol.value + symbol.size > elf.sections[symbol.section].size:
            raise elf.error(f"variable {symbol.name!r} lies outside of section {section!r}")
        integer = symbol.size in _INTEGER_SIZES
        yield Variable(symbol.name, section, symbol.value, symbol.size, None, integer)
