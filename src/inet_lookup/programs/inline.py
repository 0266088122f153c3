"""Functions that programs may call: compiled into each place that calls them."""

from __future__ import annotations

from collections.abc import Callable
from typing import ParamSpec, TypeVar
from weakref import WeakKeyDictionary

from .compiler.source import FunctionSource

P = ParamSpec("P")
R = TypeVar("R")

_SOURCES: WeakKeyDictionary[Callable[..., object], FunctionSource] = WeakKeyDictionary()


def inline(function: Callable[P, R]) -> Callable[P, R]:
    """Mark a function that programs may call.

    It stays a plain Python function. Where a program calls it, its body is compiled in place of the
    call, with what is known of the arguments there; it may take the context, and call other such
    functions, but not itself.

    ::

        @inline
        def is_web(port: int) -> bool:
            return port in (80, 443)

    :raises InetLookupError: it is not defined with ``def``, or its source is not available.
    """
    _SOURCES[function] = FunctionSource(function)
    return function


def inline_source(target: object) -> FunctionSource | None:
    """Return the source of a function marked with :func:`inline`, or None for anything else."""
    try:
        return _SOURCES.get(target)  # type: ignore[call-overload,no-any-return]
    except TypeError:
        return None
