"""The verifier's whole log, which is long, on request."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

import click

from ...errors import VerifierError

log_option = click.option(
    "--log", "log", is_flag=True, help="Where the verifier rejects a program, print its whole log."
)


@contextlib.contextmanager
def verifier_log(wanted: bool) -> Iterator[None]:
    """Print the log of a rejection to the standard error output, or say how to see it."""
    try:
        yield
    except VerifierError as error:
        if wanted:
            click.echo(error.log.rstrip("\n"), err=True)
        elif error.hint is None:
            error.hint = "--log prints the whole log of the verifier"
        raise
