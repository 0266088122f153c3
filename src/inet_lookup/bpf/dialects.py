"""Programs that the kernel does not take as they are: what a loader makes of them.

A section's name may stand for a dialect (:mod:`.section_names`): for programs that were written
against another interface than the kernel's, and are translated when an object is read. Nothing here
knows a dialect; each lives in a package of its own, imported when an object needs it.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Final, Protocol

if TYPE_CHECKING:
    from .map_definitions import MapSpec
    from .objects import ProgramSpec
    from .relocations import LinkedCode


class Dialect(Protocol):
    """What is done with the programs of a dialect."""

    def map(self, spec: MapSpec) -> MapSpec:
        """Return what a map that such a program uses is to be in the kernel."""

    def translate(self, code: LinkedCode, name: str) -> LinkedCode:
        """Return what the kernel is to run.

        :param name: what messages call the program.
        :raises ObjectFileError: the program cannot be translated.
        """

    def check(self, program: ProgramSpec) -> None:
        """Refuse what the dialect does not allow, before anything is made in the kernel.

        :raises ObjectFileError: naming the place.
        """


_HOMES: Final = {"inet_lookup": ("inet_lookup.rfc.dialect", "INET_LOOKUP")}


def dialect_named(name: str) -> Dialect:
    """Return a dialect by the name that :mod:`.section_names` has for it."""
    module, attribute = _HOMES[name]
    found: Dialect = getattr(import_module(module), attribute)
    return found
