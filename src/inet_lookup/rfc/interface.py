"""The RFC's interface, as far as the compiler of programs in Python has to know it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import ClassVar, Final

from ..programs.compiler.expressions import kind
from ..programs.compiler.flow import Flow, as_int
from ..programs.compiler.interface import Interface
from ..programs.compiler.ir import FunctionBuilder
from ..programs.compiler.refusal import Refused
from ..programs.compiler.values import Interval, Value
from ..programs.context import FIELDS, Field

_INT32: Final = Interval(-(2**31), 2**31 - 1)


class InetLookup(Interface):
    """Programs that return a number, ``BPF_REDIRECT`` among all others."""

    context = "bpf_inet_lookup"
    fields: ClassVar[Mapping[str, Field]] = {
        name: replace(field, size=4) for name, field in FIELDS.items() if name != "ingress_ifindex"
    }
    shows_socket = False
    default = "BPF_OK"

    def section(self, name: str) -> str:
        """Return a section of the program's own, as the RFC's programs have it."""
        return f"inet_lookup/{name}"

    def returned(self, builder: FunctionBuilder, flow: Flow, value: Value) -> Value:
        """Accept the numbers that an ``int`` of C holds."""
        number = as_int(builder, flow, value)
        if number is None:
            raise Refused(
                f"a program returns a number, not {kind(value)}",
                "return BPF_OK, BPF_REDIRECT or the result of redirect_lookup()",
            )
        if number.interval.lo < _INT32.lo or number.interval.hi > _INT32.hi:
            raise Refused(
                "the number returned may not fit in 32 bits, and be another one then",
                "return BPF_OK, BPF_REDIRECT or the result of redirect_lookup()",
            )
        return number

    def result(self, builder: FunctionBuilder, flow: Flow, value: Value) -> str:
        """Return the number's lower 32 bits, which are all of it."""
        number = as_int(builder, flow, value)
        assert number is not None
        return builder.value(flow.block, f"trunc i64 {number.ref} to i32")


INET_LOOKUP: Final = InetLookup()
