"""The program that a dispatcher's link runs before its first generation and after its last."""

from __future__ import annotations

import struct
from typing import Final

from ..bpf.programs import Program
from ..bpf.uapi import AttachType, ProgramType, SkAction

_INSTRUCTION: Final = struct.Struct("=BBhi")
_SET_RETURN_VALUE: Final = 0xB7  # BPF_ALU64 | BPF_MOV | BPF_K
_EXIT: Final = 0x95  # BPF_JMP | BPF_EXIT


def load_inert() -> Program:
    """Load a program that passes every packet to the regular lookup; the caller closes it.

    :raises PrivilegeError: ``CAP_BPF`` is missing.
    """
    return Program.load(
        ProgramType.SK_LOOKUP,
        _INSTRUCTION.pack(_SET_RETURN_VALUE, 0, 0, SkAction.PASS)
        + _INSTRUCTION.pack(_EXIT, 0, 0, 0),
        expected_attach_type=AttachType.SK_LOOKUP,
        name="inert",
    )
