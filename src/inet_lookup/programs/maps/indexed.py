"""What arrays and counters have in common: integers of 64 bits at indexes from 0."""

from __future__ import annotations

import struct
from collections.abc import Iterator

from ...errors import InetLookupError
from .base import ProgramMap


class IndexedMap(ProgramMap):
    """A fixed number of 64-bit unsigned integers, all 0 at first.

    :param max_entries: how many there are.
    :ivar noun: what one of them is called in messages.
    """

    noun = "integers"

    def __init__(self, max_entries: int) -> None:
        super().__init__(max_entries, key_size=4, value_size=8)
        self._local: dict[int, int] = {}

    def __getitem__(self, index: int) -> int:
        """Return the integer at an index."""
        raise NotImplementedError

    def add(self, index: int, amount: int = 1) -> None:
        """Add to the integer at an index, modulo 2**64."""
        raise NotImplementedError

    def try_add(self, index: int, amount: int = 1) -> bool:
        """Add as :meth:`add` does, where the index is in range.

        :return: False where it is not.
        """
        if not 0 <= index < self.max_entries:
            return False
        self.add(index, amount)
        return True

    def __len__(self) -> int:
        return self.max_entries

    def __iter__(self) -> Iterator[int]:
        return (self[index] for index in range(self.max_entries))

    def _check(self, index: int) -> None:
        check_index(index, self.max_entries, self.noun)


def check_index(index: object, size: int, noun: str) -> None:
    """Check an index from Python.

    :param noun: what there is at the indexes, for the message.
    :raises IndexError: it is out of range.
    :raises InetLookupError: it is not an integer.
    """
    if not isinstance(index, int):
        raise InetLookupError(f"{index!r} is not an index")
    if not 0 <= index < size:
        raise IndexError(f"index {index} is out of range: there are {size} {noun}")


def index_key(index: int) -> bytes:
    """Return an index as the kernel takes it."""
    return struct.pack("=I", index)
