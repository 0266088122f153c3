"""Signals that end the demo: taken as exceptions, but not where one would lose a resource."""

from __future__ import annotations

import contextlib
import os
import signal
from collections.abc import Iterator
from types import FrameType, TracebackType
from typing import Any, Final, NoReturn, Self

_SIGNALS: Final = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class Interrupted(BaseException):
    """A signal asked the process to end.

    Like :class:`KeyboardInterrupt` it is no :class:`Exception`: what handles errors lets it pass.

    :param signum: the signal.
    """

    def __init__(self, signum: int) -> None:
        super().__init__(signal.Signals(signum).name)
        self.signum = signum

    def die(self) -> NoReturn:
        """End the process by the signal itself, so that the shell sees what ended it.

        To be called when everything is cleaned up and flushed: nothing runs after it.
        """
        signal.signal(self.signum, signal.SIG_DFL)
        os.kill(os.getpid(), self.signum)
        # The signal is blocked, as the parent may have left it.
        raise SystemExit(128 + self.signum)


class Interruptions:
    """While it is entered, SIGINT, SIGTERM and SIGHUP raise :class:`Interrupted`, the first only.

    A signal that is ignored (``nohup``) stays ignored. To be entered in the main thread, where
    Python runs signal handlers.
    """

    def __init__(self) -> None:
        self._previous: dict[signal.Signals, Any] = {}
        self._received: int | None = None
        self._raised = False
        self._deferrals = 0

    @contextlib.contextmanager
    def deferred(self) -> Iterator[None]:
        """Hold a signal back until the end of the block, which must not take long.

        For steps that make something and write down that it exists, and for taking things down.
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
        if self._received is not None and not self._deferrals and not self._raised:
            self._raised = True
            raise Interrupted(self._received)
