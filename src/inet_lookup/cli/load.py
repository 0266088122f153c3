"""``inet-lookup load``: the dispatcher, with no rules yet."""

from __future__ import annotations

import click

from .misuse import Misuse
from .output import show
from .settings import Settings, global_options, pass_settings


@click.command(short_help="Load the dispatcher, with no rules yet.")
@click.option(
    "--group",
    metavar="NAME|GID",
    help="The group whose members may read status and rules; also where it is loaded already.",
)
@global_options(hidden=True)
@pass_settings
def load(settings: Settings, group: str | None) -> None:
    """Load the dispatcher into a network namespace, where there is none yet.

    It runs behind the programs that are there already, and passes every packet until it has rules.
    bind and apply load it when they need it.
    """
    from ..control import Dispatcher

    gid = _group_id(group) if group is not None else None
    with settings.namespace() as namespace:
        with Dispatcher.open(namespace, bpffs=settings.bpffs, must_exist=False) as before:
            loaded = before.loaded
        with Dispatcher.load(namespace, bpffs=settings.bpffs, group=gid) as dispatcher:
            result = {
                "namespace": {"given": settings.netns, "inode": namespace.inode},
                "path": dispatcher.path,
                "loaded_before": loaded,
            }
            did = "a dispatcher is loaded already" if loaded else "loaded the dispatcher"
            lines = [f"{did} in {namespace.label}: {dispatcher.path}"]
            if group is not None:
                lines.append(f"members of the group {group} may read it")
            show(settings, result, lines)


def _group_id(text: str) -> int:
    if text.isascii() and text.isdigit() and int(text) < 1 << 32:
        return int(text)
    import grp

    try:
        return grp.getgrnam(text).gr_gid
    except (KeyError, ValueError):
        raise Misuse(f"there is no group {text!r}", "getent group lists them") from None
