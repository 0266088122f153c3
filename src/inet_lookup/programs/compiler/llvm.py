"""LLVM IR to a BPF object, through llvmlite (the extra ``compiler``)."""

from __future__ import annotations

import subprocess
import sys
from functools import lru_cache
from pathlib import Path
from typing import Any, Final

from ...errors import InetLookupError
from .refusal import Refused

# The instruction set of Linux 5.1: 32-bit operations and jumps. Every kernel that has the socket
# lookup hook (5.9) takes it.
_CPU: Final = "v3"

# LLVM ends the process where a program needs more stack than it may have. So it may have plenty,
# and ``limits`` looks at what it has used.
_STACK_OPTION: Final = "-bpf-stack-size=1000000"

# LLVM ends the process where a jump is longer than the 32,767 instructions that it reaches. No
# operation becomes more than ten instructions; above this, LLVM runs in a process of its own.
_SAFE_SIZE: Final = 3000
_TOO_FAR: Final = b"Branch target out of insn range"

_CHILD: Final = """\
import resource, sys
sys.path[:] = sys.argv[1:]
resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
from inet_lookup.programs.compiler.llvm import assemble
sys.stdout.buffer.write(assemble(sys.stdin.buffer.read().decode(), 0))
"""


def assemble(ir: str, size: int) -> bytes:
    """Return the ELF object that LLVM makes of a module.

    :param size: how many operations it has.
    :raises Refused: the program is larger than jumps reach.
    :raises InetLookupError: llvmlite is not installed, or its LLVM has no BPF target.
    """
    if size > _SAFE_SIZE:
        return _assemble_apart(ir)
    llvm, target = _target()
    machine = target.create_target_machine(cpu=_CPU, opt=2)
    module = llvm.parse_assembly(ir)
    module.data_layout = str(machine.target_data)
    module.triple = target.triple
    module.verify()
    passes = llvm.create_pass_builder(machine, llvm.create_pipeline_tuning_options(speed_level=2))
    passes.getModulePassManager().run(module, passes)
    result: bytes = machine.emit_object(module)
    return result


def _assemble_apart(ir: str) -> bytes:
    # -S: the child finds modules where this process does, and nowhere else.
    package = str(Path(__file__).parents[3])
    command = [sys.executable, "-S", "-c", _CHILD, package, *sys.path]
    try:
        done = subprocess.run(command, input=ir.encode(), capture_output=True, check=False)
    except OSError as error:
        raise InetLookupError(
            f"compiling a program of this size needs a process of its own: {sys.executable!r} "
            f"cannot be run: {error.strerror}",
            hint="compile it with a Python interpreter that can start another",
        ) from None
    if done.returncode == 0:
        return done.stdout
    if _TOO_FAR in done.stderr:
        raise Refused(
            "the program is too large: a jump in it would have to reach further than the 32767 "
            "instructions that a jump can",
            "loops are unrolled and calls inlined: make them shorter, or use a map",
        )
    said = done.stderr.decode(errors="replace").strip().splitlines() or ["nothing"]
    raise InetLookupError(f"LLVM failed with status {done.returncode} and said: {said[-1]}")


@lru_cache(maxsize=1)
def _target() -> tuple[Any, Any]:
    try:
        import llvmlite.binding as llvm
    except ImportError:
        raise InetLookupError(
            "compiling a Python program needs llvmlite, which is not installed",
            hint="pip install 'inet-lookup[compiler]'",
        ) from None
    llvm.initialize_all_targets()
    llvm.initialize_all_asmprinters()
    triple = "bpfel" if sys.byteorder == "little" else "bpfeb"
    try:
        target = llvm.Target.from_triple(triple)
    except RuntimeError as error:
        raise InetLookupError(
            f"this build of llvmlite ({llvm.llvm_version_info}) cannot make BPF: {error}",
            hint="install llvmlite from PyPI, whose LLVM has every target",
        ) from None
    llvm.set_option("inet-lookup", _STACK_OPTION)
    return llvm, target
