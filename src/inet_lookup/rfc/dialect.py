"""Programs of sections ``inet_lookup/…``, as the RFC has them, made programs of today's kernels."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Final

from ..bpf.uapi import MapType
from .context_check import check_context_accesses
from .context_flow import UnfollowedError, follow_context
from .context_rules import INET_LOOKUP as RULES
from .verdict_code import end_in_jumps, free_register, free_slot, verdict_code

if TYPE_CHECKING:
    from ..bpf.dialects import Dialect
    from ..bpf.map_definitions import MapSpec
    from ..bpf.objects import ProgramSpec
    from ..bpf.relocations import LinkedCode

_COOKIE_SIZE: Final = 8


class _InetLookup:
    """See :class:`inet_lookup.bpf.dialects.Dialect`."""

    def map(self, spec: MapSpec) -> MapSpec:
        """Make a reuseport socket array, which such programs may not use today, a sock map."""
        if spec.type != MapType.REUSEPORT_SOCKARRAY:
            return spec
        return replace(spec, type=MapType.SOCKMAP, value_size=_COOKIE_SIZE)

    def translate(self, code: LinkedCode, name: str) -> LinkedCode:
        """Put the code around the program that makes its verdict the kernel's."""
        keeper = free_register(code.own)
        if keeper is None:
            try:
                lowest_stack = follow_context(code.instructions).lowest_stack
            except UnfollowedError:
                lowest_stack = 0  # the check refuses the program
            keeper = free_slot(lowest_stack, name)
        return code.surrounded(keeper.keep, end_in_jumps(code.own), verdict_code(keeper))

    def check(self, program: ProgramSpec) -> None:
        """Refuse what the RFC's verifier refuses of the context, with the source line.

        :raises ContextAccessError: an access is not allowed.
        """
        check_context_accesses(
            program.linked.instructions, RULES, name=program.name, source_of=program.source_of
        )


INET_LOOKUP: Final[Dialect] = _InetLookup()
