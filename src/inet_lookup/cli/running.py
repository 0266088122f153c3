"""Running the command line: exit statuses, and every foreseen failure as one clear message."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import sys
from collections.abc import Iterator, Sequence
from types import FrameType
from typing import Final

import click

from ..errors import InetLookupError
from .application import inet_lookup
from .settings import Settings

DONE: Final = 0
FAILED: Final = 1
MISUSED: Final = 2
_BY_SIGNAL: Final = 128

_NAME: Final = "inet-lookup"


def run(arguments: Sequence[str] | None = None) -> int:
    """Run the command and return its exit status; see :func:`inet_lookup.cli.main`."""
    given = list(sys.argv[1:] if arguments is None else arguments)
    settings = Settings()
    try:
        with _ended_by_exception(signal.SIGTERM, signal.SIGHUP):
            status = _invoke(given, settings)
        sys.stdout.flush()
    except BrokenPipeError:
        # The reader has left, as head(1) does. What is still buffered must not fail at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return _BY_SIGNAL + signal.SIGPIPE
    except KeyboardInterrupt:
        return _BY_SIGNAL + signal.SIGINT
    return status


def _invoke(arguments: list[str], settings: Settings) -> int:
    try:
        with inet_lookup.make_context(_NAME, arguments, obj=settings) as context:
            inet_lookup.invoke(context)
    except click.exceptions.Exit as end:
        return end.exit_code
    except click.Abort:
        return _BY_SIGNAL + signal.SIGINT
    except click.ClickException as error:
        if settings.debug:
            raise
        path = error.ctx.command_path if isinstance(error, click.UsageError) and error.ctx else None
        message = error.format_message().rstrip(".")
        hint = f"{path or _NAME} --help tells how it is used"
        # The parser may have failed before it came to --json.
        settings.json = settings.json or "--json" in arguments
        report(settings, type(error).__name__, message[:1].lower() + message[1:], hint)
        return MISUSED if isinstance(error, click.UsageError) else FAILED
    except InetLookupError as error:
        if settings.debug:
            raise
        report(settings, type(error).__name__, error.message, error.hint)
        return FAILED
    return DONE


def report(settings: Settings, kind: str, message: str, hint: str | None) -> None:
    """Print an error: for people to the standard error output, and as JSON where that is asked."""
    sys.stdout.flush()
    click.echo(f"error: {message}", err=True)
    if hint:
        click.echo(f"hint: {hint}", err=True)
    if settings.json:
        click.echo(json.dumps({"error": message, "hint": hint, "kind": kind}, indent=2))


@contextlib.contextmanager
def _ended_by_exception(*signals: signal.Signals) -> Iterator[None]:
    """Turn signals that end the process into an exception, so that what is half done is undone."""

    def end(number: int, frame: FrameType | None) -> None:
        raise SystemExit(_BY_SIGNAL + number)

    previous = {each: signal.getsignal(each) for each in signals}
    try:
        for each, handler in previous.items():
            # nohup(1) has the process ignore SIGHUP: so be it.
            if handler == signal.SIG_DFL:
                signal.signal(each, end)
        yield
    finally:
        for each, handler in previous.items():
            signal.signal(each, handler)
