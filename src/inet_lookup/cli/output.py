"""What commands print when they succeed: text for people, or one JSON object."""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any

import click

from .settings import Settings


def show(settings: Settings, result: dict[str, Any], lines: Iterable[str]) -> None:
    """Print a result.

    :param result: for ``--json``; its keys are documented in ``docs/commands.md``.
    :param lines: for people.
    """
    if settings.json:
        click.echo(json.dumps(result, indent=2))
        return
    for line in lines:
        click.echo(line)


def note(text: str) -> None:
    """Tell people something beside the result, on the standard error output."""
    click.echo(f"note: {text}", err=True)


def duration(seconds: float) -> str:
    """A span of time with one unit: ``42 s``, ``3 min``, ``5 h``, ``12 d``."""
    for unit, length in (("d", 86400), ("h", 3600), ("min", 60)):
        if seconds >= 2 * length:
            return f"{int(seconds // length)} {unit}"
    return f"{int(seconds)} s"
