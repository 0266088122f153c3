"""Integer arithmetic, compiled only where it is proven to give Python's result.

Python's integers have no size, the machine's have 64 bits. Each integer carries bounds. Addition,
subtraction, multiplication, negation, left shift and the bit operations commute with the modulus
2**64, so they may leave the 64 bits on the way: ``(a - b) & 0xff`` is exact. Whatever does not
commute (comparing, dividing, shifting right, storing, indexing) demands operands proven to fit.
"""

from __future__ import annotations

import ast
from collections.abc import Callable

from .flow import Flow, int_constant
from .ir import FunctionBuilder
from .refusal import Refused
from .values import U64_MAX, Int, Interval


def fitting(flow: Flow, number: Int, what: str) -> Int:
    """Return an integer with its bounds, all of which 64 bits hold.

    :raises Refused: it may be negative or larger than 64 bits hold.
    """
    bounds = flow.interval(number.ref, number.interval)
    if bounds.lo < 0:
        raise Refused(
            f"{what} may be negative (at least {_shown(bounds.lo)})",
            "check the order first (if a >= b), or keep the bits you need: (a - b) & 0xFFFF",
        )
    if bounds.hi > U64_MAX:
        raise Refused(
            f"{what} may not fit in 64 bits (up to {_shown(bounds.hi)})",
            "keep the bits you need: (a * b) & 0xFFFF_FFFF, or check the operands' size first",
        )
    return Int(number.ref, bounds)


def _shown(number: int) -> str:
    if abs(number) <= 2**16:
        return str(number)
    sign = "-" if number < 0 else ""
    bits = abs(number).bit_length()
    return f"{sign}2**{bits - 1}" if abs(number) == 1 << (bits - 1) else f"about {sign}2**{bits}"


def _add(a: Interval, b: Interval) -> Interval:
    return Interval(a.lo + b.lo, a.hi + b.hi)


def _subtract(a: Interval, b: Interval) -> Interval:
    return Interval(a.lo - b.hi, a.hi - b.lo)


def _multiply(a: Interval, b: Interval) -> Interval:
    corners = [x * y for x in a for y in b]
    return Interval(min(corners), max(corners))


def _mask(bounds: Interval) -> int:
    return (1 << max(bounds.hi, -bounds.lo - 1).bit_length()) - 1


def _and(a: Interval, b: Interval) -> Interval:
    if a.lo >= 0 and b.lo >= 0:
        return Interval(0, min(a.hi, b.hi))
    if a.lo >= 0 or b.lo >= 0:
        return Interval(0, a.hi if a.lo >= 0 else b.hi)
    return Interval(-max(_mask(a), _mask(b)) - 1, max(a.hi, b.hi))


def _or(a: Interval, b: Interval) -> Interval:
    if a.lo >= 0 and b.lo >= 0:
        return Interval(max(a.lo, b.lo), _mask(a) | _mask(b))
    return _signed(a, b)


def _xor(a: Interval, b: Interval) -> Interval:
    if a.lo >= 0 and b.lo >= 0:
        return Interval(0, _mask(a) | _mask(b))
    return _signed(a, b)


def _signed(a: Interval, b: Interval) -> Interval:
    mask = _mask(a) | _mask(b)
    return Interval(-mask - 1, mask)


_COMMUTING: dict[type[ast.operator], tuple[str, Callable[[Interval, Interval], Interval]]] = {
    ast.Add: ("add", _add),
    ast.Sub: ("sub", _subtract),
    ast.Mult: ("mul", _multiply),
    ast.BitAnd: ("and", _and),
    ast.BitOr: ("or", _or),
    ast.BitXor: ("xor", _xor),
}


def binary(builder: FunctionBuilder, flow: Flow, op: ast.operator, left: Int, right: Int) -> Int:
    """Compile ``left op right``.

    :raises Refused: the operator is not supported, or the result could differ from Python's.
    """
    a = flow.interval(left.ref, left.interval)
    b = flow.interval(right.ref, right.interval)
    if type(op) in _COMMUTING:
        name, bounds = _COMMUTING[type(op)]
        ref = builder.value(flow.block, f"{name} i64 {left.ref}, {right.ref}")
        return Int(ref, bounds(a, b).saturated)
    if isinstance(op, ast.LShift):
        _shift_amount(b)
        corners = [x << y for x in a for y in b]
        ref = builder.value(flow.block, f"shl i64 {left.ref}, {right.ref}")
        return Int(ref, Interval(min(corners), max(corners)).saturated)
    if isinstance(op, ast.RShift):
        _shift_amount(b)
        fitting(flow, left, "the number that is shifted right")
        ref = builder.value(flow.block, f"lshr i64 {left.ref}, {right.ref}")
        return Int(ref, Interval(a.lo >> b.hi, a.hi >> b.lo))
    if isinstance(op, ast.FloorDiv | ast.Mod):
        fitting(flow, left, "the number that is divided")
        fitting(flow, right, "the divisor")
        if b.lo == 0:
            raise Refused(
                "the divisor may be 0, where Python raises ZeroDivisionError",
                "divide by a constant, or under a condition such as: if n > 0",
            )
        if isinstance(op, ast.FloorDiv):
            ref = builder.value(flow.block, f"udiv i64 {left.ref}, {right.ref}")
            return Int(ref, Interval(a.lo // b.hi, a.hi // b.lo))
        ref = builder.value(flow.block, f"urem i64 {left.ref}, {right.ref}")
        return Int(ref, Interval(0, min(a.hi, b.hi - 1)) if a.hi >= b.lo else a)
    if isinstance(op, ast.Div):
        raise Refused("/ makes a float, which BPF does not have", "use // instead")
    if isinstance(op, ast.Pow):
        raise Refused("** is supported between constants only", "multiply, or use <<")
    raise Refused("this operator is not supported on integers", "use + - * // % & | ^ << >>")


def _shift_amount(bounds: Interval) -> None:
    if bounds.lo < 0 or bounds.hi > 63:
        raise Refused(
            f"the shift may be by {bounds.lo} to {_shown(bounds.hi)} bits, not by 0 to 63",
            "keep it within: x << (n & 63)",
        )


def negate(builder: FunctionBuilder, flow: Flow, number: Int) -> Int:
    """Compile ``-number``."""
    return binary(builder, flow, ast.Sub(), int_constant(0), number)


def invert(builder: FunctionBuilder, flow: Flow, number: Int) -> Int:
    """Compile ``~number``, which is ``-number - 1``."""
    bounds = flow.interval(number.ref, number.interval)
    ref = builder.value(flow.block, f"xor i64 {number.ref}, -1")
    return Int(ref, Interval(-bounds.hi - 1, -bounds.lo - 1).saturated)


_PREDICATES: dict[type[ast.cmpop], str] = {
    ast.Eq: "eq",
    ast.NotEq: "ne",
    ast.Lt: "ult",
    ast.LtE: "ule",
    ast.Gt: "ugt",
    ast.GtE: "uge",
}

_SIGNED_PREDICATES: dict[type[ast.cmpop], str] = {
    op: predicate.replace("u", "s") for op, predicate in _PREDICATES.items()
}

_NEGATED: dict[type[ast.cmpop], type[ast.cmpop]] = {
    ast.Eq: ast.NotEq,
    ast.NotEq: ast.Eq,
    ast.Lt: ast.GtE,
    ast.LtE: ast.Gt,
    ast.Gt: ast.LtE,
    ast.GtE: ast.Lt,
}


def decided(op: type[ast.cmpop], a: Interval, b: Interval) -> bool | None:
    """Return what bounds alone say of a comparison, or None where they leave it open."""
    if op is ast.Lt:
        return True if a.hi < b.lo else False if a.lo >= b.hi else None
    if op is ast.LtE:
        return True if a.hi <= b.lo else False if a.lo > b.hi else None
    if op in (ast.Gt, ast.GtE):
        return decided(ast.Lt if op is ast.Gt else ast.LtE, b, a)
    if op is ast.Eq:
        if a.hi < b.lo or a.lo > b.hi:
            return False
        return True if a.lo == a.hi == b.lo == b.hi else None
    equal = decided(ast.Eq, a, b)
    return None if equal is None else not equal


def compare(
    builder: FunctionBuilder, flow: Flow, op: type[ast.cmpop], left: Int, right: Int
) -> str | bool:
    """Compile a comparison: the name of an ``i1``, or the answer where bounds decide it.

    :raises Refused: an operand may lie outside 64 bits.
    """
    a = flow.interval(left.ref, left.interval)
    b = flow.interval(right.ref, right.interval)
    answer = decided(op, a, b)
    if answer is not None:
        return answer
    if -(2**63) <= min(a.lo, b.lo) < 0 and max(a.hi, b.hi) < 2**63:
        # The machine's values, taken to have a sign, are Python's.
        predicate = _SIGNED_PREDICATES[op]
    else:
        predicate = _PREDICATES[op]
        fitting(flow, left, "the left side of the comparison")
        fitting(flow, right, "the right side of the comparison")
    return builder.value(flow.block, f"icmp {predicate} i64 {left.ref}, {right.ref}")


def learn(flow: Flow, op: type[ast.cmpop], left: Int, right: Int, *, holds: bool) -> None:
    """Note on a path what a comparison that holds, or does not, says of its operands."""
    if not holds:
        op = _NEGATED[op]
    a = flow.interval(left.ref, left.interval)
    b = flow.interval(right.ref, right.interval)
    if op is ast.Lt:
        _narrow(flow, left, Interval(a.lo, min(a.hi, b.hi - 1)))
        _narrow(flow, right, Interval(max(b.lo, a.lo + 1), b.hi))
    elif op is ast.LtE:
        _narrow(flow, left, Interval(a.lo, min(a.hi, b.hi)))
        _narrow(flow, right, Interval(max(b.lo, a.lo), b.hi))
    elif op in (ast.Gt, ast.GtE):
        learn(flow, ast.Lt if op is ast.Gt else ast.LtE, right, left, holds=True)
    elif op is ast.Eq:
        _narrow(flow, left, a.intersection(b))
        _narrow(flow, right, a.intersection(b))
    elif op is ast.NotEq:
        _narrow(flow, left, _without(a, b))
        _narrow(flow, right, _without(b, a))


def _without(a: Interval, b: Interval) -> Interval:
    """Return ``a`` less the single value of ``b`` where that lies at one end of ``a``."""
    if b.lo != b.hi:
        return a
    return Interval(a.lo + (a.lo == b.lo), a.hi - (a.hi == b.lo))


def _narrow(flow: Flow, number: Int, bounds: Interval) -> None:
    if number.ref.startswith("%"):
        flow.learn(number.ref, bounds)
