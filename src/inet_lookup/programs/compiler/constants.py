"""What a program may take from its surroundings, and what is computed when it is compiled."""

from __future__ import annotations

import ast
import dataclasses
import enum
import ipaddress
import operator
from collections.abc import Callable
from types import BuiltinFunctionType, FunctionType, ModuleType, NoneType, WrapperDescriptorType
from typing import Any, cast

from ..maps import Array, Counters, Hash, LpmTrie, ProgramMap, SockArray
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

# Beyond these a constant is a mistake, and computing it could take for ever.
_BITS = 4096
_ELEMENTS = 1 << 20
_KEEP_SMALL = "an integer of a program has 64 bits"

ADDRESSES = (ipaddress.IPv4Address, ipaddress.IPv6Address)
NETWORKS = (ipaddress.IPv4Network, ipaddress.IPv6Network)
CALLABLE = (BuiltinFunctionType, FunctionType, type)

# Values of just these types never change and behave as Python's own; a subclass may do anything.
_IMMUTABLE = frozenset(
    {
        NoneType,
        bool,
        int,
        str,
        bytes,
        range,
        *ADDRESSES,
        *NETWORKS,
        NetworkSet,
        Array,
        Counters,
        Hash,
        LpmTrie,
        SockArray,
    }
)

# A class that changes one of int's operators does not count as integers do.
_OPERATORS = {
    name for name, value in vars(int).items() if isinstance(value, WrapperDescriptorType)
} - {"__getattribute__", "__repr__"}


def is_integer(value: object) -> bool:
    """Whether a value is an integer that counts as all do: a truth value and ``IntEnum`` are.

    A member of an ``IntFlag`` is not: what ``~`` makes of it depends on the other flags.
    """
    if type(value) in (bool, int):
        return True
    return isinstance(value, int) and all(
        getattr(type(value), name) is getattr(int, name) for name in _OPERATORS
    )


def is_address(value: object) -> bool:
    """Whether a value is an address that one of a packet's can equal.

    An ``IPv4Interface`` is an ``IPv4Address`` by its class, but equal to none; nor is an IPv6
    address with a scope, which no packet's address has.
    """
    return type(value) in ADDRESSES and getattr(value, "scope_id", None) is None


def check(name: str, value: object) -> object:
    """Return a value that a name refers to, if a program may be compiled with it.

    :raises Refused: it could change after compiling, or means nothing in the kernel.
    """
    if type(value) in _IMMUTABLE or isinstance(value, (*CALLABLE, ModuleType, enum.Enum)):
        return value
    if type(value) in (tuple, frozenset) or _is_named_tuple(value):
        for item in cast("tuple[object, ...]", value):
            check(name, item)
        return value
    if _is_frozen_dataclass(value):
        return value
    kind = type(value).__name__
    if isinstance(value, bytearray | dict | list | set):
        better = {"list": "a tuple", "set": "a frozenset"}.get(kind, "an Array or Hash map")
        raise Refused(
            f"{name!r} is a {kind}, which can change after the program is compiled",
            f"make it {better}",
        )
    if isinstance(value, complex | float):
        raise Refused(f"{name!r} is a {kind}; BPF has integers only", "make it an integer")
    if isinstance(value, ADDRESSES):
        raise Refused(
            f"{name!r} is an {kind}, which equals no address of a packet",
            "use its .ip or its .network",
        )
    if isinstance(value, ProgramMap):
        raise Refused(
            f"{name!r} is of {kind}, and what a subclass changes is not compiled",
            "use Array, Counters, Hash, LpmTrie or SockArray itself",
        )
    if callable(value):
        raise Refused(
            f"{name!r}, of the type {kind}, is not a function marked with @inline",
            "move what is to be called into a plain function and decorate that with @inline",
        )
    raise Refused(
        f"{name!r}, of the type {kind}, may change after the program is compiled",
        "take what it holds into integers, tuples, a NamedTuple or a frozen dataclass",
    )


def _is_named_tuple(value: object) -> bool:
    return (
        isinstance(value, tuple) and type(value).__bases__ == (tuple,) and hasattr(value, "_fields")
    )


def _is_frozen_dataclass(value: object) -> bool:
    return (
        dataclasses.is_dataclass(value)
        and not isinstance(value, type)
        and bool(getattr(type(value), "__dataclass_params__").frozen)  # noqa: B009 (not in typeshed)
    )


def attribute(value: object, name: str) -> object:
    """Return an attribute of a constant: of a module, an enum, a named tuple, a frozen dataclass.

    :raises Refused: the object is mutable, or has no such attribute.
    """
    frozen = (
        isinstance(value, ModuleType | enum.Enum)
        or (isinstance(value, type) and issubclass(value, enum.Enum))
        or (isinstance(value, tuple) and name in getattr(value, "_fields", ()))
        or (
            _is_frozen_dataclass(value)
            and name in {field.name for field in dataclasses.fields(cast("Any", value))}
        )
        or (
            isinstance(value, ADDRESSES + NETWORKS)
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
        raise Refused(
            f"{getattr(value, '__name__', repr(value))} has no attribute {name!r}",
            "correct the name",
        ) from None


def truth(value: object) -> bool:
    """Return whether Python takes a constant for true.

    :raises Refused: it may be true now and false later.
    """
    _require_constant_behaviour(value)
    return bool(value)


def call(function: Callable[..., object], args: list[object], kwargs: dict[str, object]) -> object:
    """Return the result of a pure function of constants.

    :raises Refused: the function raises an exception on them, or would run for long.
    """
    for argument in (*args, *kwargs.values()):
        if not (function is len and isinstance(argument, Array | Counters | SockArray)):
            _require_constant_behaviour(argument)
        elif argument.max_entries == 0:
            raise Refused("this map has no size yet", "declare it with max_entries")
        if isinstance(argument, FunctionType | BuiltinFunctionType):
            raise Refused("a function cannot be passed on", "compute it in a module constant")
        if function in _ITERATE and isinstance(argument, range):
            _require_size(len(argument[: _ELEMENTS + 1]))
        if function in _ITERATE and isinstance(argument, NETWORKS):
            _require_size(argument.num_addresses)
    return _evaluate(function, *args, **kwargs)


_ITERATE: frozenset[object] = frozenset({frozenset, max, min, sum, tuple})


def item(container: object, index: object) -> object:
    """Return ``container[index]``.

    :raises Refused: Python raises an exception, or what is indexed is no tuple or the like.
    """
    if not isinstance(container, (bytes, enum.EnumMeta, range, str, tuple, *NETWORKS)):
        raise Refused(f"a {type(container).__name__} cannot be indexed in a program", "use a tuple")
    return _evaluate(operator.getitem, container, index)


def binary(op: ast.operator, left: object, right: object) -> object:
    """Return ``left op right`` as Python computes it.

    :raises Refused: Python raises an exception, or the result is no value for a program.
    """
    function = _BINARY.get(type(op))
    if function is None:
        raise Refused("this operator is not supported", "use + - * // % ** & | ^ << >>")
    for operand in (left, right):
        _require_constant_behaviour(operand)
        if isinstance(operand, str | bytes):
            raise Refused("strings are not supported", "compute what they say in a module constant")
    if isinstance(op, ast.LShift | ast.Pow) and isinstance(right, int):
        size = left.bit_length() if isinstance(left, int) else 1
        if right < 0 or (right + size if isinstance(op, ast.LShift) else right * size) > _BITS:
            raise Refused(
                f"the result of this constant expression exceeds {_BITS} bits", _KEEP_SMALL
            )
    if isinstance(op, ast.Mult):
        for sequence, times in ((left, right), (right, left)):
            if isinstance(sequence, tuple) and isinstance(times, int):
                _require_size(len(sequence) * times)
    result = _evaluate(function, left, right)
    if isinstance(result, int) and result.bit_length() > _BITS:
        raise Refused(f"the result of this constant expression exceeds {_BITS} bits", _KEEP_SMALL)
    if isinstance(result, tuple | frozenset):
        _require_size(len(result))
    return result


def unary(op: ast.unaryop, operand: object) -> object:
    """Return ``op operand`` as Python computes it.

    :raises Refused: Python raises an exception, or the result is no value for a program.
    """
    _require_constant_behaviour(operand)
    return _evaluate(_UNARY[type(op)], operand)


def compare(op: ast.cmpop, left: object, right: object) -> object:
    """Return ``left op right`` as Python computes it.

    :raises Refused: the comparison raises an exception, or is of identity between values.
    """
    if isinstance(op, ast.Is | ast.IsNot):
        singletons = (bool, NoneType, Verdict)
        if not isinstance(left, singletons) or not isinstance(right, singletons):
            raise Refused("'is' compares identity, which numbers do not have", "use ==")
    _require_constant_behaviour(left)
    _require_constant_behaviour(right)
    if isinstance(op, ast.In | ast.NotIn) and isinstance(right, range):
        # Python goes through the range for all but plain integers.
        if is_integer(left):
            left = int(cast("int", left))
        else:
            _require_size(len(right[: _ELEMENTS + 1]))
    return _evaluate(_COMPARE[type(op)], left, right)


def _require_constant_behaviour(value: object) -> None:
    """Refuse what an operation may ask about its changing content, or run code of the user for."""
    if isinstance(value, ProgramMap):
        raise Refused(
            "this asks for the content of a map, which changes",
            "use the methods of the map, or 'in' on a Hash or LpmTrie",
        )
    if _is_frozen_dataclass(value):
        raise Refused(
            f"a {type(value).__name__} can only be asked for its fields", "name the field"
        )


def _require_size(count: int) -> None:
    if count > _ELEMENTS:
        raise Refused(
            f"a constant of more than {_ELEMENTS} elements is too large", "use a range, or a map"
        )


def _evaluate(function: Callable[..., object], *args: object, **kwargs: object) -> object:
    try:
        result = function(*args, **kwargs)
    except Exception as error:
        raise Refused(
            f"Python raises {type(error).__name__} here: {error}", "correct the expression"
        ) from None
    if isinstance(result, complex | float):
        raise Refused("the result is a float; BPF has integers only", "use // for division")
    return result
