"""How much stack a program needs, read from what LLVM has made of it."""

from __future__ import annotations

import struct
import sys
from typing import Final

from .refusal import Refused

# MAX_BPF_STACK of linux/filter.h.
_LIMIT: Final = 512

# Instruction codes (Documentation/bpf/standardization/instruction-set.rst).
_MOVE: Final = 0xBF
_ADD_NUMBER: Final = 0x07
_LOAD, _STORE_NUMBER, _STORE = 1, 2, 3
_FRAME_POINTER: Final = 10


def require_stack(instructions: bytes) -> None:
    """Refuse a program that needs more stack than the kernel gives.

    :param instructions: 8 bytes each, as an object file holds them.
    :raises Refused: it says how much the program needs.
    """
    depth = 0
    frame_copy: int | None = None
    for code, registers, offset, number in struct.iter_unpack("=BBhi", instructions):
        destination, source = registers & 0xF, registers >> 4
        if sys.byteorder == "big":
            destination, source = source, destination
        base = {_LOAD: source, _STORE_NUMBER: destination, _STORE: destination}.get(code & 7)
        if base == _FRAME_POINTER:
            depth = max(depth, -offset)
        if code == _ADD_NUMBER and destination == frame_copy:
            depth = max(depth, -number)
        frame_copy = destination if code == _MOVE and source == _FRAME_POINTER else None
    if depth > _LIMIT:
        raise Refused(
            f"the program needs {depth} bytes of stack, and the kernel gives {_LIMIT}",
            "keep fewer values for later: use each soon after it is computed, or put them in a map",
        )
