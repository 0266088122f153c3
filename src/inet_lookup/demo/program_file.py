"""The program that the demo attaches: ``examples/two_http_servers.py``."""

from __future__ import annotations

import importlib.util
import os
from pathlib import Path
from typing import TYPE_CHECKING, Final, NamedTuple

from inet_lookup.errors import InetLookupError

if TYPE_CHECKING:
    from inet_lookup.programs import ProgramFunction, SockArray

NAME: Final = "two_http_servers"


class DemoProgram(NamedTuple):
    """The program, imported from its file.

    :ivar path: the file.
    :ivar function: the program.
    :ivar servers: its sockets: NGINX's in slot 0, Apache's in slot 1.
    """

    path: Path
    function: ProgramFunction
    servers: SockArray

    @property
    def shown_path(self) -> str:
        """The path as a user would write it: relative where it lies below the current directory."""
        try:
            return str(self.path.relative_to(Path.cwd()))
        except (ValueError, FileNotFoundError):
            return str(self.path)

    @property
    def lines(self) -> int:
        """How many lines the function has."""
        node = self.function.source.node
        return (node.end_lineno or node.lineno) - node.lineno + 1


def program_path() -> Path:
    """Where the file is.

    There is one source of it, the repository's ``examples/``. Building a wheel puts a copy next to
    this module (``pyproject.toml``), so that an installed package has it here. An editable install
    runs from the checkout, where there is no copy, and finds the example itself.

    :raises InetLookupError: it is in neither place.
    """
    packaged = Path(__file__).with_name(f"{NAME}.py")
    checkout = Path(__file__).resolve().parents[3] / "examples" / f"{NAME}.py"
    for path in (packaged, checkout):
        if path.exists():
            return path
    raise InetLookupError(
        f"the demo's program is missing: there is neither {packaged} nor {checkout}",
        hint="install the package anew",
    )


def load_program() -> DemoProgram:
    """Import the file anew, with a sock array of its own.

    :raises InetLookupError: the file is missing, or cannot be read.
    :raises CompileError: the program uses something that cannot be compiled.
    """
    path = program_path()
    spec = importlib.util.spec_from_file_location(NAME, path)
    if spec is None or spec.loader is None or not os.access(path, os.R_OK):
        raise InetLookupError(f"the demo's program {path} cannot be read")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return DemoProgram(path, module.two_http_servers, module.servers)
