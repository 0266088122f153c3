"""What all maps of programs have in common: a declaration in Python, and later a kernel map."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ...errors import InetLookupError

if TYPE_CHECKING:
    from ...bpf import Map, MapType

MAX_ENTRIES = 2**32 - 1
U64_MAX = 2**64 - 1


class ProgramMap:
    """A map that programs and Python share.

    Before a program that uses it is loaded, it lives in Python alone: what is written becomes its
    content when it is loaded. From then on every read and write goes to the kernel, until no loaded
    program of this process uses it any more; then the declared content is back, and the kernel's is
    gone unless a pin or another process holds the map.

    :param max_entries: how many entries it has; 0 leaves it to who loads the object, and no index
        is proven to be in range then.
    """

    def __init__(self, max_entries: int, key_size: int, value_size: int) -> None:
        if not isinstance(max_entries, int) or not 0 <= max_entries <= MAX_ENTRIES:
            raise InetLookupError(
                f"max_entries is {max_entries!r}", hint="it is a count of 1 to 4294967295"
            )
        self.max_entries = max_entries
        self.key_size = key_size
        self.value_size = value_size
        self._kernel: Map | None = None
        self._users = 0

    @property
    def type(self) -> MapType:
        """The kernel's type of map."""
        raise NotImplementedError

    @property
    def no_prealloc(self) -> bool:
        """Whether the kernel demands ``BPF_F_NO_PREALLOC`` for this type."""
        return False

    @property
    def kernel_map(self) -> Map | None:
        """The map in the kernel, or None while no loaded program uses this one."""
        return self._kernel

    def acquire(self, name: str) -> Map:
        """Take part in the kernel map, made and filled on first use.

        :param name: what the kernel shall call it; 15 characters of it count.
        :raises KernelError: the kernel refuses it.
        """
        if self.max_entries == 0:
            raise InetLookupError(
                f"map {name!r} has no size", hint="declare it with max_entries of at least 1"
            )
        if self._kernel is None:
            from ...bpf import Map, MapFlags

            flags = MapFlags.NO_PREALLOC if self.no_prealloc else MapFlags(0)
            kernel = Map.create(
                self.type,
                key_size=self.key_size,
                value_size=self.value_size,
                max_entries=self.max_entries,
                flags=flags,
                name=name[:15],
            )
            try:
                self.fill(kernel)
            except BaseException:
                kernel.close()
                raise
            self._kernel = kernel
        self._users += 1
        return self._kernel

    def release(self) -> None:
        """End one part in the kernel map; the last one closes it."""
        self._users -= 1
        if self._users == 0 and self._kernel is not None:
            self._kernel.close()
            self._kernel = None

    def fill(self, kernel: Map) -> None:
        """Write the content declared in Python to a new kernel map."""
        raise NotImplementedError


def check_value(value: object) -> int:
    """Return a value if a map can hold it.

    :raises InetLookupError: it is not an integer of 0 to 2**64 - 1.
    """
    if not isinstance(value, int) or not 0 <= value <= U64_MAX:
        raise InetLookupError(f"{value!r} is not a value of 0 to 2**64 - 1")
    return int(value)
