"""``inet-lookup unload``: take the dispatcher away."""

from __future__ import annotations

import click

from .dispatchers import opened
from .output import show
from .settings import Settings, global_options, pass_settings


@click.command(short_help="Remove the dispatcher and all it has.")
@global_options(hidden=True)
@pass_settings
def unload(settings: Settings) -> None:
    """Take the dispatcher out of a network namespace, with all of its rules.

    Packets go where the regular lookup sends them from then on. Nothing of it stays: no pins, no
    counters, no local routes that it added. Sockets and accepted connections stay as they are.
    """
    from ..control.privileges import require_privileges

    with opened(settings) as dispatcher:
        namespace = dispatcher.namespace
        require_privileges(f"unload the dispatcher of {namespace.label}")
        count = len(dispatcher.ruleset.rules)
        dispatcher.unload()
        result = {
            "namespace": {"given": settings.netns, "inode": namespace.inode},
            "rules_removed": count,
        }
        rules = f"{count} rule{'' if count == 1 else 's'}"
        show(settings, result, [f"unloaded the dispatcher of {namespace.label}, with {rules}"])
