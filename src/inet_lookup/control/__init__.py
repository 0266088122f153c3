"""What stays in a namespace when a command has ended: pinned programs, their sockets, their locks.

All state is in the kernel and has its names in a BPF file system; there is no daemon, and no file
of ours elsewhere. Names are imported from their modules when they are first used.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .checks import Check as Check
    from .checks import Status as Status
    from .checks import missing_for_steering as missing_for_steering
    from .checks import run_checks as run_checks
    from .listing import list_programs as list_programs
    from .pinned_programs import PinnedPrograms as PinnedPrograms
    from .program_files import ProgramFile as ProgramFile
    from .program_image import ProgramImage as ProgramImage
    from .socket_placement import SocketPlacement as SocketPlacement

# Which module has which of the names above.
_HOMES = {
    "checks": ("Check", "Status", "missing_for_steering", "run_checks"),
    "listing": ("list_programs",),
    "pinned_programs": ("PinnedPrograms",),
    "program_files": ("ProgramFile",),
    "program_image": ("ProgramImage",),
    "socket_placement": ("SocketPlacement",),
}
_HOME = {name: module for module, names in _HOMES.items() for name in names}


if not TYPE_CHECKING:  # a type checker shall find the names above, and no others

    def __getattr__(name: str) -> object:
        module = _HOME.get(name)
        if module is None:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        from importlib import import_module

        value = getattr(import_module(f".{module}", __name__), name)
        globals()[name] = value
        return value


def __dir__() -> list[str]:
    return sorted({*globals(), *_HOME})
