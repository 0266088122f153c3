"""Progress of long work: a line on the terminal that is written over and goes in the end."""

from __future__ import annotations

import sys
import threading
import time
from types import TracebackType
from typing import Final, TextIO

_PATIENCE_SECONDS: Final = 1.0
"""What takes no longer is not worth a line."""

_INTERVAL_SECONDS: Final = 0.2

_RETURN_AND_CLEAR: Final = "\r\x1b[K"


class Progress:
    """Shows what is being done and for how long, once it has taken a second.

    It is shown nowhere if the stream is no terminal. A context manager:
    the line is gone after it.

    :param quiet: show nothing in any case.
    :param stream: where it is shown; the standard error output by default.
    """

    def __init__(self, *, quiet: bool = False, stream: TextIO | None = None) -> None:
        self._stream = stream if stream is not None else sys.stderr
        self._shown = not quiet and self._stream is not None and self._stream.isatty()
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._show, name="progress", daemon=True)
        self._text = ""
        self._since = time.monotonic()

    def __call__(self, what: str, done: int = 0, total: int = 0) -> None:
        """Say what is being done now.

        :param what: such as ``compiling the rules``.
        :param done: how many steps are done.
        :param total: how many steps there are; 0 where that is not known.
        """
        self._text = f"{what} (step {done + 1} of {total})" if total else what

    def __enter__(self) -> Progress:
        if self._shown:
            self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._ended.set()
        if self._shown:
            self._thread.join()

    def _show(self) -> None:
        if self._ended.wait(_PATIENCE_SECONDS):
            return
        while not self._ended.is_set():
            seconds = int(time.monotonic() - self._since)
            self._write(f"{_RETURN_AND_CLEAR}{self._text}, {seconds} s")
            self._ended.wait(_INTERVAL_SECONDS)
        self._write(_RETURN_AND_CLEAR)

    def _write(self, text: str) -> None:
        try:
            self._stream.write(text)
            self._stream.flush()
        except OSError:  # the terminal is gone
            self._ended.set()
