"""What a program may take from its surroundings, and what is computed when it is compiled."""

from __future__ import annotations

import ast
import dataclasses
import enum
import ipaddress
import operator
from collections.abc import Callable
from types import ModuleType
from typing import Any

from ..network_set import NetworkSet
from ..verdict import Verdict
from .refusal import Refused

# Functions without side effects whose results depend on their arguments alone.
PURE: frozenset[object] = frozenset(
    {
        abs,
        bool,
        frozenset,
        int,
        len,
        max,
        min,
        range,
        sum,
        tuple,
        ipaddress.ip_address,
        ipaddress.ip_network,
        ipaddress.IPv4Address,
        ipaddress.IPv4Network,
        ipaddress.IPv6Address,
        ipaddress.IPv6Network,
        NetworkSet,
    }
)

_BINARY: dict[type[ast.operator], Callable[..., Any]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.FloorDiv: operator.floordiv,
    ast.Mod: operator.mod,
    ast.Pow: operator.pow,
    ast.LShift: operator.lshift,
    ast.RShift: operator.rshift,
    ast.BitAnd: operator.and_,
    ast.BitOr: operator.or_,
    ast.BitXor: operator.xor,
    ast.Div: operator.truediv,
}

_UNARY: dict[type[ast.unaryop], Callable[..., Any]] = {
    ast.USub: operator.neg,
    ast.UAdd: operator.pos,
    ast.Invert: operator.invert,
    ast.Not: operator.not_,
}

_COMPARE: dict[type[ast.cmpop], Callable[..., Any]] = {
    ast.Eq: operator.eq,
    ast.NotEq: operator.ne,
    ast.Lt: operator.lt,
    ast.LtE: operator.le,
    ast.Gt: operator.gt,
    ast.GtE: operator.ge,
    ast.In: lambda item, container: operator.contains(container, item),
    ast.NotIn: lambda item, container: not operator.contains(container, item),
    ast.Is: operator.is_,
    ast.IsNot: operator.is_not,
}

# Beyond this a constant is a mistake, and computing it could take for ever.
_BITS = 4096


def check(name: str, value: object) -> object:
    """Return a value that a name refers to, if a program may be compiled with it.

    :raises Refused: it could change after compiling, or means nothing in the kernel.
    """
    if isinstance(value, list | dict | set | bytearray):
        kind = type(value).__name__
        better = {"list": "a tuple", "set": "a frozenset"}.get(kind, "an Array or Hash map")
        raise Refused(
            f"{name!r} is a {kind}, which can change after the program is compiled",
            f"make it {better}",
        )
    if isinstance(value, float | complex):
        raise Refused(f"{name!r} is a {type(value).__name__}; BPF has integers only")
    if isinstance(value, tuple) and not dataclasses.is_dataclass(value):
        for item in value:
            check(name, item)
    return value


def attribute(value: object, name: str) -> object:
    """Return an attribute of a constant: of a module, an enum, a named tuple, a frozen dataclass.

    :raises Refused: the object is mutable, or has no such attribute.
    """
    frozen = (
        isinstance(value, ModuleType | enum.Enum)
        or (isinstance(value, type) and issubclass(value, enum.Enum))
        or (isinstance(value, tuple) and name in getattr(value, "_fields", ()))
        or (
            dataclasses.is_dataclass(value)
            and not isinstance(value, type)
            and getattr(type(value), "__dataclass_params__").frozen  # noqa: B009 (not in typeshed)
            and name in {field.name for field in dataclasses.fields(value)}
        )
        or (
            isinstance(value, _IP_OBJECTS)
            and name in ("version", "prefixlen", "network_address", "broadcast_address")
        )
        or (isinstance(value, range) and name in ("start", "stop", "step"))
    )
    if not frozen:
        raise Refused(
            f"attribute {name!r} of a {type(value).__name__} is not supported",
            "take it into a module constant, a NamedTuple or a frozen dataclass",
        )
    try:
        return check(name, getattr(value, name))
    except AttributeError:
        raise Refused(f"{value!r} has no attribute {name!r}") from None


_IP_OBJECTS = (
    ipaddress.IPv4Address,
    ipaddress.IPv6Address,
    ipaddress.IPv4Network,
    ipaddress.IPv6Network,
)


def call(function: Callable[..., object], args: list[object], kwargs: dict[str, object]) -> object:
    """Return the result of a pure function of constants.

    :raises Refused: the function raises an exception on them.
    """
    try:
        return function(*args, **kwargs)
    except Exception as error:
        raise Refused(f"{_message(error)}") from None


def binary(op: ast.operator, left: object, right: object) -> object:
    """Return ``left op right`` as Python computes it."""
    function = _BINARY.get(type(op))
    if function is None:
        raise Refused("this operator is not supported")
    if isinstance(op, ast.LShift | ast.Pow) and isinstance(right, int):
        size = left.bit_length() if isinstance(left, int) else 1
        if right < 0 or (right + size if isinstance(op, ast.LShift) else right * size) > _BITS:
            raise Refused(f"the result of this constant expression exceeds {_BITS} bits")
    return _evaluate(function, left, right)


def unary(op: ast.unaryop, operand: object) -> object:
    """Return ``op operand`` as Python computes it."""
    return _evaluate(_UNARY[type(op)], operand)


def compare(op: ast.cmpop, left: object, right: object) -> object:
    """Return ``left op right`` as Python computes it.

    :raises Refused: the comparison raises an exception, or is of identity between values.
    """
    if isinstance(op, ast.Is | ast.IsNot):
        singletons = (bool, type(None), Verdict)
        if not isinstance(left, singletons) or not isinstance(right, singletons):
            raise Refused("'is' compares identity, which numbers do not have", "use ==")
    return _evaluate(_COMPARE[type(op)], left, right)


def _evaluate(function: Callable[..., object], *operands: object) -> object:
    try:
        result = function(*operands)
    except Exception as error:
        raise Refused(f"{_message(error)}") from None
    if isinstance(result, float | complex):
        raise Refused("the result is a float; BPF has integers only", "use // for division")
    return result


def _message(error: Exception) -> str:
    return f"Python raises {type(error).__name__} here: {error}"
