"""Ending a process at a chosen step of what it does to directories, as ``kill -9`` would."""

from __future__ import annotations

import os
import sys
import traceback
from collections.abc import Callable

_STEPS = frozenset({"os.mkdir", "os.chmod", "os.rename", "os.remove", "os.rmdir"})
"""Audit events of what changes a directory or comes right after a pin."""

_KILLED = 77


def killed_at(step: int, function: Callable[[], object]) -> bool:
    """Call a function in a forked process that ends just before its ``step``-th change.

    :param step: from 0.
    :return: whether it was ended; False where the function was done before.
    """
    pid = os.fork()
    if pid == 0:
        status = 1
        try:
            _end_at(step)
            function()
            status = 0
        except BaseException:
            traceback.print_exc()
        finally:
            os._exit(status)
    _, status = os.waitpid(pid, 0)
    code = os.waitstatus_to_exitcode(status)
    assert code in (0, _KILLED), "the function failed; its traceback is on stderr"
    return code == _KILLED


def _end_at(step: int) -> None:
    left = step

    def hook(event: str, arguments: tuple[object, ...]) -> None:
        nonlocal left
        if event in _STEPS:
            if left == 0:
                os._exit(_KILLED)
            left -= 1

    sys.addaudithook(hook)
