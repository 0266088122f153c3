"""Follows the context pointer through a program's instructions, to find every access through it.

The kernel's verifier walks each path on its own; here paths are brought together where they meet,
so that the effort stays in proportion to the program's size. A register or stack slot holds a set
of what it *may* hold there, and an access is found if its pointer may be the context.

Followed are copies, arithmetic, the 8-byte stack slots of every frame, branches (those on constants
only to where they go), calls of functions, each analysed for what it is called with, and callbacks
that helpers run. A pointer that went through a map's value, through 32-bit arithmetic or through an
unaligned stack slot is not followed: it is a number to the verifier too, which refuses to use it as
a pointer.
"""

from __future__ import annotations

import heapq
import operator
import struct
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Final, NamedTuple

from ..bpf.uapi import INSN_SIZE

_INSTRUCTION: Final = struct.Struct("<BBhi")

# BPF_COMPLEXITY_LIMIT_INSNS and MAX_CALL_FRAMES: the verifier goes no further either.
_MAX_STEPS: Final = 1_000_000
_MAX_DEPTH: Final = 8
# What is kept of all paths, in registers and slots: some 100 MiB.
_MAX_KEPT: Final = 2_000_000

_U64: Final = 0xFFFF_FFFF_FFFF_FFFF
_U32: Final = 0xFFFF_FFFF
_SIZES: Final = {0x00: 4, 0x08: 2, 0x10: 1, 0x18: 8}
_SLOT: Final = 8
_FRAME: Final = 10

# BPF_CLASS()
_LD, _LDX, _ST, _STX, _ALU, _JMP, _JMP32, _ALU64 = range(8)
# BPF_MODE()
_ATOMIC: Final = 0xC0
# whole opcodes
_LD_IMM64: Final = 0x18
_JA: Final = 0x05
_JA32: Final = 0x06
_CALL: Final = 0x85
_EXIT: Final = 0x95
_UNFOLLOWED: Final = frozenset({0x0D, 0x8D})
"""Jumps and calls to addresses in registers (gotox, callx)."""
# BPF_OP()
_ADD, _SUB, _MOV = 0x00, 0x10, 0xB0
# BPF_SRC(), and what the source register of a call or a load of 64 bits says
_X: Final = 0x08
_PSEUDO_CALL: Final = 1
_PSEUDO_FUNC: Final = 4
# Atomic operations on memory that give back what was there.
_FETCH: Final = 0x01
_CMPXCHG: Final = 0xF1
_LOAD_ACQUIRE: Final = 0x100
_STORE_RELEASE: Final = 0x110


class _Atom(NamedTuple):
    """One thing that a register may hold.

    :ivar value: a pointer's distance from its base in bytes, None where it is not known; a number;
        the index of a function's first instruction.
    :ivar frame: for a stack pointer, the number of its call frame.
    """

    kind: str
    value: int | None = None
    frame: int = 0


_OTHER: Final = _Atom("other")
_Value = frozenset[_Atom]
_ANYTHING: Final[_Value] = frozenset({_OTHER})
_NOTHING: Final[_Value] = frozenset()

# Beyond so many, numbers are no longer told apart, and a pointer's distance is not known. A frame
# has 64 slots; of the context, any distance but 0 is one too many already.
_MAX_NUMBERS: Final = 8
_MAX_OFFSETS: Final = {"ctx": 8, "fp": 64}


class UnfollowedError(Exception):
    """A program cannot be followed.

    :ivar index: of the instruction where it ended, in slots of 8 bytes.
    :ivar reason: why, in words.
    """

    def __init__(self, index: int, reason: str) -> None:
        super().__init__(f"instruction {index}: {reason}")
        self.index = index
        self.reason = reason


class Access(NamedTuple):
    """One access through the context pointer.

    :ivar instruction: its index, in slots of 8 bytes.
    :ivar offset: from where the pointer points, in bytes.
    :ivar size: in bytes.
    :ivar write: whether it is a write; an atomic operation counts as one.
    :ivar moved: how far the pointer was moved from the context's start, in bytes; None where that
        is not known.
    """

    instruction: int
    offset: int
    size: int
    write: bool
    moved: int | None


class ContextFlow(NamedTuple):
    """What following the context pointer gave.

    :ivar accesses: in the order of the instructions.
    :ivar lowest_stack: how deep the program's own frame is used, in bytes from its top: 0 or
        negative.
    """

    accesses: tuple[Access, ...]
    lowest_stack: int


def follow_context(instructions: bytes) -> ContextFlow:
    """Find every access through the context pointer, which a program gets as its first argument.

    :param instructions: the program with all functions that it calls, the program first; calls are
        relative to the calling instruction, as the kernel takes them.
    :raises UnfollowedError: the program jumps to addresses in registers, runs out of its
        instructions, or is larger than the kernel's verifier accepts.
    """
    analysis = _Analysis(instructions)
    entry = [_NOTHING] * 11
    entry[1] = frozenset({_Atom("ctx", 0)})
    analysis.call(0, 0, entry, {})
    return ContextFlow(tuple(sorted(analysis.accesses, key=_order)), analysis.lowest_stack)


def _order(access: Access) -> tuple[int, int]:
    return access.instruction, access.moved if access.moved is not None else -(1 << 63)


_Slots = dict[tuple[int, int], _Value]
"""What was stored in stack slots, by frame and by distance from the frame's top."""


@dataclass(slots=True)
class _State:
    registers: list[_Value]
    slots: _Slots

    def copy(self) -> _State:
        return _State(self.registers.copy(), self.slots.copy())

    def absorb(self, other: _State) -> bool:
        """Take in what holds on another path; tell whether that is news."""
        news = False
        for number, value in enumerate(other.registers):
            if not value <= self.registers[number]:
                self.registers[number] = _union(self.registers[number], value)
                news = True
        return _absorb_slots(self.slots, other.slots) or news


class _Outcome(NamedTuple):
    result: _Value
    slots: _Slots


@dataclass(slots=True)
class _Analysis:
    instructions: bytes
    accesses: set[Access] = field(default_factory=set)
    lowest_stack: int = 0
    _outcomes: dict[object, _Outcome] = field(default_factory=dict)
    _steps: int = 0
    _kept: int = 0

    @property
    def _count(self) -> int:
        return len(self.instructions) // INSN_SIZE

    def _instruction(self, index: int) -> tuple[int, int, int, int]:
        code, registers, offset, immediate = _INSTRUCTION.unpack_from(
            self.instructions, index * INSN_SIZE
        )
        return code, registers, offset, immediate

    def call(self, start: int, frame: int, registers: list[_Value], slots: _Slots) -> _Outcome:
        """Run a function for what it is called with; its own frame is gone afterwards."""
        if frame >= _MAX_DEPTH:
            raise UnfollowedError(start, f"calls nest more than {_MAX_DEPTH} deep")
        key = (start, frame, tuple(registers[1:6]), frozenset(slots.items()))
        known = self._outcomes.get(key)
        if known is None:
            entry = [_NOTHING, *registers[1:6], _NOTHING, _NOTHING, _NOTHING, _NOTHING]
            entry.append(frozenset({_Atom("fp", 0, frame)}))
            self._keep(start, slots)
            known = self._outcomes[key] = self._function(start, frame, _State(entry, slots.copy()))
        return known

    def _keep(self, index: int, slots: _Slots) -> None:
        self._kept += 11 + len(slots)
        if self._kept > _MAX_KEPT:
            raise UnfollowedError(
                index, f"more than {_MAX_KEPT} registers and slots are to be kept"
            )

    def _function(self, start: int, frame: int, entry: _State) -> _Outcome:
        reached = {start: entry}
        pending = [start]
        result: _Value = _NOTHING
        slots: _Slots = {}
        ended = False
        while pending:
            # By ascending index most paths have met before what is behind them is walked.
            index = heapq.heappop(pending)
            if pending and pending[0] == index:
                continue
            state = reached[index].copy()
            for target in self._straight(index, frame, state):
                if target is None:
                    result = _union(result, state.registers[0])
                    _absorb_slots(slots, state.slots)
                    ended = True
                elif target not in reached:
                    self._keep(target, state.slots)
                    reached[target] = state.copy()
                    heapq.heappush(pending, target)
                elif reached[target].absorb(state):
                    heapq.heappush(pending, target)
        if not ended:
            # It never returns, which the verifier refuses; nothing behind the call is reached.
            return _Outcome(_NOTHING, {})
        kept = {place: value for place, value in slots.items() if place[0] < frame}
        return _Outcome(frozenset(each for each in result if each.kind != "fp"), kept)

    def _straight(self, index: int, frame: int, state: _State) -> Iterator[int | None]:
        """Run up to the next jump; yield where it may go, None for the function's end."""
        while True:
            self._steps += 1
            if self._steps > _MAX_STEPS:
                raise UnfollowedError(index, f"more than {_MAX_STEPS} steps are needed")
            if not 0 <= index < self._count:
                raise UnfollowedError(index, "the program goes on beyond its end")
            code, registers, offset, immediate = self._instruction(index)
            dst, src = registers & 0xF, registers >> 4
            # Of a call and a load of 64 bits, the source says what the immediate means.
            if dst > _FRAME or (src > _FRAME and code not in (_CALL, _LD_IMM64)):
                raise UnfollowedError(index, "there is no such register")
            if code in _UNFOLLOWED:
                raise UnfollowedError(index, "it goes to an address in a register")
            kind = code & 7
            if kind == _ALU64:
                self._alu64(state, code, dst, src, offset, immediate)
            elif kind == _ALU:
                state.registers[dst] = _alu32(state, code, dst, src, offset, immediate)
            elif kind == _LDX:
                state.registers[dst] = self._load(state, index, src, offset, _SIZES[code & 0x18])
            elif kind in (_ST, _STX):
                self._store(state, index, code, dst, src, offset, immediate)
            elif kind == _LD:
                index += self._load_immediate(state, index, code, dst, src, immediate)
            elif code == _CALL:
                self._called(state, index, frame, src, immediate)
            elif code == _EXIT:
                yield None
                return
            elif code == _JA:
                yield index + 1 + offset
                return
            elif code == _JA32:
                yield index + 1 + immediate
                return
            else:
                taken = _condition(state, code, dst, src, immediate)
                if taken is not False:
                    yield index + 1 + offset
                if taken is not True:
                    yield index + 1
                return
            index += 1

    def _alu64(
        self, state: _State, code: int, dst: int, src: int, offset: int, immediate: int
    ) -> None:
        operand = state.registers[src] if code & _X else _number(immediate & _U64)
        operation = code & 0xF0
        if operation == _MOV:
            # An offset makes it a sign extension or a cast between address spaces.
            state.registers[dst] = operand if not offset else _ANYTHING
            return
        if operation not in (_ADD, _SUB):
            state.registers[dst] = _computed(operation, state.registers[dst], operand, _U64)
            return
        found = set()
        self._steps += len(state.registers[dst]) * len(operand)
        for left in state.registers[dst]:
            for right in operand:
                found.add(_moved(left, right, operation == _SUB))
        for each in found:
            self._note_stack(each)
        state.registers[dst] = _bounded(found)

    def _note_stack(self, pointer: _Atom) -> None:
        if pointer.kind == "fp" and not pointer.frame and pointer.value is not None:
            self.lowest_stack = min(self.lowest_stack, pointer.value)

    def _load(self, state: _State, index: int, src: int, offset: int, size: int) -> _Value:
        found: set[_Atom] = set()
        self._steps += len(state.registers[src])
        for pointer in state.registers[src]:
            if pointer.kind == "ctx":
                self.accesses.add(Access(index, offset, size, False, pointer.value))
            if pointer.kind != "fp":
                found.add(_OTHER)
            elif pointer.value is None:
                found |= {_OTHER}.union(
                    *(value for (frame, _), value in state.slots.items() if frame == pointer.frame)
                )
            else:
                at = pointer.value + offset
                self._note_stack(pointer._replace(value=at))
                whole = size == _SLOT and at % _SLOT == 0
                found |= state.slots.get((pointer.frame, at), _ANYTHING) if whole else _ANYTHING
        return _bounded(found)

    def _store(
        self,
        state: _State,
        index: int,
        code: int,
        dst: int,
        src: int,
        offset: int,
        immediate: int,
    ) -> None:
        size = _SIZES[code & 0x18]
        atomic = code & 7 == _STX and code & 0xE0 == _ATOMIC
        if atomic and immediate == _LOAD_ACQUIRE:
            for pointer in state.registers[src]:
                if pointer.kind == "ctx":
                    self.accesses.add(Access(index, offset, size, True, pointer.value))
            state.registers[dst] = _ANYTHING
            return
        stored = _ANYTHING
        if size == _SLOT and (not atomic or immediate == _STORE_RELEASE):
            stored = state.registers[src] if code & 7 == _STX else _number(immediate & _U64)
        pointers = state.registers[dst]
        self._steps += len(pointers)
        for pointer in pointers:
            if pointer.kind == "ctx":
                self.accesses.add(Access(index, offset, size, True, pointer.value))
            if pointer.kind != "fp" or pointer.value is None:
                # The verifier does not let a pointer be stored where it does not know the slot.
                continue
            at = pointer.value + offset
            self._note_stack(pointer._replace(value=at))
            certain = len(pointers) == 1
            for slot in range(at - at % _SLOT, at + size, _SLOT):
                place = (pointer.frame, slot)
                new = stored if slot == at and size == _SLOT else _ANYTHING
                old = _NOTHING if certain else state.slots.get(place, _ANYTHING)
                state.slots[place] = _union(old, new)
        if atomic and immediate == _CMPXCHG:
            state.registers[0] = _ANYTHING
        elif atomic and immediate & _FETCH:
            state.registers[src] = _ANYTHING

    @staticmethod
    def _clobber(state: _State, result: _Value) -> None:
        state.registers[0] = result
        state.registers[1:6] = [_NOTHING] * 5

    def _load_immediate(
        self, state: _State, index: int, code: int, dst: int, src: int, immediate: int
    ) -> int:
        """Return how many further slots the instruction takes."""
        if code != _LD_IMM64:
            # Packet data by the classic way, with the context in register 6.
            self._clobber(state, _ANYTHING)
            return 0
        if index + 1 >= self._count:
            raise UnfollowedError(index, "the program ends within an instruction")
        if src == _PSEUDO_FUNC:
            state.registers[dst] = frozenset({_Atom("function", index + 1 + immediate)})
        elif src:
            state.registers[dst] = _ANYTHING
        else:
            high = self._instruction(index + 1)[3]
            state.registers[dst] = _number((high & _U32) << 32 | immediate & _U32)
        return 1

    def _called(self, state: _State, index: int, frame: int, src: int, immediate: int) -> None:
        if src == _PSEUDO_CALL:
            outcome = self.call(index + 1 + immediate, frame + 1, state.registers, state.slots)
            state.slots = outcome.slots.copy()
            self._clobber(state, outcome.result)
            return
        self._run_callbacks(state, frame)
        self._clobber(state, _ANYTHING)

    def _run_callbacks(self, state: _State, frame: int) -> None:
        """Run the functions that a helper is given, with any of what it is given beside."""
        arguments = state.registers[1:6]
        callbacks = {
            each.value for value in arguments for each in value if each.kind == "function"
        } - {None}
        if not callbacks:
            return
        given = frozenset(
            each for value in arguments for each in value if each.kind != "function"
        ) | {_OTHER}
        registers = [_NOTHING, *[given] * 5]
        news = True
        while news:
            news = False
            for start in callbacks:
                assert start is not None
                outcome = self.call(start, frame + 1, registers, state.slots)
                news |= _absorb_slots(state.slots, outcome.slots)


def _absorb_slots(into: _Slots, other: _Slots) -> bool:
    """Bring together what stack slots may hold; tell whether that is news."""
    news = False
    for place, value in other.items():
        old = into.get(place, _NOTHING)
        if not value <= old:
            into[place] = _union(old, value)
            news = True
    return news


def _number(value: int) -> _Value:
    return frozenset({_Atom("number", value)})


def _union(one: _Value, other: _Value) -> _Value:
    if one == other or not other:
        return one
    return _bounded(one | other) if one else other


def _bounded(atoms: set[_Atom] | _Value) -> _Value:
    """Keep a set small, so that loops come to an end."""
    if len(atoms) <= _MAX_NUMBERS:
        return frozenset(atoms)
    numbers = {each for each in atoms if each.kind == "number"}
    if len(numbers) > _MAX_NUMBERS:
        atoms = (atoms - numbers) | {_OTHER}
    for kind, most in _MAX_OFFSETS.items():
        pointers = {each for each in atoms if each.kind == kind}
        if len(pointers) > most:
            atoms = (atoms - pointers) | {each._replace(value=None) for each in pointers}
    return frozenset(atoms)


def _moved(left: _Atom, right: _Atom, subtract: bool) -> _Atom:
    """Add to a pointer or a number, or subtract."""
    if right.kind in ("ctx", "fp") and not subtract:
        left, right = right, left
    if left.kind == "number" and right.kind == "number":
        assert left.value is not None
        assert right.value is not None
        by = -right.value if subtract else right.value
        return _Atom("number", (left.value + by) & _U64)
    if left.kind not in ("ctx", "fp") or right.kind in ("ctx", "fp"):
        return _OTHER
    if right.kind != "number" or right.value is None or left.value is None:
        return left._replace(value=None)
    by = right.value - (1 << 64) if right.value >> 63 else right.value
    return left._replace(value=left.value + (-by if subtract else by))


_OPERATIONS: Final[dict[int, Callable[[int, int], int]]] = {
    0x00: operator.add,
    0x10: operator.sub,
    0x20: operator.mul,
    0x40: operator.or_,
    0x50: operator.and_,
    0xA0: operator.xor,
    0x60: lambda value, by: value << (by & 63),
    0x70: lambda value, by: value >> (by & 63),
}


def _computed(operation: int, left: _Value, right: _Value, mask: int) -> _Value:
    """Compute with numbers; anything else gives a number that is not known."""
    function = _OPERATIONS.get(operation)
    a, b = _only_number(left), _only_number(right)
    if function is None or a is None or b is None:
        return _ANYTHING
    if mask == _U32:
        a, b = a & _U32, b & (31 if operation in (0x60, 0x70) else _U32)
    return _number(function(a, b) & mask)


def _alu32(state: _State, code: int, dst: int, src: int, offset: int, immediate: int) -> _Value:
    operand = state.registers[src] if code & _X else _number(immediate & _U32)
    if code & 0xF0 != _MOV:
        return _computed(code & 0xF0, state.registers[dst], operand, _U32)
    value = _only_number(operand)
    return _ANYTHING if value is None or offset else _number(value & _U32)


def _only_number(value: _Value) -> int | None:
    if len(value) == 1:
        (atom,) = value
        if atom.kind == "number":
            return atom.value
    return None


def _signed(value: int, bits: int) -> int:
    return value - (1 << bits) if value >> (bits - 1) else value


_COMPARISONS: Final[dict[int, tuple[Callable[[int, int], object], bool]]] = {
    0x10: (operator.eq, False),
    0x20: (operator.gt, False),
    0x30: (operator.ge, False),
    0x40: (operator.and_, False),
    0x50: (operator.ne, False),
    0x60: (operator.gt, True),
    0x70: (operator.ge, True),
    0xA0: (operator.lt, False),
    0xB0: (operator.le, False),
    0xC0: (operator.lt, True),
    0xD0: (operator.le, True),
}


def _condition(state: _State, code: int, dst: int, src: int, immediate: int) -> bool | None:
    """Tell whether a branch is taken, None where that depends."""
    comparison = _COMPARISONS.get(code & 0xF0)
    left = _only_number(state.registers[dst])
    right = _only_number(state.registers[src]) if code & _X else immediate & _U64
    if comparison is None or left is None or right is None:
        return None
    function, signed = comparison
    bits = 32 if code & 7 == _JMP32 else 64
    left, right = left & ((1 << bits) - 1), right & ((1 << bits) - 1)
    if signed:
        left, right = _signed(left, bits), _signed(right, bits)
    return bool(function(left, right))
