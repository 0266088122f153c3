"""``inet-lookup prog detach``: undo ``prog attach``."""

from __future__ import annotations

import click

from ...control.pinned_programs import PinnedPrograms
from ..output import show
from ..settings import Settings, global_options, pass_settings
from .stale import stale_json, tell_removed


@click.command(short_help="Undo an attach.")
@click.argument("name")
@global_options(hidden=True)
@pass_settings
def detach(settings: Settings, name: str) -> None:
    """Detach the program that is pinned as NAME, and remove its pins.

    Its maps and what they hold go with it. Connections that were accepted stay.
    """
    with settings.namespace() as namespace:
        done = PinnedPrograms(namespace, bpffs=settings.bpffs).detach(name)
        tell_removed(done.removed)
        if done.program_id is None:
            line = f"removed the pins of {done.name}, which did not run any more"
        else:
            line = f"detached {done.name} from {namespace.label}: program {done.program_id}"
        result = {
            "name": done.name,
            "namespace": {"given": settings.netns, "inode": namespace.inode},
            "program_id": done.program_id,
            "removed": stale_json(done.removed),
        }
        show(settings, result, [line])
