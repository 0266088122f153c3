"""Writes ELF objects field by field, so that a test can get any field wrong on purpose."""

from __future__ import annotations

import struct
from dataclasses import dataclass, field

PROGBITS, SYMTAB, STRTAB, RELA, NOBITS, REL = 1, 2, 3, 4, 8, 9
WRITE, ALLOC, EXECUTE = 1, 2, 4
OBJECT, FUNC, SECTION = 1, 2, 3
LOCAL, GLOBAL = 0, 1
R_BPF_64_64, R_BPF_64_ABS64, R_BPF_64_32 = 1, 2, 10


@dataclass
class SectionDraft:
    name: str
    data: bytes
    type: int = PROGBITS
    flags: int = 0
    link: int = 0
    info: int = 0
    entry_size: int = 0
    size: int | None = None


@dataclass
class ElfBuilder:
    """A BPF object in the making; sections count from 1, symbols too."""

    sections: list[SectionDraft] = field(default_factory=list)
    symbols: list[bytes] = field(default_factory=list)
    strings: bytearray = field(default_factory=lambda: bytearray(1))
    header: dict[str, int] = field(default_factory=dict)
    """Fields of the ELF header to override."""

    def section(self, name: str, data: bytes, **fields: int) -> int:
        self.sections.append(SectionDraft(name, data, **fields))
        return len(self.sections)

    def code(self, name: str, *instructions: bytes) -> int:
        return self.section(name, b"".join(instructions), flags=ALLOC | EXECUTE)

    def symbol(
        self,
        name: str,
        section: int,
        value: int = 0,
        size: int = 0,
        *,
        type: int = FUNC,
        binding: int = GLOBAL,
    ) -> int:
        at = len(self.strings)
        self.strings += name.encode() + b"\0"
        self.symbols.append(
            struct.pack("<IBBHQQ", at, binding << 4 | type, 0, section, value, size)
        )
        return len(self.symbols)

    def relocate(self, section: int, *entries: tuple[int, int, int], type: int = REL) -> int:
        """Add relocations (offset, type, symbol) of a section."""
        layout = "<QQq" if type == RELA else "<QQ"
        data = b"".join(
            struct.pack(layout, offset, symbol << 32 | kind, *([0] if type == RELA else []))
            for offset, kind, symbol in entries
        )
        return self.section(
            f".rel{self.sections[section - 1].name}",
            data,
            type=type,
            link=-1,  # the symbol table, whose index is not known yet
            info=section,
            entry_size=struct.calcsize(layout),
        )

    def build(self) -> bytes:
        symtab = len(self.sections) + 1
        drafts = [
            *self.sections,
            SectionDraft(
                ".symtab",
                bytes(24) + b"".join(self.symbols),
                SYMTAB,
                link=symtab + 1,
                entry_size=24,
            ),
            SectionDraft(".strtab", bytes(self.strings), STRTAB),
        ]
        names = bytearray(1)
        headers = [bytes(64)]
        body = bytearray()
        for draft in [*drafts, SectionDraft(".shstrtab", b"", STRTAB)]:
            name_at = len(names)
            names += draft.name.encode() + b"\0"
            data = bytes(names) if draft.name == ".shstrtab" else draft.data
            headers.append(
                struct.pack(
                    "<IIQQQQIIQQ",
                    name_at,
                    draft.type,
                    draft.flags,
                    0,
                    64 + len(body),
                    len(data) if draft.size is None else draft.size,
                    symtab if draft.link == -1 else draft.link,
                    draft.info,
                    8,
                    draft.entry_size,
                )
            )
            body += data
        fields = {
            "class": 2,
            "order": 1,
            "type": 1,
            "machine": 247,
            "shoff": 64 + len(body),
            "ehsize": 64,
            "shentsize": 64,
            "shnum": len(headers),
            "shstrndx": len(headers) - 1,
        } | self.header
        header = struct.pack(
            "<4sBBB9xHHIQQQIHHHHHH",
            b"\x7fELF",
            fields["class"],
            fields["order"],
            1,
            fields["type"],
            fields["machine"],
            1,
            0,
            0,
            fields["shoff"],
            0,
            fields["ehsize"],
            0,
            0,
            fields["shentsize"],
            fields["shnum"],
            fields["shstrndx"],
        )
        return header + bytes(body) + b"".join(headers)


def instruction(opcode: int, *, source: int = 0, target: int = 0, immediate: int = 0) -> bytes:
    return struct.pack("<BBhi", opcode, source << 4 | target, 0, immediate)


def load_64(target: int = 1, *, source: int = 0, immediate: int = 0) -> bytes:
    """A 64-bit load, of two slots: where maps and variables are put in."""
    return instruction(0x18, source=source, target=target, immediate=immediate) + bytes(8)


def call(immediate: int = -1, *, source: int = 1) -> bytes:
    return instruction(0x85, source=source, immediate=immediate)


RETURN_1 = instruction(0xB7, immediate=1) + instruction(0x95)
"""``return 1``: to a socket lookup program, pass."""


@dataclass
class BtfBuilder:
    """BTF in the making; each method returns the new type's id."""

    types: bytearray = field(default_factory=bytearray)
    strings: bytearray = field(default_factory=lambda: bytearray(1))
    count: int = 0

    def name(self, text: str) -> int:
        if not text:
            return 0
        at = len(self.strings)
        self.strings += text.encode() + b"\0"
        return at

    def add(self, name: str, kind: int, vlen: int, size_or_type: int, trailer: bytes = b"") -> int:
        self.types += struct.pack("<III", self.name(name), kind << 24 | vlen, size_or_type)
        self.types += trailer
        self.count += 1
        return self.count

    def pointer(self, to: int) -> int:
        return self.add("", 2, 0, to)

    def array(self, element: int, length: int) -> int:
        return self.add("", 3, 0, 0, struct.pack("<III", element, element, length))

    def integer(self, name: str, size: int, *, signed: bool = False) -> int:
        return self.add(name, 1, 0, size, struct.pack("<I", signed << 24 | size * 8))

    def structure(self, members: list[tuple[str, int]]) -> int:
        """A structure of pointers."""
        trailer = b"".join(
            struct.pack("<III", self.name(name), type_id, number * 64)
            for number, (name, type_id) in enumerate(members)
        )
        return self.add("", 4, len(members), 8 * len(members), trailer)

    def variable(self, name: str, type_id: int) -> int:
        return self.add(name, 14, 0, type_id, struct.pack("<I", 1))

    def section(self, name: str, size: int, *variables: tuple[int, int, int]) -> int:
        """A data section of variables (type id of the variable, offset, size)."""
        trailer = b"".join(struct.pack("<III", *variable) for variable in variables)
        return self.add(name, 15, len(variables), size, trailer)

    def map(self, **settings: int) -> int:
        """The structure that declares a map, from its numbers."""
        an_int = self.integer("int", 4, signed=True)
        members = [
            (name, self.pointer(self.array(an_int, number))) for name, number in settings.items()
        ]
        return self.structure(members)

    def build(self) -> bytes:
        header = struct.pack(
            "<HBBIIIII",
            0xEB9F,
            1,
            0,
            24,
            0,
            len(self.types),
            len(self.types),
            len(self.strings),
        )
        return header + self.types + self.strings
