"""Programs in the kernel: compiled, their maps made, checked by the verifier."""

from __future__ import annotations

import struct
from contextlib import ExitStack
from typing import TYPE_CHECKING, NamedTuple

from ..bpf.handle import Resource
from .context import Context
from .verdict import Verdict

if TYPE_CHECKING:
    from collections.abc import Mapping

    from ..bpf import Program, ProgramInfo
    from .function import ProgramFunction
    from .maps import ProgramMap


class Outcome(NamedTuple):
    """What a test run in the kernel gave.

    :ivar verdict: the program's verdict.
    :ivar cookie: the cookie of the socket that was selected, or None.
    :ivar mean_ns: the mean duration of one run in nanoseconds.
    """

    verdict: Verdict
    cookie: int | None
    mean_ns: int


class LoadedProgram(Resource):
    """A program that the kernel has loaded, with its maps; made by :func:`load`.

    :ivar name: the function's name.
    :ivar program: the kernel's program.
    :ivar maps: the maps that it uses, by the names of their variables.
    """

    def __init__(
        self, name: str, program: Program, maps: Mapping[str, ProgramMap], owned: ExitStack
    ) -> None:
        super().__init__()
        self.name = name
        self.program = program
        self.maps = maps
        self._owned = owned

    def _release(self) -> None:
        self._owned.close()

    def info(self) -> ProgramInfo:
        """Return what the kernel knows of the program: id, instructions, run count, times."""
        return self.program.info()

    def test_run(self, ctx: Context, *, repeat: int = 1) -> Outcome:
        """Run the program in the kernel on a context, with no packet (Linux 5.13).

        Counters and maps that the program writes are written. The run takes place in the network
        namespace of the calling thread.

        :param repeat: how many runs to take the mean duration of.
        :raises KernelError: the socket selected is in a reuseport group, which the kernel refuses
            to choose from in a test run (``EOPNOTSUPP``).
        """
        run = self.program.test_run(ctx.pack(), repeat=repeat)
        (cookie,) = struct.unpack_from("=Q", run.ctx_out)
        return Outcome(Verdict(run.retval), cookie or None, run.duration_ns)

    def __repr__(self) -> str:
        return f"<LoadedProgram {self.name}{' closed' if self.closed else ''}>"


def load(function: ProgramFunction) -> LoadedProgram:
    """Compile a program and load it into the kernel without attaching it.

    :return: the loaded program, a context manager.
    :raises CompileError: it cannot be compiled.
    :raises VerifierError: the kernel's verifier rejects it, with the Python line that caused it.
    :raises PrivilegeError: ``CAP_BPF`` and ``CAP_NET_ADMIN`` are missing.
    """
    from ..bpf.objects import ObjectFile

    unit = function.check()
    file = ObjectFile.parse(function.assemble(unit), name=function.source.filename)
    with ExitStack() as stack:
        maps = {}
        for name, declared in unit.maps.items():
            maps[name] = declared.acquire(name)
            stack.callback(declared.release)
        loaded = stack.enter_context(file.load(maps=maps))
        program = loaded.programs[unit.name]
        return LoadedProgram(unit.name, program, unit.maps, stack.pop_all())
