"""The source line that an instruction was compiled from."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class SourceLine:
    """One line of a program's source, as the compiler recorded it in BTF line info.

    :ivar file: the file's name as the compiler was given it.
    :ivar line: from 1; 0 where the compiler invented the instruction.
    :ivar column: from 1; 0 where it is not known.
    :ivar text: the line itself, empty where the compiler did not have the source.
    """

    file: str
    line: int
    column: int
    text: str

    def __str__(self) -> str:
        return f"{self.file}:{self.line}"
