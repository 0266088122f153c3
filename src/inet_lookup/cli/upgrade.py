"""``inet-lookup upgrade``: this version's program in place of another one's."""

from __future__ import annotations

import click

from .dispatchers import opened
from .output import show
from .settings import Settings, global_options, pass_settings


@click.command(short_help="Replace an older version's program.")
@global_options(hidden=True)
@pass_settings
def upgrade(settings: Settings) -> None:
    """Put the program of this version in place of that of another one, in one step.

    Rules, sockets and counters stay, and no packet meets neither program. The interfaces that rules
    name are looked up again.
    """
    with opened(settings) as dispatcher:
        namespace = dispatcher.namespace
        done = dispatcher.upgrade()
        result = {
            "namespace": {"given": settings.netns, "inode": namespace.inode},
            "before": done.before,
            "after": done.after,
            "replaced": done.replaced,
        }
        if done.replaced:
            line = f"replaced the program of {done.before} by that of {done.after}"
        else:
            line = f"the program of {done.after} runs already; its maps were made anew"
        show(settings, result, [f"{line}, in {namespace.label}"])
