"""The command ``inet-lookup``: argument parsing and printing, nothing else."""

from __future__ import annotations

import signal
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

_INTERRUPTED = 130  # 128 and SIGINT


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command.

    :param arguments: without the command's own name; those of the process by default.
    :return: the exit status: 0 done, 1 failed, 2 misused, 130 after Ctrl-C.
    """
    try:
        from .running import run

        return run(arguments)
    except KeyboardInterrupt:
        return _INTERRUPTED
    finally:
        if arguments is None:
            # The process ends now: another Ctrl-C has nothing to stop, and Python would show it.
            signal.signal(signal.SIGINT, signal.SIG_IGN)
