"""LLVM IR to a BPF object, through llvmlite (the extra ``compiler``)."""

from __future__ import annotations

import sys
from functools import lru_cache
from typing import Any

from ...errors import InetLookupError

# The instruction set of Linux 5.1: 32-bit operations and jumps. Every kernel that has the socket
# lookup hook (5.9) takes it.
_CPU = "v3"


def assemble(ir: str) -> bytes:
    """Return the ELF object that LLVM makes of a module.

    :raises InetLookupError: llvmlite is not installed, or its LLVM has no BPF target.
    """
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
        return llvm, llvm.Target.from_triple(triple)
    except RuntimeError as error:
        raise InetLookupError(
            f"this build of llvmlite ({llvm.llvm_version_info}) cannot make BPF: {error}",
            hint="install llvmlite from PyPI, whose LLVM has every target",
        ) from None
