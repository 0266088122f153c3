"""The ``@program`` decorator: a Python function that is also a BPF program."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import overload

from ..errors import CompileError
from .compiler.refusal import Refused
from .compiler.source import FunctionSource
from .compiler.unit import Unit, translate
from .context import Context
from .verdict import Verdict


class ProgramFunction:
    """A program: call it in Python with a :class:`Context`, or attach it to a namespace.

    Made by :func:`program`.

    :ivar name: the function's name, of which the kernel keeps 15 characters.
    """

    def __init__(self, function: Callable[[Context], Verdict], *, license: str = "") -> None:
        self.source = FunctionSource(function)
        self.name = self.source.name
        self._function = function
        self._license = license
        functools.update_wrapper(self, function)
        try:
            self.check()
        except CompileError as error:
            # A function may refer to what its module defines further down.
            if not error.undefined:
                raise

    def __call__(self, ctx: Context) -> Verdict:
        """Run the function in plain Python."""
        return self._function(ctx)

    def check(self) -> Unit:
        """Check the function and translate it as far as that goes without LLVM.

        :return: the program as LLVM IR, with the maps that it uses.
        :raises CompileError: it uses something that cannot be compiled; the message has the place.
        """
        return translate(self.source, license=self._license)

    def compile(self) -> bytes:
        """Compile the program.

        Names of constants, maps and inlined functions are looked up now; assigning to them later
        does not change what was compiled.

        :return: an ELF object as clang would make it, with BTF and the Python source lines, which
            other loaders (libbpf, bpftool) take as well.
        :raises CompileError: the function uses something that cannot be compiled.
        :raises InetLookupError: llvmlite, the extra ``compiler``, is not installed.
        """
        return self.assemble(self.check())

    def assemble(self, unit: Unit) -> bytes:
        """Return the object of what :meth:`check` gave, as :meth:`compile` does.

        :raises CompileError: the program is larger than any that the kernel takes.
        :raises InetLookupError: llvmlite, the extra ``compiler``, is not installed.
        """
        try:
            return assemble_cached(unit.ir, unit.size)
        except Refused as refused:
            raise self.source.refuse(self.source.node, refused) from None

    def __repr__(self) -> str:
        return f"<program {self.name} of {self.source.filename}:{self.source.node.lineno}>"


@functools.lru_cache(maxsize=32)
def assemble_cached(ir: str, size: int) -> bytes:
    """Return the object of a module, assembled once.

    :raises Refused: it exceeds a limit of the kernel.
    """
    from ..bpf.objects import ObjectFile
    from .compiler.llvm import assemble
    from .compiler.stack import require_stack

    data = assemble(ir, size)
    for program in ObjectFile.parse(data, name="the compiled program").programs.values():
        require_stack(program.instructions)
    return data


@overload
def program(function: Callable[[Context], Verdict], /) -> ProgramFunction: ...
@overload
def program(*, license: str = "") -> Callable[[Callable[[Context], Verdict]], ProgramFunction]: ...
def program(
    function: Callable[[Context], Verdict] | None = None, /, *, license: str = ""
) -> ProgramFunction | Callable[[Callable[[Context], Verdict]], ProgramFunction]:
    """Make a function a program of the socket lookup (Linux 5.9).

    ::

        @program
        def ssh_for_friends(ctx: Context) -> Verdict:
            if ctx.local_port == 22 and ctx.remote_ip not in FRIENDS:
                return DROP
            return PASS

    The function is checked at once: what cannot be compiled raises an error here, with the place
    and what to write instead. ``docs/language.md`` describes the language.

    :param license: the licence that the kernel is told; no helper that programs use demands one.
    :raises CompileError: the function uses something that cannot be compiled.
    :raises InetLookupError: it is not defined with ``def``, or its source is not available.
    """
    if function is None:
        return lambda inner: ProgramFunction(inner, license=license)
    return ProgramFunction(function)
