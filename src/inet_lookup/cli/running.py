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

from ..errors import CompileError, InetLookupError, VerifierError
from .application import inet_lookup
from .misuse import in_our_words
from .settings import Settings

DONE: Final = 0
FAILED: Final = 1
MISUSED: Final = 2
BY_SIGNAL: Final = 128
"""Plus the number of the signal that ended the command, as shells have it."""

_NAME: Final = "inet-lookup"


def run(arguments: Sequence[str] | None = None) -> int:
    """Run the command and return its exit status; see :func:`inet_lookup.cli.main`."""
    given = list(sys.argv[1:] if arguments is None else arguments)
    try:
        with _ended_by_exception(signal.SIGTERM, signal.SIGHUP):
            status = _invoke(given, Settings())
        if sys.stdout is not None:
            sys.stdout.flush()
    except _Ended as end:
        return BY_SIGNAL + end.signal
    except BrokenPipeError:
        # The reader has left, as head(1) does.
        _discard_output()
        return BY_SIGNAL + signal.SIGPIPE
    except OSError as error:
        # Only writing raises one: everything else that the system refuses has a class of its own.
        _discard_output()
        click.echo(f"error: cannot write the output: {os.strerror(error.errno or 0)}", err=True)
        return FAILED
    return status


def _invoke(arguments: list[str], settings: Settings) -> int:
    try:
        with inet_lookup.make_context(_NAME, arguments, obj=settings) as context:
            inet_lookup.invoke(context)
    except click.exceptions.Exit as end:
        return end.exit_code
    except click.ClickException as error:
        if settings.debug:
            raise
        # The parser may have failed before it came to --json.
        settings.json = settings.json or "--json" in arguments
        _report(settings, in_our_words(error, _NAME), kind="UsageError")
        return MISUSED
    except InetLookupError as error:
        if settings.debug:
            raise
        _report(settings, error, kind=type(error).__name__)
        return FAILED
    return DONE


def _report(settings: Settings, error: InetLookupError, kind: str) -> None:
    """Print an error for people, and as JSON where that is asked."""
    click.echo(f"error: {error.message}", err=True)
    if error.hint:
        click.echo(f"hint: {error.hint}", err=True)
    if not settings.json:
        return
    location = None
    if isinstance(error, CompileError):
        location = f"{error.filename}:{error.line}:{error.column}"
    elif isinstance(error, VerifierError):
        location = error.location
    result = {"error": error.message, "hint": error.hint, "kind": kind, "location": location}
    click.echo(json.dumps(result, indent=2))


def _discard_output() -> None:
    """Keep what is still buffered from failing again when the interpreter ends."""
    with contextlib.suppress(OSError, ValueError):
        null = os.open(os.devnull, os.O_WRONLY)
        os.dup2(null, sys.stdout.fileno())
        os.close(null)


class _Ended(BaseException):
    """A signal ends the process. Not a SystemExit: programs of users may raise those."""

    def __init__(self, signal: int) -> None:
        super().__init__(signal)
        self.signal = signal


@contextlib.contextmanager
def _ended_by_exception(*signals: signal.Signals) -> Iterator[None]:
    """Turn signals that end the process into an exception, so that what is half done is undone."""

    def end(number: int, frame: FrameType | None) -> None:
        raise _Ended(number)

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
