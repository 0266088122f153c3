"""Turns the RFC's verdict into the kernel's, by instructions around a program's own.

The RFC uses the selected socket if the program returns ``BPF_REDIRECT``; whatever else it returns,
the regular lookup goes on, also where a socket was selected before. Linux takes ``SK_PASS`` and
uses what is selected. So the program keeps its context, and where it would return it jumps to code
behind its end instead, which is::

        if (verdict != BPF_REDIRECT)
            bpf_sk_assign(ctx, NULL, BPF_SK_LOOKUP_F_REPLACE);
        return SK_PASS;

Selecting nothing undoes this program's selection alone: of several programs in a namespace, the
kernel remembers the last socket that one selected, not the last answer (``BPF_PROG_SK_LOOKUP_RUN_
ARRAY()`` of ``include/linux/filter.h``).

Why not an entry that calls the program as a function: the program would lose a call frame and
stack, its BTF would need a function that no source has, and a program that it tail-calls would
return to that entry, its verdict translated twice.
"""

from __future__ import annotations

import re
import struct
from typing import Final

from ..bpf.helper_ids import Helper
from ..bpf.uapi import INSN_SIZE, SkAction, SkLookupFlags
from ..errors import ObjectFileError
from .verdicts import BPF_REDIRECT

_INSTRUCTION: Final = struct.Struct("<BBhi")
_EXIT: Final = 0x95
_JUMP: Final = 0x05
_FAR_JUMP: Final = 0x06
_CALL: Final = 0x85
_LOAD_64: Final = 0x18
_CALLEE_SAVED: Final = (6, 7, 8, 9)
_FRAME: Final = 10
_MAX_STACK: Final = 512
_SLOT: Final = 8

# In these, the source register's field says what the immediate means.
_PSEUDO_SOURCES: Final = frozenset({_CALL, _LOAD_64})


def _instruction(
    code: int, dst: int = 0, src: int = 0, offset: int = 0, immediate: int = 0
) -> bytes:
    return _INSTRUCTION.pack(code, src << 4 | dst, offset, immediate)


class Keeper:
    """Where a program keeps its context from the entry on until it returns.

    :param register: a register that the program does not use and that calls preserve.
    :param slot: a stack slot below all that the program uses, in bytes from the frame's top.
    """

    def __init__(self, *, register: int | None = None, slot: int | None = None) -> None:
        assert (register is None) != (slot is None)
        self._register = register
        self._slot = slot or 0

    @property
    def keep(self) -> bytes:
        """The instruction that keeps it, at the program's entry."""
        if self._register is not None:
            return _instruction(0xBF, self._register, 1)
        return _instruction(0x7B, _FRAME, 1, self._slot)

    @property
    def fetch(self) -> bytes:
        """The instruction that loads it as the first argument of a call."""
        if self._register is not None:
            return _instruction(0xBF, 1, self._register)
        return _instruction(0x79, 1, _FRAME, self._slot)


def free_register(function: bytes) -> Keeper | None:
    """Find a register that a program does not use, None where it uses all.

    :param function: the instructions of the program, without those of functions that it calls,
        which leave these registers to it.
    """
    used = _registers(function)
    return next((Keeper(register=each) for each in _CALLEE_SAVED if each not in used), None)


def free_slot(lowest_stack: int, name: str) -> Keeper:
    """Find a stack slot that a program does not use.

    If it used the slot after all, in a way that cannot be seen, the verifier would refuse it: what
    is passed to ``bpf_sk_assign()`` must be the context.

    :param lowest_stack: how deep the program uses its stack, 0 or negative.
    :param name: what messages call the program.
    :raises ObjectFileError: it uses all of the stack.
    """
    slot = lowest_stack // _SLOT * _SLOT - _SLOT
    if slot < -_MAX_STACK:
        raise ObjectFileError(
            f"program {name!r} uses {-lowest_stack} of the {_MAX_STACK} bytes of stack and all"
            " registers that calls preserve; 8 bytes are needed to keep its context",
            hint="make an array smaller, or keep it in a map",
        )
    return Keeper(slot=slot)


def _registers(function: bytes) -> set[int]:
    used: set[int] = set()
    second_slot = False
    for code, registers, _, _ in _INSTRUCTION.iter_unpack(function):
        if second_slot:
            second_slot = False
            continue
        used.add(registers & 0xF)
        if code not in _PSEUDO_SOURCES:
            used.add(registers >> 4)
        second_slot = code == _LOAD_64
    return used


def verdict_code(keeper: Keeper) -> bytes:
    """Return the instructions that a program ends with; register 0 holds the RFC's verdict."""
    deselect = (
        keeper.fetch
        + _instruction(0xB7, 2, immediate=0)
        + _instruction(0xB7, 3, immediate=SkLookupFlags.REPLACE)
        + _instruction(_CALL, immediate=Helper.SK_ASSIGN)
    )
    # The RFC's kernel takes the verdict's lower 32 bits.
    redirected = _instruction(0x16, 0, offset=len(deselect) // INSN_SIZE, immediate=BPF_REDIRECT)
    return (
        redirected + deselect + _instruction(0xB7, 0, immediate=SkAction.PASS) + _instruction(_EXIT)
    )


def end_in_jumps(function: bytes) -> bytes:
    """Make every return of a function a jump to what is behind its end."""
    changed = bytearray(function)
    count = len(function) // INSN_SIZE
    for found in re.finditer(bytes([_EXIT]), function[::INSN_SIZE]):
        index = found.start()
        distance = count - index - 1
        jump = (
            _instruction(_JUMP, offset=distance)
            if distance < 1 << 15
            # Linux 6.6, which a program needs only where it is as long as this.
            else _instruction(_FAR_JUMP, immediate=distance)
        )
        changed[index * INSN_SIZE : (index + 1) * INSN_SIZE] = jump
    return bytes(changed)
