"""Running ``inet-lookup`` as users do: as a process of its own."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from inet_lookup.net.namespaces import Namespace

COMMAND = (sys.executable, "-m", "inet_lookup")
EXAMPLE = Path(__file__).parents[2] / "examples" / "two_http_servers.py"

WITHOUT_PRIVILEGES = ("setpriv", "--inh-caps=-all", "--bounding-set=-all")
"""Prepended to a command: root's files are still readable, so that it starts from anywhere."""


@dataclass(frozen=True)
class Ended:
    """A command that has ended."""

    status: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        """The one JSON object that it printed."""
        return json.loads(self.out)

    def done(self) -> Ended:
        """Itself, if it did what it was asked for and complained about nothing."""
        assert self.status == 0, self.out + self.err
        assert "Traceback" not in self.err
        return self

    def failed(self, *texts: str, status: int = 1) -> Ended:
        """Itself, if it failed with one clear error that has all of the texts."""
        assert self.status == status, self.out + self.err
        assert "Traceback" not in self.err, self.err
        errors = [line for line in self.err.splitlines() if line.startswith("error: ")]
        assert len(errors) == 1, self.err
        for text in texts:
            assert text in self.err
        return self


def inet_lookup(
    *arguments: object,
    prefix: Sequence[str] = (),
    inside: Namespace | None = None,
    environment: dict[str, str] | None = None,
    **options: Any,
) -> Ended:
    """Run the command and wait for it.

    :param prefix: a command that runs it, such as :data:`WITHOUT_PRIVILEGES`.
    :param inside: run it in this namespace.
    :param options: further arguments of :class:`subprocess.Popen`.
    """
    command = [*prefix, *COMMAND, *map(str, arguments)]
    options = {
        "stdout": subprocess.PIPE,
        "stderr": subprocess.PIPE,
        "stdin": subprocess.DEVNULL,
        "text": True,
        "env": {**os.environ, **(environment or {})},
        **options,
    }
    start = inside.popen if inside is not None else subprocess.Popen
    with start(command, **options) as process:
        try:
            out, err = process.communicate(timeout=60)
        except BaseException:
            process.kill()
            raise
    return Ended(process.returncode, out or "", err or "")


def path_of(namespace: Namespace) -> str:
    """A path by which another process can open a namespace of this one."""
    return f"/proc/{os.getpid()}/fd/{namespace.fileno()}"
