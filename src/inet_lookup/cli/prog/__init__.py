"""``inet-lookup prog``: programs in Python or C."""

from __future__ import annotations

import click

from ..lazy_group import Lazy, LazyGroup
from ..settings import global_options


@click.group(
    cls=LazyGroup,
    lazy={
        "check": Lazy("inet_lookup.cli.prog.check:check", "Compile and verify, change nothing."),
        "attach": Lazy("inet_lookup.cli.prog.attach:attach", "Attach a program, and leave."),
        "list": Lazy("inet_lookup.cli.prog.list:list_command", "What is attached."),
        "detach": Lazy("inet_lookup.cli.prog.detach:detach", "Undo an attach."),
    },
)
@global_options(hidden=True)
def prog() -> None:
    """Programs at the socket lookup of a network namespace, written in Python or C.

    A program is named FILE.py:NAME or FILE.o:NAME, where NAME is its function; it may be left out
    where the file has one program. What is attached stays after the command, pinned in a BPF file
    system; no process is needed for it.
    """
