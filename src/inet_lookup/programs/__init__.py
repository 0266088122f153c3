"""Programs in Python: written as functions, run as Python, compiled to BPF, attached."""

from __future__ import annotations

from .attachment import AttachedProgram, ProgramLink, attach, query
from .context import Address, Context
from .function import ProgramFunction, program
from .inline import inline
from .loading import LoadedProgram, Outcome, load
from .maps import Array, Counters, Hash, LpmTrie, SockArray
from .network_set import NetworkSet
from .verdict import DROP, PASS, Verdict

__all__ = [
    "DROP",
    "PASS",
    "Address",
    "Array",
    "AttachedProgram",
    "Context",
    "Counters",
    "Hash",
    "LoadedProgram",
    "LpmTrie",
    "NetworkSet",
    "Outcome",
    "ProgramFunction",
    "ProgramLink",
    "SockArray",
    "Verdict",
    "attach",
    "inline",
    "load",
    "program",
    "query",
]
