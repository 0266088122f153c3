"""Puts a program together: the function itself, those that it calls, and what they refer to.

An object file holds functions in sections, with relocations where an instruction refers to a map, a
global variable or another function (``Documentation/bpf/llvm_reloc.rst``). The kernel takes one
array of instructions: the program first, behind it every function that it reaches, calls relative
to the calling instruction, and file descriptors in place of maps. :class:`Code` resolves and checks
the former, and :meth:`Code.link` makes the latter, except for the descriptors, which exist only
once the maps do.
"""

from __future__ import annotations

import re
import struct
from bisect import bisect_left, bisect_right
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from typing import Final, NoReturn

from ..errors import ObjectFileError
from .elf_reader import SHN_UNDEF, Binding, ElfFile, Relocation, Section, Symbol, SymbolType
from .uapi import INSN_SIZE

MAX_INSTRUCTIONS: Final = 1_000_000
"""``BPF_COMPLEXITY_LIMIT_INSNS``: the kernel takes no longer program."""

_NAMES: Final = {
    0: "R_BPF_NONE",
    1: "R_BPF_64_64",
    2: "R_BPF_64_ABS64",
    3: "R_BPF_64_ABS32",
    4: "R_BPF_64_NODYLD32",
    10: "R_BPF_64_32",
}
_R_BPF_64_64: Final = 1
_R_BPF_64_32: Final = 10

_CALL: Final = 0x85  # BPF_JMP | BPF_CALL
_LOAD_64: Final = 0x18  # BPF_LD | BPF_DW | BPF_IMM, of two slots
_PSEUDO_MAP_FD: Final = 1
_PSEUDO_MAP_VALUE: Final = 2
_PSEUDO_FUNC: Final = 4
_PSEUDO_CALL: Final = 1
_REFERRING: Final = re.compile(rb"\x18.?|\x85", re.DOTALL)
"""Opcodes of the instructions that may refer to something; a load's second slot goes with it."""

_SIGNED: Final = struct.Struct("<i")
_UNSIGNED: Final = struct.Struct("<I")


@dataclass(frozen=True, slots=True, eq=False)
class Function:
    """A function of the object.

    :ivar section: the ELF section that holds it.
    :ivar start: byte offset in the section; ``end`` is the one behind it.
    :ivar exported: whether the symbol is visible outside of its compilation unit.
    """

    name: str
    section: Section
    start: int
    end: int
    exported: bool


@dataclass(frozen=True, slots=True)
class MapRelocation:
    """An instruction of a linked program that waits for a map's file descriptor.

    :ivar index: of the first of the two slots of the 64-bit load.
    :ivar map: name of the map.
    :ivar value_offset: for the address of a global variable, its offset in the map's value, in
        bytes; None for the map itself.
    """

    index: int
    map: str
    value_offset: int | None = None


@dataclass(frozen=True, slots=True)
class MapReference:
    """What a symbol outside of the code stands for: a map, or a place in its value."""

    map: str
    value_offset: int | None = None


@dataclass(frozen=True, slots=True)
class _FunctionReference:
    function: Function
    is_call: bool


_Reference = MapReference | _FunctionReference

MapAt = Callable[[Symbol, int], MapReference | str]
"""Says what lies at an offset from a symbol, or, in words, why nothing usable does."""


@dataclass(frozen=True, slots=True)
class LinkedCode:
    """A program with all the functions that it reaches.

    :ivar instructions: complete but for the descriptors that ``relocations`` ask for.
    :ivar functions: each with the index of its first instruction; the program itself comes first.
    :ivar entry: how many instructions stand in front of the program's own.
    """

    instructions: bytes
    relocations: tuple[MapRelocation, ...]
    functions: tuple[tuple[int, Function], ...]
    entry: int = 0

    @property
    def own(self) -> bytes:
        """The instructions of the program itself, without those of functions that it calls."""
        _, program = self.functions[0]
        start = self.entry * INSN_SIZE
        return self.instructions[start : start + program.end - program.start]

    def surrounded(self, before: bytes, own: bytes, behind: bytes) -> LinkedCode:
        """Return this with further instructions around the program's own.

        :param own: the program's own instructions, as many as there are, calls as they are.
        :param behind: entered by a jump only, since a program does not run off its end.
        """
        added = len(behind) // INSN_SIZE
        first = len(before) // INSN_SIZE
        changed = bytearray(own)
        for found in _REFERRING.finditer(own[::INSN_SIZE]):
            at = found.start() * INSN_SIZE
            # Functions keep their order behind the program, and their distances to each other.
            source = own[at + 1] >> 4
            if (own[at], source) in ((_CALL, _PSEUDO_CALL), (_LOAD_64, _PSEUDO_FUNC)):
                _SIGNED.pack_into(changed, at + 4, _SIGNED.unpack_from(own, at + 4)[0] + added)
        size = len(own) // INSN_SIZE

        def moved(index: int) -> int:
            return index + first + (added if index >= size else 0)

        return LinkedCode(
            before + changed + behind + self.instructions[len(own) :],
            tuple(replace(each, index=moved(each.index)) for each in self.relocations),
            (
                self.functions[0],
                *((moved(index), function) for index, function in self.functions[1:]),
            ),
            first,
        )

    def with_maps(self, fd_of: Callable[[str], int]) -> bytes:
        """Return the instructions with the maps' file descriptors in place."""
        code = bytearray(self.instructions)
        for relocation in self.relocations:
            at = relocation.index * INSN_SIZE
            offset = relocation.value_offset
            _set_source(code, at, _PSEUDO_MAP_FD if offset is None else _PSEUDO_MAP_VALUE)
            _UNSIGNED.pack_into(code, at + 4, fd_of(relocation.map))
            _UNSIGNED.pack_into(code, at + INSN_SIZE + 4, offset or 0)
        return bytes(code)

    def function_at(self, index: int) -> tuple[int, Function] | None:
        """Return the index of the first instruction of the function that holds one, and it."""
        if not 0 <= index * INSN_SIZE < len(self.instructions):
            return None
        return self.functions[bisect_right(self.functions, index, key=lambda each: each[0]) - 1]


class Code:
    """All functions of an object file, with every reference resolved.

    :param map_at: finds what a symbol outside of the code stands for.
    :raises ObjectFileError: a function or relocation is malformed or of a kind that is not
        supported.
    """

    def __init__(self, elf: ElfFile, map_at: MapAt) -> None:
        self._elf = elf
        self._map_at = map_at
        self._functions = _functions(elf)
        self._by_start = {
            (function.section.index, function.start): function
            for functions in self._functions.values()
            for function in functions
        }
        self._shared: dict[tuple[Function, bool], _FunctionReference] = {}
        self._references = {index: self._resolve(elf.sections[index]) for index in self._functions}
        self._offsets = {
            index: sorted(references) for index, references in self._references.items()
        }

    def functions(self) -> Iterator[Function]:
        """Yield all functions, in the order of sections and within them."""
        for functions in self._functions.values():
            yield from functions

    def link(self, program: Function) -> LinkedCode:
        """Put a program together with the functions that it reaches, each of them once."""
        code = bytearray()
        placed = {program: 0}
        relocations: list[MapRelocation] = []
        calls: list[tuple[int, _FunctionReference]] = []
        size = program.end - program.start
        # A dictionary may not grow while it is walked; a list may.
        order = [program]
        for function in order:
            base = len(code)
            code += function.section.data[function.start : function.end]
            for offset, reference in self._within(function):
                at = base + offset - function.start
                if isinstance(reference, MapReference):
                    relocations.append(
                        MapRelocation(at // INSN_SIZE, reference.map, reference.value_offset)
                    )
                    _clear_addend(code, at)
                    continue
                calls.append((at, reference))
                called = reference.function
                if called not in placed:
                    placed[called] = size // INSN_SIZE
                    order.append(called)
                    size += called.end - called.start
        for at, reference in calls:
            if not reference.is_call:
                _clear_addend(code, at)
            _set_source(code, at, _PSEUDO_CALL if reference.is_call else _PSEUDO_FUNC)
            distance = placed[reference.function] - at // INSN_SIZE - 1
            _SIGNED.pack_into(code, at + 4, distance)
        return LinkedCode(
            bytes(code),
            tuple(relocations),
            tuple((index, function) for function, index in placed.items()),
        )

    def maps_reached(self, programs: Iterable[Function]) -> set[str]:
        """Return the names of the maps that some programs and the functions they reach refer to."""
        reached = dict.fromkeys(programs)
        found: set[str] = set()
        order = list(reached)
        for function in order:
            for _, reference in self._within(function):
                if isinstance(reference, MapReference):
                    found.add(reference.map)
                elif reference.function not in reached:
                    reached[reference.function] = None
                    order.append(reference.function)
        return found

    def _within(self, function: Function) -> Iterator[tuple[int, _Reference]]:
        """Yield the references of one function with their byte offsets in the section."""
        offsets = self._offsets[function.section.index]
        references = self._references[function.section.index]
        first, last = bisect_left(offsets, function.start), bisect_left(offsets, function.end)
        for offset in offsets[first:last]:
            yield offset, references[offset]

    def _resolve(self, section: Section) -> dict[int, _Reference]:
        relocations: dict[int, Relocation] = {}
        for relocation in self._elf.relocations(section):
            if relocation.offset in relocations:
                raise self._refusal(section, relocation, "the instruction has another relocation")
            relocations[relocation.offset] = relocation
        found: dict[int, _Reference] = {}
        for function in self._functions[section.index]:
            opcodes = bytes(section.data[function.start : function.end : INSN_SIZE])
            for match in _REFERRING.finditer(opcodes):
                at = function.start + match.start() * INSN_SIZE
                relocated = relocations.pop(at, None)
                if match[0][0] == _CALL:
                    reference = self._called(section, at, relocated)
                elif len(match[0]) == 1:
                    raise self._elf.error(f"function {function.name!r} ends within an instruction")
                else:
                    reference = self._loaded(section, at, relocated)
                if reference is not None:
                    found[at] = reference
        for relocation in relocations.values():
            raise self._refusal(
                section, relocation, "it does not apply to a call or a 64-bit load of a function"
            )
        return found

    def _called(
        self, section: Section, at: int, relocation: Relocation | None
    ) -> _Reference | None:
        source = section.data[at + 1] >> 4
        distance = (_immediate(section, at) + 1) * INSN_SIZE
        if relocation is None:
            if source == _PSEUDO_CALL:
                return self._function(section.index, at + distance, is_call=True) or self._stray(
                    section, at, "the called address is not the start of a function"
                )
            if source:
                self._stray(section, at, "it calls a kernel function by number")
            return None
        symbol = relocation.symbol
        self._check(section, relocation, _R_BPF_64_32)
        if source != _PSEUDO_CALL:
            raise self._refusal(section, relocation, "the instruction is no call of a function")
        target = self._function(symbol.section, symbol.value + distance, is_call=True)
        if target is None:
            raise self._refusal(section, relocation, "that is not the start of a function")
        return target

    def _loaded(
        self, section: Section, at: int, relocation: Relocation | None
    ) -> _Reference | None:
        if relocation is None:
            # Descriptors in the file would be those of whichever process loads it.
            if section.data[at + 1] >> 4:
                self._stray(section, at, "it refers to a map or function without a relocation")
            return None
        symbol = relocation.symbol
        self._check(section, relocation, _R_BPF_64_64)
        addend = _immediate(section, at)
        if symbol.section in self._functions:
            target = self._function(symbol.section, symbol.value + addend, is_call=False)
            if target is None:
                raise self._refusal(section, relocation, "that is not the start of a function")
            return target
        found = self._map_at(symbol, addend)
        if isinstance(found, str):
            raise self._refusal(section, relocation, found)
        return found

    def _check(self, section: Section, relocation: Relocation, expected: int) -> None:
        """Refuse what this instruction cannot have, and what only the kernel could resolve."""
        if relocation.type != expected:
            raise self._refusal(section, relocation, f"here only {_NAMES[expected]} is supported")
        if relocation.symbol.section == SHN_UNDEF:
            raise self._refusal(
                section,
                relocation,
                "the symbol is not defined in this file; extern symbols (.ksyms, .kconfig, kfuncs)"
                " are not supported",
            )

    def _function(self, section: int, start: int, *, is_call: bool) -> _FunctionReference | None:
        function = self._by_start.get((section, start))
        if function is None:
            return None
        return self._shared.setdefault((function, is_call), _FunctionReference(function, is_call))

    def _stray(self, section: Section, at: int, reason: str) -> NoReturn:
        raise self._elf.error(f"the instruction in section {section.name!r} at {at:#x}: {reason}")

    def _refusal(self, section: Section, relocation: Relocation, reason: str) -> ObjectFileError:
        name = _NAMES.get(relocation.type, f"of type {relocation.type}")
        return self._elf.error(
            f"relocation {name} in section {section.name!r} at {relocation.offset:#x}"
            f" against {relocation.symbol.name!r}: {reason}"
        )


def _functions(elf: ElfFile) -> dict[int, list[Function]]:
    """Find the functions of every section with code, in the order of their addresses."""
    symbols: dict[int, list[Symbol]] = {}
    size = 0
    for section in elf.sections:
        if section.executable:
            size += len(section.data)
            if len(section.data) % INSN_SIZE:
                raise elf.error(f"section {section.name!r} does not hold whole instructions")
            symbols[section.index] = []
    if size > MAX_INSTRUCTIONS * INSN_SIZE:
        raise elf.error(f"more than {MAX_INSTRUCTIONS} instructions")
    for symbol in elf.symbols:
        if symbol.type == SymbolType.FUNC and symbol.section in symbols:
            symbols[symbol.section].append(symbol)
    return {
        index: _functions_of(elf, elf.sections[index], found) for index, found in symbols.items()
    }


def _functions_of(elf: ElfFile, section: Section, symbols: list[Symbol]) -> list[Function]:
    symbols.sort(key=lambda symbol: symbol.value)
    functions: list[Function] = []
    for number, symbol in enumerate(symbols):
        # An assembler leaves out the size: such a function reaches up to the next one.
        following = symbols[number + 1].value if number + 1 < len(symbols) else section.size
        end = symbol.value + symbol.size if symbol.size else following
        if not symbol.value < end <= section.size or symbol.value % INSN_SIZE or end % INSN_SIZE:
            raise elf.error(
                f"function {symbol.name!r} at {symbol.value:#x} to {end:#x} does not fit into"
                f" the {section.size:#x} bytes of section {section.name!r}"
            )
        if end > following:
            raise elf.error(
                f"functions {symbol.name!r} and {symbols[number + 1].name!r} of section"
                f" {section.name!r} overlap"
            )
        functions.append(
            Function(symbol.name, section, symbol.value, end, symbol.binding != Binding.LOCAL)
        )
    return functions


def _immediate(section: Section, at: int) -> int:
    return int(_SIGNED.unpack_from(section.data, at + 4)[0])


def _clear_addend(code: bytearray, at: int) -> None:
    """Zero both immediates of a 64-bit load."""
    _UNSIGNED.pack_into(code, at + 4, 0)
    _UNSIGNED.pack_into(code, at + INSN_SIZE + 4, 0)


def _set_source(code: bytearray, at: int, source: int) -> None:
    """Set the source register, which says what the immediate of an instruction means."""
    code[at + 1] = code[at + 1] & 0xF | source << 4
