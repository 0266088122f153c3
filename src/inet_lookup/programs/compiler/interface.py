"""What a program is written against: its context, what it returns, its section in an object."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import ClassVar

from ..context import FIELDS, Field
from .expressions import kind
from .flow import Flow, as_verdict
from .ir import FunctionBuilder
from .refusal import Refused
from .values import Value


class Interface(ABC):
    """One interface between programs and what runs them.

    :cvar context: the name of the context's structure in C.
    :cvar fields: the fields of the context.
    :cvar shows_socket: whether a program may ask which socket is selected.
    :cvar default: what a program returns that has nothing to say, for messages.
    """

    context: ClassVar[str]
    fields: ClassVar[Mapping[str, Field]]
    shows_socket: ClassVar[bool]
    default: ClassVar[str]

    @abstractmethod
    def section(self, name: str) -> str:
        """Return the ELF section that a program goes to."""

    @abstractmethod
    def returned(self, builder: FunctionBuilder, flow: Flow, value: Value) -> Value:
        """Return a value as a program may return it.

        :raises Refused: it may not.
        """

    @abstractmethod
    def result(self, builder: FunctionBuilder, flow: Flow, value: Value) -> str:
        """Return what :meth:`returned` gave as an ``i32``."""


class SkLookup(Interface):
    """The kernel's ``sk_lookup``."""

    context = "bpf_sk_lookup"
    fields = FIELDS
    shows_socket = True
    default = "PASS"

    def section(self, name: str) -> str:
        """Return the section that libbpf knows too."""
        return "sk_lookup"

    def returned(self, builder: FunctionBuilder, flow: Flow, value: Value) -> Value:
        """Accept verdicts only."""
        if as_verdict(value) is None:
            raise Refused(
                f"a program returns a verdict, not {kind(value)}",
                "return PASS, DROP or the result of redirect()",
            )
        return value

    def result(self, builder: FunctionBuilder, flow: Flow, value: Value) -> str:
        """Return the verdict's number."""
        verdict = as_verdict(value)
        assert verdict is not None
        return verdict


SK_LOOKUP = SkLookup()
