"""Signals that end the demo: taken as exceptions, but not where one would lose a resource."""

from __future__ import annotations

import contextlib
import signal
from collections.abc import Iterator
from types import FrameType, TracebackType
from typing import Any, Final, Self

_SIGNALS: Final = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class Interruptions:
    """While it is entered, signals that end the process raise an exception, the first one only.

    That is :class:`KeyboardInterrupt` for SIGINT, and for SIGTERM and SIGHUP :class:`SystemExit`
    with the status that shells have for it. A signal that is ignored (``nohup``) stays ignored. To
    be entered in the main thread, where Python runs signal handlers.
    """

    def __init__(self) -> None:
        self._previous: dict[signal.Signals, Any] = {}
        self._received: int | None = None
        self._raised = False
        self._deferrals = 0

    @contextlib.contextmanager
    def deferred(self) -> Iterator[None]:
        """Hold a signal back until the end of the block, which must not take long.

        For steps that make something and note that it exists, and for taking things down.
        """
        self._deferrals += 1
        try:
            yield
        finally:
            self._deferrals -= 1
            self._raise_if_due()

    def __enter__(self) -> Self:
        for each in _SIGNALS:
            if signal.getsignal(each) is not signal.SIG_IGN:
                self._previous[each] = signal.signal(each, self._handle)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        for each, previous in self._previous.items():
            signal.signal(each, signal.SIG_DFL if previous is None else previous)

    def _handle(self, signum: int, frame: FrameType | None) -> None:
        if self._received is None:
            self._received = signum
        self._raise_if_due()

    def _raise_if_due(self) -> None:
        """Raise once: further signals must not interrupt what the first one set off."""
        if self._received is None or self._deferrals or self._raised:
            return
        self._raised = True
        if self._received == signal.SIGINT:
            raise KeyboardInterrupt
        raise SystemExit(128 + self._received)
