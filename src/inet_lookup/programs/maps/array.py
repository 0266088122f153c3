"""Arrays of numbers that programs read and write."""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING, overload

from .base import U64_MAX, check_value
from .indexed import IndexedMap, index_key

if TYPE_CHECKING:
    from ...bpf import Map, MapType


class Array(IndexedMap):
    """A fixed number of 64-bit unsigned integers, all 0 at first (``BPF_MAP_TYPE_ARRAY``).

    In a program: ``a[i]``, ``a[i] = value``, ``a.get(i)``, ``a.get(i, default)`` and
    ``a.add(i, n)``. An index that is not proven to be in range is refused, except by ``get()`` and
    ``try_add()``, which say whether it was.

    :param max_entries: the number of integers.
    """

    @property
    def type(self) -> MapType:
        """``BPF_MAP_TYPE_ARRAY``."""
        from ...bpf import MapType

        return MapType.ARRAY

    def fill(self, kernel: Map) -> None:
        """Write the declared integers to the kernel map."""
        for index, value in self._local.items():
            kernel.update(index_key(index), struct.pack("=Q", value))

    def __getitem__(self, index: int) -> int:
        """Return the integer at an index.

        :raises IndexError: the index is out of range.
        """
        self._check(index)
        if self._kernel is None:
            return self._local.get(index, 0)
        raw = self._kernel.lookup(index_key(index))
        assert raw is not None, "an array has a value at every index in range"
        (value,) = struct.unpack("=Q", raw)
        return int(value)

    def __setitem__(self, index: int, value: int) -> None:
        """Write the integer at an index.

        :raises IndexError: the index is out of range.
        :raises InetLookupError: the value does not fit in 64 bits unsigned.
        """
        self._check(index)
        value = check_value(value)
        if self._kernel is None:
            self._local[index] = value
        else:
            self._kernel.update(index_key(index), struct.pack("=Q", value))

    @overload
    def get(self, index: int) -> int | None: ...
    @overload
    def get(self, index: int, default: int) -> int: ...
    def get(self, index: int, default: int | None = None) -> int | None:
        """Return the integer at an index, or ``default`` where the index is out of range."""
        return self[index] if 0 <= index < self.max_entries else default

    def add(self, index: int, amount: int = 1) -> None:
        """Add to the integer at an index, modulo 2**64.

        Atomic in a program; from Python a read and a write, which may lose a program's addition.

        :raises IndexError: the index is out of range.
        """
        self[index] = (self[index] + check_value(amount)) & U64_MAX
