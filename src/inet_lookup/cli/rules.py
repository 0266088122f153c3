"""``inet-lookup rules``: the rules in force."""

from __future__ import annotations

import json
from collections.abc import Iterator
from itertools import islice
from typing import TYPE_CHECKING

import click

from .dispatchers import reading
from .settings import Settings, global_options, pass_settings

if TYPE_CHECKING:
    from ..control import Dispatcher

_COUNT_WIDTH = 12

_AT_ONCE = 1000
"""How many lines are written at once: there may be a million in all."""


@click.command(short_help="The rules, in the order of precedence.")
@global_options(hidden=True)
@pass_settings
def rules(settings: Settings) -> None:
    """List the rules in force, with how many look-ups each decided since it was made.

    They stand in the order of precedence: of those that match a packet the first wins.
    """
    with reading(settings) as dispatcher:
        lines = _json_lines(dispatcher) if settings.json else _lines(dispatcher)
        while some := list(islice(lines, _AT_ONCE)):
            click.echo("\n".join(some))


def _lines(dispatcher: Dispatcher) -> Iterator[str]:
    yield f"{'look-ups':>{_COUNT_WIDTH}}  rule"
    for rule, lookups in dispatcher.rules():
        yield f"{lookups:>{_COUNT_WIDTH}}  {rule}"


def _json_lines(dispatcher: Dispatcher) -> Iterator[str]:
    from ..rules import rule_entry

    start = '{"rules": ['
    for rule, lookups in dispatcher.rules():
        yield start + json.dumps({**rule_entry(rule), "lookups": lookups})
        start = ","
    yield (start if start != "," else "") + "]}"
