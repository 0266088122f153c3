"""``inet-lookup plan``: what ``apply`` would change."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

import click

from .changes import diff_json, diff_lines, summary
from .dispatchers import reading
from .misuse import in_our_words
from .obstacles import obstacle_json, tell_obstacles
from .output import show
from .progress import Progress
from .ruleset_file import read_ruleset, ruleset_file
from .settings import Settings, global_options, pass_settings

_WOULD_CHANGE = 2
_DETAILED = "--detailed-exitcode"


class _Plan(click.Command):
    """A command whose exit status 2 can mean something else than misuse.

    Where it does, misuse is a failure like any other: a script that asks whether something would
    change must not take a slip in its own arguments for a yes.
    """

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Read the arguments."""
        with _no_misuse(ctx, wanted=_DETAILED in args):
            return super().parse_args(ctx, args)

    def invoke(self, ctx: click.Context) -> Any:
        """Run the command."""
        with _no_misuse(ctx, wanted=ctx.params["detailed_exitcode"]):
            return super().invoke(ctx)


@contextlib.contextmanager
def _no_misuse(context: click.Context, *, wanted: bool) -> Iterator[None]:
    try:
        yield
    except click.UsageError as error:
        if not wanted:
            raise
        raise in_our_words(error, context.command_path) from error


@click.command(cls=_Plan, short_help="What apply would change.")
@ruleset_file
@click.option(
    _DETAILED,
    is_flag=True,
    help="End with the status 0 when nothing would change, 2 when something would, and 1 for any"
    " failure.",
)
@global_options(hidden=True)
@pass_settings
@click.pass_context
def plan(
    context: click.Context,
    settings: Settings,
    file: str,
    format_: str | None,
    detailed_exitcode: bool,
) -> None:
    """Show what would change if the ruleset of FILE replaced the one in force.

    FILE is - for the standard input. Beside the rules and services that come, go and change, it
    says exactly which packets change hands, and from whom to whom. Nothing is changed.
    """
    from ..control.obstacles import obstacles_ahead

    with Progress(quiet=settings.json) as progress:
        progress("reading the rules")
        new = read_ruleset(file, format_)
        with reading(settings, must_exist=False) as dispatcher:
            progress("comparing the rulesets")
            changes = dispatcher.plan(new)
            obstacles = obstacles_ahead(new, dispatcher.namespace)
    result = {**diff_json(changes), "warnings": [obstacle_json(each) for each in obstacles]}
    show(settings, result, [*diff_lines(changes), summary(changes)])
    tell_obstacles(settings, obstacles)
    if detailed_exitcode and changes:
        context.exit(_WOULD_CHANGE)
