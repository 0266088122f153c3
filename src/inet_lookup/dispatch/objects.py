"""The dispatcher and the explainer as BPF objects.

They are compiled when the package is built, so that an installation needs no compiler; see
``compile_all``.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Final, Literal

from ..errors import InetLookupError

if TYPE_CHECKING:
    from ..bpf.objects import ObjectFile

ProgramName = Literal["dispatcher", "explainer"]

NAMES: Final[tuple[ProgramName, ...]] = ("dispatcher", "explainer")


def path_of(name: ProgramName) -> Path:
    """Return where the object of a program lies in the installed package."""
    return Path(__file__).with_name(f"{name}.bpf.o")


def read(name: ProgramName) -> ObjectFile:
    """Return a program's object.

    :raises InetLookupError: the package was installed without it.
    """
    from ..bpf.objects import ObjectFile

    try:
        data = path_of(name).read_bytes()
    except FileNotFoundError:
        raise InetLookupError(
            f"the package lacks its program {name!r}",
            hint="install it again, or in a checkout run: python -m inet_lookup.dispatch.compile",
        ) from None
    return ObjectFile.parse(data, name=f"{name}.bpf.o")


def compile_all(directory: Path) -> list[Path]:
    """Compile the programs into a directory; needs the extra ``compiler``.

    :return: the files that were written.
    """
    from . import dispatcher

    written = []
    for name in NAMES:
        path = directory / path_of(name).name
        half = path.with_suffix(".tmp")
        half.write_bytes(getattr(dispatcher, name).compile())
        # Renamed into place: a command that starts meanwhile reads the old object or the new one.
        half.replace(path)
        written.append(path)
    return written
