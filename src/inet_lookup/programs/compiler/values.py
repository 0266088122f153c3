"""What the compiler knows of a value while it walks a function: its kind and its bounds.

Every kind says how the value is held in LLVM IR (its ``ref``) and what is proven about it. Kinds
without a ``ref`` exist at compile time only, and vanish from the program.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal, NamedTuple

U64_MAX: Final = 2**64 - 1

# What stands for infinity in bounds.
_BEYOND: Final = 2**256

Side = Literal["local", "remote"]


class Interval(NamedTuple):
    """The bounds of an integer, both ends included, as Python integers of any size.

    A value is held modulo 2**64. As long as its interval lies within [0, 2**64) the machine's value
    is Python's value; beyond, only operations that commute with the modulus may use it.
    """

    lo: int
    hi: int

    @property
    def fits(self) -> bool:
        """Whether the machine's 64 bits hold just Python's value."""
        return self.lo >= 0 and self.hi <= U64_MAX

    @property
    def saturated(self) -> Interval:
        """These bounds, or those of any integer at all where they reach beyond ±2**256.

        Unrolled loops would make bounds of thousands of digits. Once a bound is given up nothing
        brings it back: whatever is computed with such an interval is unbounded too.
        """
        if max(-self.lo, self.hi) < _BEYOND:
            return self
        return Interval(-_BEYOND, _BEYOND)

    def intersection(self, other: Interval) -> Interval:
        """Return what both hold; empty (``lo > hi``) where they share nothing."""
        return Interval(max(self.lo, other.lo), min(self.hi, other.hi))

    @property
    def empty(self) -> bool:
        """Whether no integer is left."""
        return self.lo > self.hi


U64: Final = Interval(0, U64_MAX)
BIT: Final = Interval(0, 1)


@dataclass(frozen=True, slots=True)
class Int:
    """An integer in an ``i64``."""

    ref: str
    interval: Interval


@dataclass(frozen=True, slots=True)
class Bool:
    """A truth value in an ``i1``."""

    ref: str


@dataclass(frozen=True, slots=True)
class VerdictValue:
    """A verdict in an ``i32``."""

    ref: str


@dataclass(frozen=True, slots=True)
class Maybe:
    """An integer or None: an ``i1`` that says whether it is there, and an ``i64``."""

    present: str
    ref: str
    interval: Interval = U64


@dataclass(frozen=True, slots=True)
class ContextValue:
    """The context that the program was called with."""


@dataclass(frozen=True, slots=True)
class AddressValue:
    """``ctx.local_ip`` or ``ctx.remote_ip``: read where it is used."""

    side: Side


@dataclass(frozen=True, slots=True)
class AddressWords:
    """``ctx.local_ip6`` or ``ctx.remote_ip6``: four words, one of which is then picked."""

    side: Side


@dataclass(frozen=True, slots=True)
class SelectedSocket:
    """What ``ctx.sk`` was when it was read: an ``i1`` that says whether there was a socket."""

    present: str


@dataclass(frozen=True, slots=True)
class TupleValue:
    """A tuple of which the compiler knows every element's place, not every element."""

    items: tuple[Value, ...]


@dataclass(frozen=True, slots=True, eq=False)
class Constant:
    """A Python object that is known when the program is compiled."""

    value: object


@dataclass(frozen=True, slots=True)
class Undefined:
    """A variable that has no value, or none of one kind, on every path; using it is refused."""

    problem: str
    hint: str


Value = (
    Int
    | Bool
    | VerdictValue
    | Maybe
    | ContextValue
    | AddressValue
    | AddressWords
    | SelectedSocket
    | TupleValue
    | Constant
    | Undefined
)
