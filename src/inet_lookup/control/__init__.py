"""What stays in a namespace when a command has ended: pinned programs, and the dispatcher of rules.

All state is in the kernel and has its names in a BPF file system; there is no daemon, and no file
of ours elsewhere. Names are imported from their modules when they are first used.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from .._lazy import exports

if TYPE_CHECKING:
    from .checks import Check as Check
    from .checks import Status as Status
    from .checks import missing_for_steering as missing_for_steering
    from .checks import run_checks as run_checks
    from .dispatcher import Change as Change
    from .dispatcher import Dispatcher as Dispatcher
    from .dispatcher import Upgrade as Upgrade
    from .explaining import Explanation as Explanation
    from .listing import list_programs as list_programs
    from .pinned_programs import PinnedPrograms as PinnedPrograms
    from .program_files import ProgramFile as ProgramFile
    from .program_image import ProgramImage as ProgramImage
    from .registration import Registration as Registration
    from .socket_placement import SocketPlacement as SocketPlacement
    from .status import DispatcherStatus as DispatcherStatus
    from .status import ServiceSocket as ServiceSocket
    from .status import ServiceStatus as ServiceStatus

# Which module has which of the names above.
_HOMES = {
    "checks": ("Check", "Status", "missing_for_steering", "run_checks"),
    "dispatcher": ("Change", "Dispatcher", "Upgrade"),
    "explaining": ("Explanation",),
    "listing": ("list_programs",),
    "pinned_programs": ("PinnedPrograms",),
    "program_files": ("ProgramFile",),
    "program_image": ("ProgramImage",),
    "registration": ("Registration",),
    "socket_placement": ("SocketPlacement",),
    "status": ("DispatcherStatus", "ServiceSocket", "ServiceStatus"),
}

if not TYPE_CHECKING:  # a type checker shall find the names above, and no others
    __getattr__, __dir__ = exports(__name__, _HOMES)
