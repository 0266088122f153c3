"""``inet-lookup apply``: replace the ruleset, in one step."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import click

from .changes import diff_json, diff_lines, summary
from .dispatchers import opened
from .misuse import Misuse
from .obstacles import obstacle_json, tell_obstacles
from .output import note, show
from .progress import Progress
from .ruleset_file import STANDARD_INPUT, read_ruleset, ruleset_file
from .settings import Settings, global_options, pass_settings

if TYPE_CHECKING:
    from ..control import Change
    from ..rules import Diff

_SHOWN = 60
"""How many lines of a plan are shown before it is asked; ``plan`` shows all."""


@click.command(short_help="Replace the ruleset, in one step.")
@ruleset_file
@click.option("--yes", "-y", is_flag=True, help="Do not ask.")
@click.option(
    "--anyip",
    is_flag=True,
    help="Add the local routes that the rules need.",
)
@global_options(hidden=True)
@pass_settings
@click.pass_context
def apply(
    context: click.Context,
    settings: Settings,
    file: str,
    format_: str | None,
    yes: bool,
    anyip: bool,
) -> None:
    """Replace the ruleset in force by that of FILE, atomically.

    FILE is - for the standard input. The plan is shown first, and on a terminal you are asked. No
    packet meets half a ruleset. Sockets stay with their services; local routes that were added for
    rules go when no rule needs them any more.
    """
    from ..control.obstacles import obstacles_in_force
    from ..control.privileges import require_privileges
    from ..rules import diff as difference

    if settings.json and not yes:
        raise Misuse("with --json it cannot be asked first", "--yes applies without asking")
    with Progress(quiet=settings.json) as progress:
        progress("reading the rules")
        new = read_ruleset(file, format_)
    with opened(settings) as dispatcher:
        namespace = dispatcher.namespace
        require_privileges(f"apply a ruleset in {namespace.label}")
        before = changes = None
        if not yes:
            before = dispatcher.ruleset
            with Progress() as progress:
                progress("comparing the rulesets")
                changes = difference(before, new)
            if changes and not _ask(changes, file):
                note("nothing was changed")
                context.exit(1)
        with Progress(quiet=settings.json) as progress:
            change = dispatcher.apply(new, expected=before, anyip=anyip, progress=progress)
            progress("comparing the rulesets")
            changes = changes or change.diff
            obstacles = obstacles_in_force(change.after, dispatcher.status(), namespace)
        result = {
            "namespace": {"given": settings.netns, "inode": namespace.inode},
            "generation": change.generation,
            **diff_json(changes),
            "routes_added": [str(prefix) for prefix in change.routes_added],
            "routes_removed": [str(prefix) for prefix in change.routes_removed],
            "warnings": [obstacle_json(each) for each in obstacles],
        }
        show(settings, result, _lines(change, changes, namespace.label, shown=not yes))
    tell_obstacles(settings, obstacles)


def _ask(plan: Diff, file: str) -> bool:
    """Show a plan, and ask whether to apply it.

    :raises Misuse: there is nobody to ask.
    """
    for line in _shortened(plan, f"inet-lookup plan {file}"):
        click.echo(line)
    if file == STANDARD_INPUT or sys.stdin is None or not sys.stdin.isatty():
        raise Misuse(
            "apply asks before it changes anything, and the standard input is no terminal",
            "--yes applies without asking",
        )
    click.echo(f"{summary(plan)}: apply? [y/N] ", nl=False)
    return sys.stdin.readline().strip().lower() in ("y", "yes")


def _lines(change: Change, diff: Diff, label: str, *, shown: bool) -> list[str]:
    lines = [] if shown else _shortened(diff, "--json")
    lines += [f"{prefix} is local now" for prefix in change.routes_added]
    lines += [f"{prefix} is no longer local" for prefix in change.routes_removed]
    if diff:
        lines.append(f"applied to {label}: {summary(diff)}")
    else:
        lines.append(f"{summary(diff)} in {label}")
    return lines


def _shortened(diff: Diff, whole: str) -> list[str]:
    """Return the lines of a difference, or the first of many.

    :param whole: what shows all of them.
    """
    lines = diff_lines(diff)
    if len(lines) <= _SHOWN:
        return lines
    return [*lines[:_SHOWN], f"  and {len(lines) - _SHOWN} more lines: {whole} shows all"]
