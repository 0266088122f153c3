"""Program files for tests of the command, each steering in its own way."""

from __future__ import annotations

import runpy
from pathlib import Path

from inet_lookup.programs import ProgramFunction

_SOURCE = """from inet_lookup import DROP, PASS, Array, Context, SockArray, Verdict, program

servers = SockArray(max_entries={slots})
seen = Array(4)


@program
def steer(ctx: Context) -> Verdict:
    if ctx.local_port != {port}:
        return PASS
    seen.add({counter}, 1)
    return servers.redirect(ctx, {slot}, otherwise=DROP)
"""


def steer(
    directory: Path, *, slots: int = 2, slot: int = 0, port: int = 80, counter: int = 0
) -> Path:
    """A program ``steer`` that redirects one port to one slot of ``servers``, or drops.

    It is an ELF object already, so that a command need not compile it; its source is beside it.

    :param counter: the element of the array ``seen`` that counts the redirections.
    """
    source = directory / f"steer_{slots}_{slot}_{port}_{counter}.py"
    source.write_text(_SOURCE.format(slots=slots, slot=slot, port=port, counter=counter))
    path = source.with_suffix(".o")
    path.write_bytes(compiled(source, "steer"))
    return path


def compiled(source: Path, name: str) -> bytes:
    """The ELF object of a program of a Python file."""
    program = runpy.run_path(str(source))[name]
    assert isinstance(program, ProgramFunction)
    return program.compile()
