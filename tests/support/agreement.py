"""Whether a program does in the kernel what it does in Python."""

from __future__ import annotations

from collections.abc import Sequence
from types import ModuleType
from typing import Any

from inet_lookup import Context, Verdict, load
from inet_lookup.programs.maps import ProgramMap, SockArray


def difference(module: ModuleType, contexts: Sequence[Context]) -> str | None:
    """Run program ``f`` of a module in the kernel and then in Python; describe what differs.

    Verdicts, selected sockets and the contents of all maps are compared. The maps must be unused.
    """
    with load(module.f) as loaded:
        outcomes = [loaded.test_run(ctx) for ctx in contexts]
        in_kernel = contents(module)
    # The maps hold again what they were declared with.
    for number, (ctx, outcome) in enumerate(zip(contexts, outcomes, strict=True)):
        try:
            verdict = module.f(ctx)
        except Exception as error:
            return f"Python raises {error!r} on {ctx} (number {number}), the kernel {outcome}"
        cookie = ctx.sk.cookie if ctx.sk is not None and verdict is Verdict.PASS else None
        if (verdict, cookie) != (outcome.verdict, outcome.cookie):
            return f"Python says {verdict!r}, {cookie} and the kernel {outcome} on {ctx} ({number})"
    in_python = contents(module)
    if in_kernel != in_python:
        return f"maps differ: {in_kernel} in the kernel, {in_python} in Python"
    return None


def contents(module: ModuleType) -> dict[str, object]:
    """What the maps of a module hold, by name."""
    return {
        name: _content(value)
        for name, value in vars(module).items()
        if isinstance(value, ProgramMap) and not isinstance(value, SockArray)
    }


def _content(table: Any) -> object:
    if hasattr(table, "get") and not hasattr(table, "try_add"):
        return {key: table[key] for key in table}
    return list(table)
