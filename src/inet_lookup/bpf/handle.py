"""Ownership: whoever holds kernel resources closes them, and what is forgotten is noticed.

A :class:`Resource` is closed by a ``with`` block or by :meth:`Resource.close`. One that the garbage
collector finds open is closed with a :class:`ResourceWarning`. :func:`live_handles` lists what is
open, so that a test can fail on a leak.
"""

from __future__ import annotations

import os
import warnings
from typing import TYPE_CHECKING, ClassVar, Self
from weakref import WeakSet

if TYPE_CHECKING:
    from types import TracebackType

_live: WeakSet[Resource] = WeakSet()


def live_handles() -> list[Resource]:
    """Everything that this process has open through this package, in no particular order."""
    return list(_live)


class Resource:
    """Something of the kernel's that has to be given back: closed once, by its owner."""

    _closed = True

    def __init__(self) -> None:
        self._closed = False
        _live.add(self)

    def _release(self) -> None:
        """Give the resource back; called once."""
        raise NotImplementedError

    @property
    def closed(self) -> bool:
        """Whether :meth:`close` was called."""
        return self._closed

    def close(self) -> None:
        """Give the resource back to the kernel; closing twice is harmless."""
        if self._closed:
            return
        # First: a descriptor must never be closed twice, its number may be another's by then.
        self._closed = True
        try:
            self._release()
        except BufferError:  # memory that is still in use stays open
            self._closed = False
            raise
        finally:
            if self._closed:
                _live.discard(self)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def __del__(self) -> None:
        if self._closed:
            return
        warnings.warn(f"unclosed {self!r}", ResourceWarning, stacklevel=2, source=self)
        self.close()


class Handle(Resource):
    """An owned file descriptor of a BPF object.

    :param fd: a file descriptor that belongs to this object from now on, also if the call fails.
    """

    kind: ClassVar[str] = "object"
    """What the descriptor refers to, in messages."""

    def __init__(self, fd: int) -> None:
        super().__init__()
        self._fd = fd

    @property
    def fd(self) -> int:
        """The file descriptor, valid until this object is closed.

        :raises ValueError: when this object is closed.
        """
        if self._closed:
            raise ValueError(f"the {self.kind} is closed")
        return self._fd

    def fileno(self) -> int:
        """The file descriptor, for :mod:`select` and the like."""
        return self.fd

    def _release(self) -> None:
        os.close(self._fd)

    def __repr__(self) -> str:
        state = "closed" if self._closed else f"fd={self._fd}"
        return f"<{type(self).__name__} {state}>"
