"""Arrays of numbers that programs read and write."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from typing import TYPE_CHECKING, overload

from ...errors import InetLookupError
from .base import U64_MAX, ProgramMap, check_value

if TYPE_CHECKING:
    from ...bpf import Map, MapType


class Array(ProgramMap):
    """A fixed number of 64-bit unsigned integers, all 0 at first (``BPF_MAP_TYPE_ARRAY``).

    In a program: ``a[i]``, ``a[i] = value``, ``a.get(i)``, ``a.get(i, default)`` and
    ``a.add(i, n)``. An index that is not proven to be in range is refused, except by ``get()`` and
    ``try_add()``, which say whether it was.

    :param max_entries: the number of integers.
    """

    def __init__(self, max_entries: int) -> None:
        super().__init__(max_entries, key_size=4, value_size=8)
        self._local: dict[int, int] = {}

    @property
    def type(self) -> MapType:
        """``BPF_MAP_TYPE_ARRAY``."""
        from ...bpf import MapType

        return MapType.ARRAY

    def fill(self, kernel: Map) -> None:
        """Write the declared integers to the kernel map."""
        for index, value in self._local.items():
            kernel.update(_key(index), struct.pack("=Q", value))

    def __getitem__(self, index: int) -> int:
        """Return the integer at an index.

        :raises IndexError: the index is out of range.
        """
        self._check(index)
        if self._kernel is None:
            return self._local.get(index, 0)
        raw = self._kernel.lookup(_key(index))
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
            self._kernel.update(_key(index), struct.pack("=Q", value))

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
        if not isinstance(index, int):
            raise InetLookupError(f"{index!r} is not an index")
        if not 0 <= index < self.max_entries:
            raise IndexError(f"index {index} is out of range: the array has {self.max_entries}")


def _key(index: int) -> bytes:
    return struct.pack("=I", index)
