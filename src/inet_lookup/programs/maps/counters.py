"""Counters that programs increment without contention between processors."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from typing import TYPE_CHECKING

from ...errors import InetLookupError
from .base import U64_MAX, ProgramMap, check_value

if TYPE_CHECKING:
    from ...bpf import Map, MapType


class Counters(ProgramMap):
    """A fixed number of counters, one cell a processor (``BPF_MAP_TYPE_PERCPU_ARRAY``).

    In a program: ``c.add(i)``, ``c.add(i, n)`` and ``c.try_add(i, n)``. From Python ``c[i]`` is the
    sum over all processors, modulo 2**64; a program cannot read it, since it sees one processor's
    part alone.

    :param max_entries: the number of counters.
    """

    def __init__(self, max_entries: int) -> None:
        super().__init__(max_entries, key_size=4, value_size=8)
        self._local: dict[int, int] = {}

    @property
    def type(self) -> MapType:
        """``BPF_MAP_TYPE_PERCPU_ARRAY``."""
        from ...bpf import MapType

        return MapType.PERCPU_ARRAY

    def fill(self, kernel: Map) -> None:
        """Write what was counted in Python to the first processor's cells."""
        for index, value in self._local.items():
            self._add_to_first(kernel, index, value)

    def __getitem__(self, index: int) -> int:
        """Return a counter's sum over all processors.

        :raises IndexError: the index is out of range.
        """
        self._check(index)
        if self._kernel is None:
            return self._local.get(index, 0)
        cells = self._kernel.lookup_percpu(_key(index))
        assert cells is not None, "an array has a value at every index in range"
        return sum(int(struct.unpack("=Q", cell)[0]) for cell in cells) & U64_MAX

    def add(self, index: int, amount: int = 1) -> None:
        """Add to a counter, modulo 2**64.

        From Python the amount goes to the first processor's cell by a read and a write, which may
        lose an addition made by a program meanwhile.

        :raises IndexError: the index is out of range.
        """
        self._check(index)
        amount = check_value(amount)
        if self._kernel is None:
            self._local[index] = (self._local.get(index, 0) + amount) & U64_MAX
        else:
            self._add_to_first(self._kernel, index, amount)

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

    def _add_to_first(self, kernel: Map, index: int, amount: int) -> None:
        cells = kernel.lookup_percpu(_key(index))
        assert cells is not None, "an array has a value at every index in range"
        (first,) = struct.unpack("=Q", cells[0])
        cells[0] = struct.pack("=Q", (first + amount) & U64_MAX)
        kernel.update(_key(index), b"".join(cells))

    def _check(self, index: int) -> None:
        if not isinstance(index, int):
            raise InetLookupError(f"{index!r} is not an index")
        if not 0 <= index < self.max_entries:
            raise IndexError(
                f"index {index} is out of range: there are {self.max_entries} counters"
            )


def _key(index: int) -> bytes:
    return struct.pack("=I", index)
