"""Hash maps that programs look up, write and count in."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from typing import TYPE_CHECKING, overload

from ...errors import CapacityError
from .base import U64_MAX, ProgramMap, check_value
from .keys import Key, KeyPart, KeySpec

if TYPE_CHECKING:
    from ...bpf import Map, MapType


class Hash(ProgramMap):
    """Numbers or addresses to 64-bit unsigned integers (``BPF_MAP_TYPE_HASH``).

    In a program: ``h.get(key)`` (an integer or None), ``h.get(key, default)``, ``key in h``,
    ``h.put(key, value)``, ``h.add(key, n)`` and ``h.remove(key)``, each of which says whether it
    did what it was asked to. ``h[key]`` and ``h[key] = value`` raise an exception on a missing key
    and on a full map, which a program cannot do: they are for Python.

    :param max_entries: how many keys it holds at most.
    :param key: the type of a key: ``int``, ``Address``, or a tuple of these.
    """

    def __init__(self, max_entries: int, key: object = int) -> None:
        self.key_spec = KeySpec.of(key)
        super().__init__(max_entries, key_size=self.key_spec.size, value_size=8)
        self._local: dict[tuple[KeyPart, ...], int] = {}

    @property
    def type(self) -> MapType:
        """``BPF_MAP_TYPE_HASH``."""
        from ...bpf import MapType

        return MapType.HASH

    def fill(self, kernel: Map) -> None:
        """Write the declared entries to the kernel map."""
        for key, value in self._local.items():
            kernel.update(self.key_spec.pack(key), struct.pack("=Q", value))

    @overload
    def get(self, key: Key) -> int | None: ...
    @overload
    def get(self, key: Key, default: int) -> int: ...
    def get(self, key: Key, default: int | None = None) -> int | None:
        """Return a key's value, or ``default`` where the key is missing.

        :raises InetLookupError: the key is of another shape than the map's.
        """
        parts = self.key_spec.normalize(key)
        if self._kernel is None:
            return self._local.get(parts, default)
        raw = self._kernel.lookup(self.key_spec.pack(parts))
        return default if raw is None else int(struct.unpack("=Q", raw)[0])

    def put(self, key: Key, value: int) -> bool:
        """Write a key's value.

        :return: False where the key is new and the map is full.
        :raises InetLookupError: the key is of another shape, or the value exceeds 64 bits.
        """
        parts = self.key_spec.normalize(key)
        value = check_value(value)
        if self._kernel is None:
            if parts not in self._local and 0 < self.max_entries <= len(self._local):
                return False
            self._local[parts] = value
            return True
        try:
            self._kernel.update(self.key_spec.pack(parts), struct.pack("=Q", value))
        except CapacityError:
            return False
        return True

    def add(self, key: Key, amount: int = 1) -> bool:
        """Add to a key's value modulo 2**64; a missing key counts as 0.

        Atomic in a program; from Python a read and a write, which may lose a program's addition.

        :return: False where the key is new and the map is full.
        """
        return self.put(key, (self.get(key, 0) + check_value(amount)) & U64_MAX)

    def remove(self, key: Key) -> bool:
        """Remove a key.

        :return: False where it was missing.
        """
        parts = self.key_spec.normalize(key)
        if self._kernel is None:
            return self._local.pop(parts, None) is not None
        return self._kernel.delete(self.key_spec.pack(parts))

    def __contains__(self, key: Key) -> bool:
        return self.get(key) is not None

    def __getitem__(self, key: Key) -> int:
        """Return a key's value.

        :raises KeyError: the key is missing.
        """
        value = self.get(key)
        if value is None:
            raise KeyError(key)
        return value

    def __setitem__(self, key: Key, value: int) -> None:
        """Write a key's value.

        :raises CapacityError: the key is new and the map is full.
        """
        if not self.put(key, value):
            import errno

            raise CapacityError(
                "write to a hash map",
                errno.E2BIG,
                f"it holds {self.max_entries} keys already",
                hint="declare it with a larger max_entries",
            )

    def __delitem__(self, key: Key) -> None:
        """Remove a key.

        :raises KeyError: it is missing.
        """
        if not self.remove(key):
            raise KeyError(key)

    def __iter__(self) -> Iterator[Key]:
        if self._kernel is None:
            return (key[0] if self.key_spec.single else key for key in list(self._local))
        return (self.key_spec.unpack(raw) for raw in self._kernel.keys())  # noqa: SIM118 (a Map is no dict)

    def __len__(self) -> int:
        return sum(1 for _ in self)
