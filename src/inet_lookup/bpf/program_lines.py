"""The source lines of a loaded program, read back from the kernel."""

from __future__ import annotations

import struct
from ctypes import addressof
from typing import TYPE_CHECKING, Final

from . import attr
from .btf import BtfTypes
from .kernel_btf import Btf
from .kernel_object import read_info
from .programs import ProgramLine
from .source_line import SourceLine

if TYPE_CHECKING:
    from .programs import Program

# struct bpf_line_info: insn_off, file_name_off, line_off, line_col.
_RECORD: Final = struct.Struct("=IIII")
_COLUMN_BITS: Final = 10


def read_lines(program: Program) -> list[ProgramLine]:
    """See :meth:`inet_lookup.bpf.programs.Program.source_lines`."""
    operation = f"read the source lines of program {program.name!r}"
    known = read_info(program.fd, attr.ProgInfoStruct(), operation)
    count = known.nr_line_info
    if not count or not known.btf_id:
        return []
    size = known.line_info_rec_size
    room = attr.buffer(count * size)
    read_info(
        program.fd,
        attr.ProgInfoStruct(nr_line_info=count, line_info_rec_size=size, line_info=addressof(room)),
        operation,
    )
    with Btf.from_id(known.btf_id) as btf:
        types = BtfTypes(btf.raw(), f"BTF object {btf.id}")
    records = bytes(room)
    lines = []
    for at in range(0, count * size, size):
        instruction, file, text, place = _RECORD.unpack_from(records, at)
        lines.append(
            ProgramLine(
                instruction,
                SourceLine(
                    file=types.text(file),
                    line=place >> _COLUMN_BITS,
                    column=place & ((1 << _COLUMN_BITS) - 1),
                    text=types.text(text),
                ),
            )
        )
    return lines
