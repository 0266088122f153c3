"""A generation as its pins have it: open in this process, with all of its maps."""

from __future__ import annotations

from contextlib import ExitStack
from typing import TYPE_CHECKING, Final, Self

from ..bpf.handle import Resource
from ..dispatch.generation import OWN_MAPS, SHARED_MAPS
from . import state_map
from .dispatcher_pins import PROGRAM
from .state import State, decode

if TYPE_CHECKING:
    from collections.abc import Mapping

    from ..bpf.kernel_object import KernelObject
    from ..bpf.maps import Map
    from ..bpf.programs import Program
    from .dispatcher_pins import DispatcherPins

BASES: Final = "bases"
STATE: Final = "state"

KEPT_MAPS: Final = (*SHARED_MAPS, BASES)
"""The maps that a generation takes over from the one before."""


class PinnedGeneration(Resource):
    """A generation's program, maps and state.

    :ivar number: counted up with every change of the ruleset.
    :ivar program: the dispatcher, loaded with these maps.
    :ivar maps: by name.
    :ivar state: the ruleset and what it was given.
    """

    def __init__(
        self, number: int, program: Program, maps: Mapping[str, Map], state: State, owned: ExitStack
    ) -> None:
        super().__init__()
        self.number = number
        self.program = program
        self.maps = maps
        self.state = state
        self._owned = owned

    @classmethod
    def open(cls, pins: DispatcherPins, number: int, *, read_only: bool = False) -> Self:
        """Open a generation.

        :param read_only: ask for no more than a member of the pins' group may have.
        :raises KernelError: ``ENOENT`` where it was removed meanwhile.
        :raises InetLookupError: its state cannot be read.
        """
        with ExitStack() as stack:
            program = stack.enter_context(pins.open_program(number))
            maps = {
                name: stack.enter_context(pins.open_map(number, name, read_only=read_only))
                for name in (*OWN_MAPS, *KEPT_MAPS, STATE)
            }
            state = decode(state_map.read(maps[STATE]))
            return cls(number, program, maps, state, stack.pop_all())

    @property
    def objects(self) -> dict[str, KernelObject]:
        """What is pinned for it, by name."""
        return {PROGRAM: self.program, **self.maps}

    def _release(self) -> None:
        self._owned.close()

    def __repr__(self) -> str:
        state = "closed" if self.closed else f"of {len(self.state.ruleset.rules)} rules"
        return f"<PinnedGeneration {self.number} {state}>"
