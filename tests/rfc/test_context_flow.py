"""The context pointer is followed through copies, stack slots, branches, calls and callbacks.

What the check says is held against the verifier: on programs made for one way each, and on programs
made at random.
"""

from __future__ import annotations

import random
import re
import struct

import pytest

from inet_lookup.bpf import AttachType, Helper, Program, ProgramType
from inet_lookup.errors import VerifierError
from inet_lookup.rfc.context_check import ContextAccessError, check_context_accesses
from inet_lookup.rfc.context_flow import UnfollowedError, follow_context
from inet_lookup.rfc.context_rules import SK_LOOKUP
from support.instructions import (
    FP,
    R0,
    R1,
    R2,
    R3,
    R4,
    R6,
    add,
    call,
    copy,
    instruction,
    jump,
    jump_if_zero,
    leave,
    load,
    move,
    returning,
    store,
    store_value,
)

pytestmark = pytest.mark.kernel

R5, R7, R8, R9 = 5, 7, 8, 9
GOOD, BAD = 8, 9
"""Offsets of a read of 4 bytes that is allowed, and of one that is not."""


def call_function(distance: int) -> bytes:
    return instruction(0x85, src=1, immediate=distance)


def function_address(dst: int, distance: int) -> bytes:
    return instruction(0x18, dst, 4, immediate=distance) + instruction(0)


def add_register(dst: int, src: int) -> bytes:
    return instruction(0x0F, dst, src)


def read(register: int, offset: int) -> bytes:
    return load(4, R0, register, offset) + returning(1)


def unknown() -> bytes:
    """A number in register 0 that the verifier does not know; registers 1 to 5 are lost."""
    return call(Helper.GET_PRANDOM_U32)


# Each reads through the context at an offset that is put in for 0x7000.
WAYS = {
    "the argument itself": load(4, R0, R1, 0x7000) + returning(1),
    "a copy": copy(R2, R1) + copy(R1, R2) + load(4, R0, R1, 0x7000) + returning(1),
    "a copy kept over a call": copy(R6, R1) + unknown() + load(4, R0, R6, 0x7000) + returning(1),
    "a stack slot": (
        store(8, FP, -8, R1) + move(R1, 0) + load(8, R2, FP, -8) + load(4, R0, R2, 0x7000)
    )
    + returning(1),
    "a stack slot by another pointer": (
        copy(R3, FP)
        + add(R3, -16)
        + store(8, R3, 8, R1)
        + load(8, R2, FP, -8)
        + load(4, R0, R2, 0x7000)
        + returning(1)
    ),
    "one of two branches": (
        copy(R6, R1)
        + unknown()
        + copy(R7, R6)
        + jump_if_zero(R0, 1)
        + jump(0)
        + load(4, R0, R7, 0x7000)
        + returning(1)
    ),
    "an argument of a function": (
        call_function(2) + move(R0, 1) + leave() + load(4, R0, R1, 0x7000) + leave()
    ),
    "the result of a function": (
        call_function(3) + load(4, R0, R0, 0x7000) + move(R0, 1) + leave() + copy(R0, R1) + leave()
    ),
    "the caller's frame": (
        store(8, FP, -8, R1)
        + copy(R1, FP)
        + add(R1, -8)
        + call_function(2)
        + move(R0, 1)
        + leave()
        + load(8, R2, R1, 0)
        + load(4, R0, R2, 0x7000)
        + leave()
    ),
    "a slot that a function filled": (
        copy(R2, R1)
        + copy(R1, FP)
        + add(R1, -8)
        + call_function(4)
        + load(8, R2, FP, -8)
        + load(4, R0, R2, 0x7000)
        + move(R0, 1)
        + leave()
        + store(8, R1, 0, R2)
        + move(R0, 0)
        + leave()
    ),
    "a pointer moved there and back": (
        add(R1, 4) + add(R1, -4) + load(4, R0, R1, 0x7000) + returning(1)
    ),
    "a loop": (
        move(R6, 3)
        + load(4, R0, R1, 0x7000)
        + add(R6, -1)
        + instruction(0x55, R6, offset=-3)
        + returning(1)
    ),
}


def placed(code: bytes, offset: int) -> bytes:
    changed = code.replace(struct.pack("<h", 0x7000), struct.pack("<h", offset))
    assert changed != code
    return changed


def verifier_says(code: bytes) -> str | None:
    """What the verifier refuses a program for, None where it accepts it."""
    try:
        Program.load(ProgramType.SK_LOOKUP, code, expected_attach_type=AttachType.SK_LOOKUP).close()
    except VerifierError as error:
        return error.summary
    return None


def check_says(code: bytes) -> str | None:
    try:
        check_context_accesses(code, SK_LOOKUP, name="case")
    except ContextAccessError as error:
        return error.message
    return None


@pytest.mark.parametrize("way", WAYS)
def test_an_access_is_found_by_whatever_way_the_pointer_came(way: str) -> None:
    allowed, refused = placed(WAYS[way], GOOD), placed(WAYS[way], BAD)
    assert check_says(allowed) is None
    assert verifier_says(allowed) is None
    assert f"invalid bpf_context access off={BAD} size=4" in str(check_says(refused))
    assert f"invalid bpf_context access off={BAD} size=4" in str(verifier_says(refused))


def test_an_access_in_a_callback_is_found() -> None:
    """The verifier wants type information for callbacks; a program in C holds it against that."""
    code = (
        store(8, FP, -8, R1)
        + move(R1, 4)
        + function_address(R2, 7)
        + copy(R3, FP)
        + add(R3, -8)
        + move(R4, 0)
        + call(Helper.LOOP)
        + returning(1)
        + load(8, R2, R2, 0)
        + load(4, R0, R2, 0x7000)
        + move(R0, 0)
        + leave()
    )
    assert check_says(placed(code, GOOD)) is None
    assert f"off={BAD} size=4" in str(check_says(placed(code, BAD)))


MOVED = {
    "by a constant": add(R1, 4) + read(R1, 4),
    "by a number in a register": move(R2, 4) + add_register(R1, R2) + read(R1, 4),
    "added the other way round": move(R2, 4) + add_register(R2, R1) + read(R2, 4),
    "by an unknown number": (
        copy(R6, R1) + unknown() + instruction(0x57, R0, immediate=4) + add_register(R6, R0)
    )
    + read(R6, 8),
    "in a loop": (
        move(R2, 3) + add(R1, 4) + add(R2, -1) + instruction(0x55, R2, offset=-3) + read(R1, 4)
    ),
}


@pytest.mark.parametrize("how", MOVED)
def test_a_moved_context_pointer_is_not_read_through(how: str) -> None:
    assert re.search("modified ctx ptr|variable ctx access", str(check_says(MOVED[how])))
    assert re.search("modified ctx ptr|variable ctx access", str(verifier_says(MOVED[how])))


NOT_REACHED = {
    "behind a constant": move(R2, 1) + instruction(0x55, R2, offset=1) + load(4, R0, R1, BAD),
    "behind a constant of 32 bits": (
        instruction(0xB4, R2, immediate=-1)
        + instruction(0xC6, R2, offset=1)  # if w2 s< 0
        + load(4, R0, R1, BAD)
    ),
    "behind a constant from two": (
        move(R2, 6)
        + instruction(0x57, R2, immediate=3)
        + instruction(0x15, R2, offset=1, immediate=2)
        + load(4, R0, R1, BAD)
    ),
}


@pytest.mark.parametrize("where", NOT_REACHED)
def test_what_is_not_reached_does_not_count(where: str) -> None:
    code = NOT_REACHED[where] + returning(1)
    assert check_says(code) is None
    assert verifier_says(code) is None


def test_a_slot_that_was_overwritten_holds_the_context_no_more() -> None:
    code = (
        store(8, FP, -8, R1) + store_value(8, FP, -8, 0) + load(8, R2, FP, -8) + load(4, R0, R2, 1)
    ) + returning(1)
    assert check_says(code) is None
    assert "invalid mem access" in str(verifier_says(code))


def test_the_stack_that_a_program_uses_is_measured() -> None:
    code = copy(R2, FP) + add(R2, -40) + store(8, R2, 8, R1) + store(4, FP, -20, R1) + returning(1)
    assert follow_context(code).lowest_stack == -40


@pytest.mark.parametrize(
    ("code", "reason"),
    [
        (instruction(0x0D, R1), "an address in a register"),
        (move(R0, 1), "beyond its end"),
        (jump(5) + leave(), "beyond its end"),
        (instruction(0xBF, 12), "no such register"),
        (instruction(0xBF, R0, 12), "no such register"),
        (instruction(0x18, R0), "ends within an instruction"),
        (call_function(-1), "more than 8 deep"),
        (jump_if_zero(R0, 0) * 300_000 + leave(), "are to be kept"),
    ],
)
def test_what_cannot_be_followed_is_refused(code: bytes, reason: str) -> None:
    with pytest.raises(UnfollowedError, match=reason):
        follow_context(code)
    assert "cannot be checked" in str(check_says(code))


def random_program(chance: random.Random) -> bytes:
    """A program that moves pointers about and reads through them, with branches and a call."""
    code = [copy(R6, R1), unknown(), copy(R9, R0), copy(R1, R6), copy(R7, R6), move(R8, 0)]
    code += [store_value(8, FP, -8 * slot, 0) for slot in (1, 2, 3)]
    registers = (R6, R7, R8)
    body: list[bytes] = []
    for _ in range(chance.randrange(4, 16)):
        slot = -8 * chance.randrange(1, 4)
        body.append(
            chance.choice(
                [
                    copy(R7, chance.choice(registers)) if chance.random() < 0.4 else copy(R7, R6),
                    copy(R7, R6),
                    copy(R8, R7),
                    store(8, FP, slot, chance.choice(registers)),
                    load(8, chance.choice((R7, R8, R8)), FP, slot),
                    move(R8, chance.choice((0, 4, -4))),
                    store_value(chance.choice((4, 8)), FP, slot, 0),
                    load(chance.choice((1, 2, 4)), R0, chance.choice((R6, R7)), GOOD),
                    load(4, R0, R6, BAD if chance.random() < 0.15 else 12),
                    add(R7, chance.choice((4, -4))) if chance.random() < 0.3 else copy(R7, R6),
                    # A new unknown number each time, so that no two branches go together.
                    instruction(0x77, R9, immediate=1)
                    + instruction(
                        0x45, R9, offset=chance.randrange(0, 3), immediate=1 << chance.randrange(8)
                    ),
                    copy(R1, chance.choice((R6, R7))) + b"call" + bytes([chance.randrange(2)]),
                ]
            )
        )
    body += [move(R0, 0)] * 4 + [move(R0, 1), leave()]
    # Functions behind the program: one reads through its argument, one gives it back. Both are
    # called at least once, for the verifier wants every instruction reached.
    functions = [read(R1, GOOD if chance.random() < 0.8 else BAD), copy(R0, R1) + leave()]
    code += [copy(R1, R6) + b"call" + bytes([each]) for each in (0, 1)]
    size = sum(len(part) // 8 * 8 for part in code + body) // 8 + sum(
        b"call" in part for part in code + body
    )
    out = b""
    for part in code + body:
        instructions, called, which = part.partition(b"call")
        out += instructions
        if called:
            target = size + (len(functions[0]) // 8 if which[0] else 0)
            out += call_function(target - len(out) // 8 - 1)
    return out + b"".join(functions)


def test_random_programs_are_judged_as_the_verifier_judges_them() -> None:
    chance = random.Random(4)
    context = re.compile("bpf_context access|ctx ptr|ctx access")
    accepted = refused = 0
    for number in range(2500):
        code = random_program(chance)
        verifier, check = verifier_says(code), check_says(code)
        if verifier is None:
            assert check is None, f"program {number}"
            accepted += 1
        elif context.search(verifier):
            assert check is not None, f"program {number}: {verifier}"
            refused += 1
    assert accepted > 300
    assert refused > 300
