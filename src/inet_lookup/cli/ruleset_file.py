"""The argument FILE of ``plan`` and ``apply``: a ruleset from a file or the standard input."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeVar

import click

from ..rules import FORMATS
from .misuse import Misuse

if TYPE_CHECKING:
    from ..rules import Ruleset

F = TypeVar("F", bound=Callable[..., Any])

STANDARD_INPUT = "-"


def ruleset_file(function: F) -> F:
    """Give a command the argument FILE and the option ``--format``."""
    function = click.option(
        "--format",
        "format_",
        type=click.Choice(FORMATS),
        help="The format of FILE; told by its name by default: .toml, .jsonl or .ndjson, .csv, and"
        " .json for tubular's bindings.",
    )(function)
    return click.argument("file")(function)


def read_ruleset(file: str, format_: str | None) -> Ruleset:
    """Read the ruleset.

    :param file: the file's name, or ``-``.
    :raises Misuse: the standard input is to be read and its format is not given.
    :raises RulesError: it cannot be read, or is not a ruleset: every problem with its line.
    """
    from ..rules import Problem, RulesError, parse, read

    if file != STANDARD_INPUT:
        return read(file, format_)
    if format_ is None:
        raise Misuse(
            "the format of the standard input is not given", f"--format {'|'.join(FORMATS)}"
        )
    name = "standard input"
    try:
        data = sys.stdin.buffer.read()
    except (OSError, AttributeError) as error:  # sys.stdin is None where descriptor 0 is closed
        reason = error.strerror if isinstance(error, OSError) else "it is closed"
        raise RulesError([Problem(f"cannot read the {name}: {reason}")]) from None
    try:
        text = data.decode()
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise RulesError([Problem("this is not UTF-8 text", file=name, line=line)]) from None
    return parse(text, format_, name=name)
