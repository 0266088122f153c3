"""Counters that programs increment without contention between processors."""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING

from .base import U64_MAX, check_value
from .indexed import IndexedMap, index_key

if TYPE_CHECKING:
    from ...bpf import Map, MapType


class Counters(IndexedMap):
    """A fixed number of counters, one cell a processor (``BPF_MAP_TYPE_PERCPU_ARRAY``).

    In a program: ``c.add(i)``, ``c.add(i, n)`` and ``c.try_add(i, n)``. From Python ``c[i]`` is the
    sum over all processors, modulo 2**64; a program cannot read it, since it sees one processor's
    part alone.

    :param max_entries: the number of counters.
    """

    noun = "counters"

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
        cells = self._kernel.lookup_percpu(index_key(index))
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

    def _add_to_first(self, kernel: Map, index: int, amount: int) -> None:
        cells = kernel.lookup_percpu(index_key(index))
        assert cells is not None, "an array has a value at every index in range"
        (first,) = struct.unpack("=Q", cells[0])
        cells[0] = struct.pack("=Q", (first + amount) & U64_MAX)
        kernel.update(index_key(index), b"".join(cells))
