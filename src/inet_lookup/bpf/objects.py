"""BPF programs and maps as compilers leave them: ELF object files, read and loaded.

:meth:`ObjectFile.parse` reads a file into values, without privileges and without a kernel.
:meth:`ObjectFile.load` makes its maps and programs in the kernel::

    with ObjectFile.parse(data, name="steer.o").load(maps={"servers": servers}) as loaded:
        link = NetnsLink.create(loaded.programs["steer"], netns, AttachType.SK_LOOKUP)

Objects that clang and LLVM emit for BPF are read: programs in sections named after their type, maps
declared with BTF, global variables, calls between functions, line info. Not supported, and refused
by name: CO-RE relocations, symbols that only the kernel can resolve (``.ksyms``, ``.kconfig``),
struct_ops, and maps declared without BTF.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from types import MappingProxyType
from typing import TYPE_CHECKING, Final, Self

from .btf import BtfTypes, Kind, Linkage
from .btf_adaptation import complete, make_functions_static
from .dialects import Dialect, dialect_named
from .elf_reader import ElfFile, SectionType, Symbol
from .line_info import DebugInfo
from .map_definitions import MapDefinitions, MapSpec, read_maps
from .object_loading import LoadedObject as LoadedObject
from .object_loading import load_object
from .relocations import Code, Function, LinkedCode, MapReference, MapRelocation
from .section_names import meaning_of
from .source_line import SourceLine
from .uapi import INSN_SIZE, AttachType, ProgramFlags, ProgramType
from .variables import Variable, read_variables

if TYPE_CHECKING:
    import os

    from .maps import Map

_SUBPROGRAMS: Final = ".text"
_MAX_LICENSE: Final = 127
_UNSUPPORTED_SECTIONS: Final = (".struct_ops", ".struct_ops.link", ".kconfig", ".ksyms", ".arena.1")


@dataclass(frozen=True, eq=False)
class ProgramSpec:
    """A program of an object file.

    :ivar name: of its function.
    :ivar section: the ELF section that it stands in.
    :ivar type: from the section's name; None where that says nothing.
    :ivar expected_attach_type: from the section's name; None where that says nothing.
    :ivar autoload: whether it is loaded without being asked for: not in a section whose name starts
        with ``?``.
    :ivar dialect: for a program that the kernel does not take as it is; None for all others.
    """

    name: str
    section: str
    type: ProgramType | None
    expected_attach_type: AttachType | None
    flags: ProgramFlags
    autoload: bool
    dialect: Dialect | None
    _function: Function = field(repr=False)
    _code: Code = field(repr=False)
    _debug: DebugInfo = field(repr=False)

    @cached_property
    def linked(self) -> LinkedCode:
        """The program as the kernel is to run it, together with the functions that it reaches.

        :raises ObjectFileError: it is written in a dialect and cannot be translated.
        """
        written = self._code.link(self._function)
        return self.dialect.translate(written, self.name) if self.dialect else written

    @property
    def instructions(self) -> bytes:
        """The instructions, those of called functions included; maps are not put in yet."""
        return self.linked.instructions

    @property
    def relocations(self) -> tuple[MapRelocation, ...]:
        """Where maps have to be put in."""
        return self.linked.relocations

    @property
    def func_info(self) -> bytes:
        """Records of 8 bytes for the kernel; empty unless every function has one."""
        records = [
            self._debug.func_info(function.section.name, function.start, index)
            for index, function in self.linked.functions
        ]
        return b"".join(records) if all(records) else b""

    @property
    def line_info(self) -> bytes:
        """Records of 16 bytes for the kernel; empty unless every function has some."""
        records = [
            self._debug.line_info(
                function.section.name,
                function.start,
                function.end,
                index if index else self.linked.entry,
            )
            for index, function in self.linked.functions
        ]
        if not all(records):
            return b""
        # What stands in front of the program's own instructions belongs to its first line.
        return bytes(4) + b"".join(records)[4:]

    def source_of(self, index: int) -> SourceLine | None:
        """Return the source line of an instruction, None where the object does not tell.

        :param index: of the instruction in :attr:`instructions`, in slots of 8 bytes.
        """
        found = self.linked.function_at(index)
        if found is None:
            return None
        first, function = found
        within = index - (first if first else self.linked.entry)
        offset = min(max(function.start + within * INSN_SIZE, function.start), function.end - 1)
        return self._debug.source_of(function.section.name, function.start, offset)


@dataclass(frozen=True, eq=False)
class ObjectFile:
    """What an object file holds. Make one with :meth:`parse`.

    :ivar name: what messages call the file.
    :ivar license: of its section ``license``; empty where it has none.
    :ivar programs: by the name of the function.
    :ivar maps: by name; the sections of global variables are maps too, such as ``.bss``.
    :ivar variables: global variables by name; those whose name several have are left out.
    :ivar btf: the type information, ready for the kernel; None where the file has none.
    """

    name: str
    license: str
    programs: Mapping[str, ProgramSpec]
    maps: Mapping[str, MapSpec]
    variables: Mapping[str, Variable]
    btf: BtfTypes | None = field(repr=False)

    @classmethod
    def parse(cls, data: bytes, *, name: str) -> Self:
        """Read an object file.

        The file need not be trusted: whatever it holds, reading it takes no more than 256 MiB and
        raises nothing else.

        :param data: the whole file.
        :param name: what messages call it.
        :raises ObjectFileError: it is truncated, malformed, not a 64-bit little-endian BPF object,
            or uses what is not supported; the message says what and where.
        """
        elf = ElfFile(data, name)
        btf_section = elf.section_named(".BTF")
        types = BtfTypes(btf_section.data, name) if btf_section is not None else None
        debug_section = elf.section_named(".BTF.ext")
        debug = DebugInfo(debug_section.data if debug_section else None, types, name)
        if types is not None:
            types = complete(types, elf)
        maps = read_maps(elf, types)
        code = Code(elf, lambda symbol, addend: _map_at(elf, maps, symbol, addend))
        _refuse_unsupported(elf, types)
        variables = read_variables(elf, types, maps)
        programs = _programs(elf, code, debug)
        if types is not None and any(each.dialect for each in programs.values()):
            types = make_functions_static(types, name)
        return cls(
            name=name,
            license=_license(elf),
            programs=MappingProxyType(programs),
            maps=MappingProxyType(_maps_for(programs, code, maps)),
            variables=MappingProxyType({each: of for each, of in variables.items() if of}),
            btf=types,
        )

    def load(
        self,
        *,
        maps: Mapping[str, Map] | None = None,
        programs: Collection[str] | None = None,
        variables: Mapping[str, int | bytes] | None = None,
        program_type: ProgramType | None = None,
        expected_attach_type: AttachType | None = None,
        license: str | None = None,
        pin_directory: str | os.PathLike[str] | None = None,
    ) -> LoadedObject:
        """Make the maps and load the programs; when anything fails, nothing stays open or pinned.

        :param maps: maps to use instead of those that the file declares; they stay the caller's.
            Type, sizes and ``max_entries`` have to be the declared ones; a map of sockets may have
            values of 4 or 8 bytes, whichever is declared. Name a section, such as ``.bss``, to go
            on with its variables.
        :param programs: names of the programs to load; all but those marked with ``?`` when None.
        :param variables: values of global variables, those in ``.rodata`` (``const volatile``)
            included, which the verifier takes as constants.
        :param program_type: for all programs loaded here, instead of what their sections say;
            ``expected_attach_type`` likewise.
        :param license: instead of the file's.
        :param pin_directory: where the maps declared with ``LIBBPF_PIN_BY_NAME`` are pinned, or
            opened where they are already; in a BPF file system.
        :raises ObjectFileError: a name given is not in the file, a map does not fit, a value does
            not fit its variable, or the type of a program is not known.
        :raises VerifierError: a program is rejected; with the source line where the file has it.
        :raises KernelError: a map or the type information is refused.
        """
        return load_object(
            self,
            maps=maps or {},
            programs=programs,
            variables=variables or {},
            program_type=program_type,
            expected_attach_type=expected_attach_type,
            license=self.license if license is None else license,
            pin_directory=pin_directory,
        )


def _map_at(elf: ElfFile, maps: MapDefinitions, symbol: Symbol, addend: int) -> MapReference | str:
    at = symbol.value + addend
    if symbol.section == maps.section and symbol.section:
        name = maps.by_offset.get(at)
        return MapReference(name) if name else f"no map is declared at {at:#x} of '.maps'"
    name = maps.data_sections.get(symbol.section)
    if name is None:
        if symbol.section >= len(elf.sections):
            return "the symbol has no place in this file"
        return (
            f"it is in section {elf.sections[symbol.section].name!r},"
            " which holds neither maps nor variables nor functions"
        )
    size = elf.sections[symbol.section].size
    if not 0 <= at < size:
        return f"{at:#x} lies outside of the {size:#x} bytes of section {name!r}"
    return MapReference(name, at)


def _programs(elf: ElfFile, code: Code, debug: DebugInfo) -> dict[str, ProgramSpec]:
    found: dict[str, ProgramSpec] = {}
    for function in code.functions():
        section = function.section.name
        # Static functions, and all of .text, are only called.
        if section == _SUBPROGRAMS or not function.exported:
            continue
        if function.name in found:
            raise elf.error(f"two programs are named {function.name!r}")
        meaning = meaning_of(section.removeprefix("?"))
        found[function.name] = ProgramSpec(
            name=function.name,
            section=section,
            type=meaning.type if meaning else None,
            expected_attach_type=meaning.expected_attach_type if meaning else None,
            flags=meaning.flags if meaning else ProgramFlags(0),
            autoload=not section.startswith("?"),
            dialect=dialect_named(meaning.dialect) if meaning and meaning.dialect else None,
            _function=function,
            _code=code,
            _debug=debug,
        )
    return found


def _maps_for(
    programs: Mapping[str, ProgramSpec], code: Code, maps: MapDefinitions
) -> dict[str, MapSpec]:
    """Return the maps as they are to be for the programs that use them."""
    found = dict(maps.by_name)
    dialects = {each.dialect for each in programs.values() if each.dialect is not None}
    for dialect in dialects:
        functions = [each._function for each in programs.values() if each.dialect is dialect]
        for name in code.maps_reached(functions):
            found[name] = dialect.map(found[name])
    return found


def _refuse_unsupported(elf: ElfFile, types: BtfTypes | None) -> None:
    """Refuse what no relocation shows, such as an extern that is only declared in BTF."""
    for section in elf.sections:
        if section.name in _UNSUPPORTED_SECTIONS and section.size:
            raise elf.error(f"section {section.name!r} is not supported")
    if types is None:
        return
    for each in types.of_kind(Kind.VAR, Kind.FUNC):
        if types.linkage(each) == Linkage.EXTERN:
            raise elf.error(
                f"extern {each.name!r}, which only the kernel could resolve, is not supported"
            )


def _license(elf: ElfFile) -> str:
    section = elf.section_named("license")
    if section is None or section.type != SectionType.PROGBITS:
        return ""
    text = bytes(section.data[: _MAX_LICENSE + 1]).partition(b"\0")[0]
    if len(text) > _MAX_LICENSE:
        raise elf.error(f"the licence is longer than {_MAX_LICENSE} bytes")
    try:
        return text.decode("ascii")
    except UnicodeDecodeError:
        raise elf.error(f"the licence is not ASCII: {text!r}") from None
