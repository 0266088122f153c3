"""Misuse of the command line: exit status 2, with the hint that mends it where there is one."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

import click

from ..errors import InetLookupError


class Misuse(click.UsageError):
    """An argument or option that cannot be taken.

    :param message: what is wrong with it, without a full stop.
    :param hint: what to write instead; None points to the command's help.
    """

    def __init__(self, message: str, hint: str | None = None) -> None:
        super().__init__(message, click.get_current_context(silent=True))
        self.hint = hint


@contextlib.contextmanager
def misuse(*kinds: type[InetLookupError]) -> Iterator[None]:
    """Turn errors about values into :class:`Misuse`, where these come from the command line.

    :param kinds: the errors.
    """
    try:
        yield
    except kinds as error:
        raise Misuse(error.message, error.hint) from error


def in_our_words(error: click.ClickException, command: str) -> InetLookupError:
    """Return what the parser of the command line refuses as an error like all others.

    :param command: the command's name, where the parser does not know it.
    """
    context = error.ctx if isinstance(error, click.UsageError) else None
    help_ = f"{context.command_path if context else command} --help tells how it is used"
    if isinstance(error, Misuse):
        return InetLookupError(error.message, hint=error.hint or help_)
    message = error.format_message().rstrip(".")
    return InetLookupError(message[:1].lower() + message[1:], hint=help_)
