"""A group of commands, each imported when it is used: starting one does not pay for the others."""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from importlib import import_module
from typing import Any, NamedTuple

import click


class Lazy(NamedTuple):
    """A command that is not imported yet.

    :ivar path: ``module:name`` of the command.
    :ivar summary: what the group's help says about it.
    """

    path: str
    summary: str


class LazyGroup(click.Group):
    """A group whose commands are named by where they are.

    :param lazy: commands by name, in the order of the help.
    """

    def __init__(self, *args: Any, lazy: Mapping[str, Lazy], **options: Any) -> None:
        super().__init__(*args, **options)
        self._lazy = lazy

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Read the group's own options; without a command, show its help and end as misused."""
        if not args and not ctx.resilient_parsing:
            click.echo(ctx.get_help(), err=True)
            ctx.exit(2)
        return super().parse_args(ctx, args)

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Return the commands' names."""
        return list(self._lazy)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import a command, or return None where there is none of that name."""
        lazy = self._lazy.get(cmd_name)
        if lazy is None:
            return None
        module, _, name = lazy.path.partition(":")
        command = getattr(import_module(module), name)
        assert isinstance(command, click.Command)
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Find the command that is meant.

        :raises click.UsageError: there is none of that name.
        """
        name = args[0]
        if not name.startswith("-") and name not in self._lazy:
            close = difflib.get_close_matches(name, self._lazy, n=1)
            known = f"did you mean '{close[0]}'?" if close else "there is " + ", ".join(self._lazy)
            raise click.UsageError(f"there is no command '{name}': {known}", ctx)
        return super().resolve_command(ctx, args)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the list of commands from the table, without importing them."""
        with formatter.section("Commands"):
            formatter.write_dl([(name, lazy.summary) for name, lazy in self._lazy.items()])
