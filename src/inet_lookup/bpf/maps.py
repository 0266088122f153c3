"""Maps: what programs and user space share.

Keys and values are bytes as they lie in memory: integers in the machine's own byte order. Where a
key or a value is a single integer, an ``int`` is taken too.
"""

from __future__ import annotations

import errno
import sys
from ctypes import addressof
from typing import TYPE_CHECKING, Final, NamedTuple, Self

from ..errors import CapacityError, SocketRefusedError, UnsupportedError
from . import attr
from .cpus import possible_cpus
from .failures import Failure, Since, failure
from .kernel_object import KernelObject, next_ids, read_info
from .privileges import Capability
from .syscall import bpf
from .uapi import ENOTSUPP, Command, MapFlags, MapType, UpdateMode

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from .handle import Handle
    from .kernel_btf import Btf
    from .map_memory import MapMemory

_BYTE_ORDER: Final = sys.byteorder

PER_CPU: Final = frozenset(
    {
        MapType.PERCPU_ARRAY,
        MapType.PERCPU_HASH,
        MapType.LRU_PERCPU_HASH,
        MapType.PERCPU_CGROUP_STORAGE,
    }
)
SOCKETS: Final = frozenset({MapType.SOCKMAP, MapType.SOCKHASH, MapType.REUSEPORT_SOCKARRAY})
MAPS_OF_MAPS: Final = frozenset({MapType.ARRAY_OF_MAPS, MapType.HASH_OF_MAPS})
INDEXED: Final = frozenset(
    {
        MapType.ARRAY,
        MapType.PERCPU_ARRAY,
        MapType.ARRAY_OF_MAPS,
        MapType.SOCKMAP,
        MapType.REUSEPORT_SOCKARRAY,
        MapType.PROG_ARRAY,
    }
)
"""Types whose key is an index below ``max_entries``."""

_SINCE: Final[Mapping[MapType, tuple[int, int]]] = {
    MapType.HASH: (3, 19),
    MapType.ARRAY: (3, 19),
    MapType.PERCPU_HASH: (4, 6),
    MapType.PERCPU_ARRAY: (4, 6),
    MapType.LRU_HASH: (4, 10),
    MapType.LRU_PERCPU_HASH: (4, 10),
    MapType.LPM_TRIE: (4, 11),
    MapType.ARRAY_OF_MAPS: (4, 12),
    MapType.HASH_OF_MAPS: (4, 12),
    MapType.SOCKMAP: (4, 14),
    MapType.SOCKHASH: (4, 18),
    MapType.REUSEPORT_SOCKARRAY: (4, 19),
    MapType.QUEUE: (4, 20),
    MapType.STACK: (4, 20),
    MapType.SK_STORAGE: (5, 2),
    MapType.RINGBUF: (5, 8),
    MapType.BLOOM_FILTER: (5, 16),
    MapType.USER_RINGBUF: (6, 1),
    MapType.ARENA: (6, 9),
}
_NEEDS_NET_ADMIN: Final = frozenset(
    {MapType.SOCKMAP, MapType.SOCKHASH, MapType.DEVMAP, MapType.DEVMAP_HASH, MapType.XSKMAP}
)


class MapInfo(NamedTuple):
    """What the kernel tells about a map (``struct bpf_map_info``)."""

    id: int
    type: MapType
    key_size: int
    value_size: int
    max_entries: int
    flags: MapFlags
    name: str
    btf_id: int
    """Id of the BTF object with the key's and value's types, 0 for none."""
    btf_key_type_id: int
    btf_value_type_id: int


class Map(KernelObject):
    """A BPF map. Make one with :meth:`create`, or open one with ``open_pinned`` or ``from_id``."""

    kind = "map"
    fd_by_id = Command.MAP_GET_FD_BY_ID
    inode_names = ("bpf-map",)

    id: int
    type: MapType
    name: str
    key_size: int
    value_size: int
    """Bytes of a value as programs see it; see :attr:`user_value_size` for per-CPU maps."""
    max_entries: int
    flags: MapFlags

    @classmethod
    def create(
        cls,
        type: MapType,
        *,
        key_size: int,
        value_size: int,
        max_entries: int,
        flags: MapFlags = MapFlags(0),  # noqa: B008 (immutable)
        name: str = "",
        inner: Map | None = None,
        btf: Btf | None = None,
        btf_key_type_id: int = 0,
        btf_value_type_id: int = 0,
    ) -> Self:
        """Make a map (``BPF_MAP_CREATE``).

        :param key_size: bytes of a key; 4 for arrays, 0 for a ring buffer.
        :param value_size: bytes of a value; 0 for a ring buffer. For a map of sockets 8 lets user
            space read the socket cookie of a slot, 4 does not let it read (8: Linux 5.7).
        :param max_entries: how many entries fit; the bytes of a ring buffer: a power of two and a
            multiple of the page size.
        :param name: for people; the kernel keeps 15 characters of it.
        :param inner: for a map of maps, a map like those to be put into it.
        :param btf: the kernel's BTF object that the type ids refer to.
        :raises PrivilegeError: the capability that this type needs is missing.
        :raises UnsupportedError: the kernel is older than the type.
        :raises CapacityError: memory is short, or before Linux 5.11 the limit on locked memory.
        :raises KernelError: the kernel refuses the sizes or flags.
        """
        map_type = MapType(type)
        request = attr.MapCreate(
            map_type=map_type,
            key_size=key_size,
            value_size=value_size,
            max_entries=max_entries,
            map_flags=flags,
            inner_map_fd=_inner_fd(map_type, inner),
            map_name=attr.object_name(name),
            btf_fd=btf.fd if btf is not None else 0,
            btf_key_type_id=btf_key_type_id,
            btf_value_type_id=btf_value_type_id,
        )
        try:
            fd = bpf(Command.MAP_CREATE, request)
        except OSError as error:
            raise failure(
                error,
                f"create map {name!r} ({map_type.label})",
                meanings=_create_meanings(request),
                capabilities=(
                    (Capability.CAP_BPF, Capability.CAP_NET_ADMIN)
                    if map_type in _NEEDS_NET_ADMIN
                    else (Capability.CAP_BPF,)
                ),
                since=Since(f"the map type {map_type.label}", _SINCE.get(map_type, (0, 0))),
                charges_memory=True,
            ) from error
        return cls(fd)

    def _describe(self) -> None:
        info = self.info()
        self.id = info.id
        self.type = info.type
        self.name = info.name
        self.key_size = info.key_size
        self.value_size = info.value_size
        self.max_entries = info.max_entries
        self.flags = info.flags
        self.user_value_size = (
            round_up(info.value_size) * possible_cpus() if info.type in PER_CPU else info.value_size
        )
        """Bytes of a value as user space reads and writes it: one for each possible CPU."""

    def __repr__(self) -> str:
        if self.closed:
            return "<Map closed>"
        if "flags" not in self.__dict__:
            return super().__repr__()
        return f"<Map {self.name!r} {self.type.label} id={self.id} fd={self._fd}>"

    def operation(self, what: str) -> str:
        """What is being done with this map, as messages say it."""
        return f"{what} map {self.name!r} ({self.type.label})"

    def info(self) -> MapInfo:
        """What the kernel knows of the map now."""
        raw = read_info(self.fd, attr.MapInfoStruct(), "read a map's info")
        return MapInfo(
            id=raw.id,
            type=MapType(raw.type),
            key_size=raw.key_size,
            value_size=raw.value_size,
            max_entries=raw.max_entries,
            flags=MapFlags(raw.map_flags),
            name=raw.name.decode(),
            btf_id=raw.btf_id,
            btf_key_type_id=raw.btf_key_type_id,
            btf_value_type_id=raw.btf_value_type_id,
        )

    def _key(self, key: bytes | int) -> bytes:
        return _sized(key, self.key_size, "key", self.name)

    # One element at a time

    def lookup(self, key: bytes | int) -> bytes | None:
        """The value of ``key``, or None where there is none.

        A map of sockets answers with the socket's cookie, a map of maps with the inner map's id,
        an LPM trie with the value of the longest prefix that covers the key. A per-CPU map answers
        with one value for each possible CPU, each padded to 8 bytes; :meth:`lookup_percpu` splits
        them.

        :raises ValueError: the key has another size than the map's keys.
        :raises KernelError: the map cannot be read, such as a map of sockets with ``value_size`` 4.
        """
        raw_key = self._key(key)
        value = attr.buffer(self.user_value_size)
        request = attr.MapElement(self.fd, attr.address(raw_key), addressof(value))
        try:
            bpf(Command.MAP_LOOKUP_ELEM, request)
        except OSError as error:
            if error.errno == errno.ENOENT:
                return None
            raise failure(
                error, self.operation("read"), meanings=self._lookup_meanings()
            ) from error
        return bytes(value)

    def lookup_percpu(self, key: bytes | int) -> list[bytes] | None:
        """The values of ``key`` in a per-CPU map, one for each possible CPU, in their order.

        :raises ValueError: this is not a per-CPU map.
        """
        self._require_percpu()
        value = self.lookup(key)
        return None if value is None else self._split(value)

    def update(
        self, key: bytes | int, value: bytes | int | Handle, mode: UpdateMode = UpdateMode.ANY
    ) -> None:
        """Write an entry.

        :param value: the bytes; or a file descriptor or an object that has one, for maps that hold
            sockets, maps or programs; or an integer for values of 1, 2, 4 or 8 bytes.
        :param mode: whether the key must or must not exist.
        :raises ValueError: the key or the value has another size than the map's.
        :raises CapacityError: the map is full, or the index is outside of it.
        :raises SocketRefusedError: the map does not take a socket of this kind or state.
        :raises KernelError: ``EEXIST`` or ``ENOENT`` by ``mode``.
        """
        raw_key = self._key(key)
        if not isinstance(value, bytes | int):
            value = value.fileno()
        raw_value = _sized(value, self.user_value_size, "value", self.name)
        request = attr.MapElement(self.fd, attr.address(raw_key), attr.address(raw_value), mode)
        try:
            bpf(Command.MAP_UPDATE_ELEM, request)
        except OSError as error:
            raise failure(
                error, self.operation("write to"), meanings=self.update_meanings(raw_key, raw_value)
            ) from error

    def update_percpu(
        self, key: bytes | int, values: Sequence[bytes], mode: UpdateMode = UpdateMode.ANY
    ) -> None:
        """Write the values of ``key`` in a per-CPU map, one for each possible CPU.

        :raises ValueError: this is not a per-CPU map, or the number or size of values is wrong.
        """
        self._require_percpu()
        if len(values) != possible_cpus():
            raise ValueError(f"{len(values)} values for {possible_cpus()} possible CPUs")
        stride = round_up(self.value_size)
        padded = b"".join(
            _sized(value, self.value_size, "value", self.name).ljust(stride, b"\0")
            for value in values
        )
        self.update(key, padded, mode)

    def delete(self, key: bytes | int) -> bool:
        """Remove an entry.

        :returns: whether there was one.
        :raises KernelError: entries of this map cannot be removed; an array's are zeroed instead.
        """
        raw_key = self._key(key)
        try:
            bpf(Command.MAP_DELETE_ELEM, attr.MapElement(self.fd, attr.address(raw_key)))
        except OSError as error:
            if error.errno == errno.ENOENT:
                return False
            # A sock map's empty slot is EINVAL, as is an index outside of it.
            if (
                error.errno == errno.EINVAL
                and self.type == MapType.SOCKMAP
                and int.from_bytes(raw_key, _BYTE_ORDER) < self.max_entries
            ):
                return False
            raise failure(
                error, self.operation("delete from"), meanings=self._delete_meanings()
            ) from error
        return True

    def keys(self) -> Iterator[bytes]:
        """All keys. The map may change meanwhile: what is added or removed may show up or not.

        Removing the key that was just returned is fine. A hash map in which others remove keys
        meanwhile may be walked again from its start, so that keys come twice; the kernel promises
        no more (``BPF_MAP_GET_NEXT_KEY``).
        """
        key = self._next_key(None)
        while key is not None:
            following = self._next_key(key)
            yield key
            key = following

    def _next_key(self, key: bytes | None) -> bytes | None:
        following = attr.buffer(self.key_size)
        request = attr.MapElement(
            self.fd, 0 if key is None else attr.address(key), addressof(following)
        )
        try:
            bpf(Command.MAP_GET_NEXT_KEY, request)
        except OSError as error:
            if error.errno == errno.ENOENT:
                return None
            raise failure(
                error, self.operation("walk"), since=Since("walking an LPM trie", (4, 16))
            ) from error
        return bytes(following)

    def items(self) -> Iterator[tuple[bytes, bytes]]:
        """All keys with their values; empty slots of a map of sockets or maps are left out."""
        for key in self.keys():
            value = self.lookup(key)
            if value is not None:
                yield key, value

    # Many elements at once

    def lookup_batch(self, chunk: int = 4096) -> Iterator[tuple[bytes, bytes]]:
        """All keys with their values, read many at a time where the kernel can (Linux 5.6).

        :param chunk: how many to read at once.
        """
        from .map_batches import lookup_batch

        return lookup_batch(self, chunk)

    def update_batch(self, keys: bytes, values: bytes) -> None:
        """Write many entries in one system call where the kernel can (Linux 5.6).

        :param keys: the keys, one after the other.
        :param values: their values in the same order, :attr:`user_value_size` bytes each.
        :raises ValueError: the lengths do not fit each other.
        :raises KernelError: as :meth:`update`; entries before the one that failed are written, and
            the message says how many.
        """
        from .map_batches import update_batch

        update_batch(self, keys, values)

    def delete_batch(self, keys: bytes) -> int:
        """Remove many entries in one system call where the kernel can (Linux 5.6).

        :param keys: the keys, one after the other; those that do not exist are passed over.
        :returns: how many were removed.
        """
        from .map_batches import delete_batch

        return delete_batch(self, keys)

    # The map as a whole

    def mmap(self, *, writable: bool = True) -> MapMemory:
        """Map an array that was created with ``MMAPABLE`` into memory (Linux 5.5).

        :raises KernelError: the map cannot be mapped, or is frozen and ``writable`` is asked for.
        """
        from .map_memory import MapMemory

        return MapMemory(self, writable=writable)

    def freeze(self) -> None:
        """End writing from user space, for good (Linux 5.2).

        With ``RDONLY_PROG`` programs cannot write either, and the verifier takes what the map
        holds as constants.

        :raises KernelError: ``EBUSY`` where it is mapped writable, ``EPERM`` where it is frozen.
        """
        try:
            bpf(Command.MAP_FREEZE, attr.MapElement(self.fd))
        except OSError as error:
            raise failure(
                error,
                self.operation("freeze"),
                meanings={
                    errno.EBUSY: Failure(
                        "it is mapped into memory for writing", "close the mapping first"
                    ),
                    errno.EPERM: Failure("it is frozen already, or opened read-only"),
                },
                capabilities=(Capability.CAP_BPF,),
                since=Since("freezing a map", (5, 2)),
            ) from error

    def _require_percpu(self) -> None:
        if self.type not in PER_CPU:
            raise ValueError(f"map {self.name!r} ({self.type.label}) has one value for all CPUs")

    def _split(self, value: bytes) -> list[bytes]:
        stride = round_up(self.value_size)
        return [value[at : at + self.value_size] for at in range(0, len(value), stride)]

    def _lookup_meanings(self) -> dict[int, Failure]:
        meanings: dict[int, Failure] = {errno.EPERM: _WRITE_ONLY}
        if self.type in SOCKETS:
            meanings[errno.ENOSPC] = Failure(
                "with value_size 4 its slots cannot be read", "create it with value_size 8"
            )
        return meanings

    def _delete_meanings(self) -> dict[int, Failure]:
        meanings: dict[int, Failure] = {errno.EPERM: _READ_ONLY}
        if self.type in INDEXED:
            meanings[errno.EINVAL] = Failure(
                "an array's elements cannot be removed, only overwritten"
                if self.type in (MapType.ARRAY, MapType.PERCPU_ARRAY)
                else f"the index is outside of the map's {self.max_entries} entries"
            )
            meanings[errno.E2BIG] = self._out_of_range()
        return meanings

    def _out_of_range(self) -> Failure:
        return Failure(
            f"the index is outside of the map's {self.max_entries} entries",
            f"use an index from 0 to {self.max_entries - 1}",
            CapacityError,
        )

    def update_meanings(self, key: bytes, value: bytes) -> dict[int, Failure]:
        """What the errnos of writing an entry mean, for messages."""
        meanings: dict[int, Failure] = {
            errno.EPERM: _READ_ONLY,
            errno.EEXIST: Failure("the key exists"),
            errno.ENOENT: Failure("the key does not exist"),
        }
        full = Failure(
            f"the map is full: it has room for {self.max_entries} entries",
            "delete entries, or create it with more max_entries",
            CapacityError,
        )
        if self.type in INDEXED:
            meanings[errno.E2BIG] = self._out_of_range()
        else:
            meanings[errno.E2BIG] = full
        if self.type == MapType.ARRAY:
            meanings[errno.EEXIST] = Failure("every element of an array exists")
        if self.type == MapType.LPM_TRIE:
            meanings[errno.ENOSPC] = full
            meanings[errno.EINVAL] = Failure(
                f"the prefix length is more than the {(self.key_size - 4) * 8} bits of a key"
            )
        if self.type in SOCKETS:
            meanings.update(_socket_meanings(self.type))
            fd = int.from_bytes(value, _BYTE_ORDER)
            meanings[errno.EBADF] = Failure(f"{fd} is not an open file descriptor")
            meanings[errno.ENOTSOCK] = Failure(
                f"file descriptor {fd} is not a socket", None, SocketRefusedError
            )
        if self.type in MAPS_OF_MAPS:
            meanings[errno.EBADF] = Failure("the value is not an open file descriptor")
            meanings[errno.EINVAL] = Failure(
                "the inner map differs in type, sizes or flags from what was given at creation",
                "an inner array of another max_entries needs INNER_MAP in its flags",
            )
        return meanings


def map_ids() -> Iterator[int]:
    """The ids of all maps of the system.

    :raises PrivilegeError: without CAP_SYS_ADMIN.
    """
    return next_ids(Command.MAP_GET_NEXT_ID, "map")


def round_up(value_size: int) -> int:
    """Bytes from one value of an array or a per-CPU map to the next: a multiple of 8."""
    return (value_size + 7) & ~7


_READ_ONLY: Final = Failure("the map is read-only for user space: frozen, or opened so")
_WRITE_ONLY: Final = Failure("the map is write-only for user space")


def _socket_meanings(type: MapType) -> dict[int, Failure]:
    if type == MapType.REUSEPORT_SOCKARRAY:
        return {
            errno.EINVAL: Failure(
                "the socket is not a listening TCP or bound UDP socket with SO_REUSEPORT",
                "set SO_REUSEPORT before bind(), and listen() before adding it",
                SocketRefusedError,
            ),
            errno.EBUSY: Failure(
                "the socket is in another socket array or sock map already",
                None,
                SocketRefusedError,
            ),
            ENOTSUPP: Failure(
                "the socket is neither TCP nor UDP over IPv4 or IPv6", None, SocketRefusedError
            ),
        }
    return {
        errno.EOPNOTSUPP: Failure(
            "the socket is of a kind or in a state that a sock map does not take",
            "it takes TCP sockets that listen or are connected, and UDP sockets that are bound",
            SocketRefusedError,
        ),
        errno.EBUSY: Failure(
            "the socket is used by another BPF facility, such as a reuseport array",
            None,
            SocketRefusedError,
        ),
    }


def _inner_fd(type: MapType, inner: Map | None) -> int:
    if inner is not None:
        return inner.fd
    # 0 would be a descriptor that may be open: standard input.
    return 0xFFFFFFFF if type in MAPS_OF_MAPS else 0


def _create_meanings(request: attr.MapCreate) -> dict[int, Failure]:
    type = MapType(request.map_type)
    sizes = (
        f"key_size={request.key_size} value_size={request.value_size} "
        f"max_entries={request.max_entries} flags={request.map_flags:#x}"
    )
    meanings = {
        errno.EINVAL: Failure(f"the kernel refuses {sizes}", _CREATE_HINTS.get(type)),
        errno.E2BIG: Failure(f"too large: {sizes}", None, CapacityError),
        ENOTSUPP: Failure("the kernel does not support this combination", None, UnsupportedError),
    }
    if type in MAPS_OF_MAPS:
        meanings[errno.EBADF] = Failure("a map of maps needs an inner map to go by")
    return meanings


_CREATE_HINTS: Final[Mapping[MapType, str]] = {
    MapType.ARRAY: "an array has key_size 4 and at least one entry",
    MapType.PERCPU_ARRAY: "an array has key_size 4 and at least one entry",
    MapType.LPM_TRIE: "an LPM trie has a key of 5 to 260 bytes, and needs the flag NO_PREALLOC",
    MapType.SOCKMAP: "a sock map has key_size 4 and value_size 4 or 8",
    MapType.SOCKHASH: "a sock hash has value_size 4 or 8",
    MapType.REUSEPORT_SOCKARRAY: "a reuseport array has key_size 4 and value_size 4 or 8",
    MapType.RINGBUF: "a ring buffer has key_size 0 and value_size 0, and max_entries bytes: "
    "a power of two and a multiple of the page size",
    MapType.ARRAY_OF_MAPS: "a map of maps has value_size 4",
    MapType.HASH_OF_MAPS: "a map of maps has value_size 4",
}


def _sized(data: bytes | int, size: int, what: str, name: str) -> bytes:
    if isinstance(data, int):
        if size not in (1, 2, 4, 8):
            raise ValueError(f"a {what} of map {name!r} has {size} bytes: an int does not fit")
        try:
            return data.to_bytes(size, _BYTE_ORDER)
        except OverflowError:
            raise ValueError(
                f"{data} does not fit in the {size} bytes of a {what} of map {name!r}"
            ) from None
    if len(data) != size:
        raise ValueError(f"a {what} of map {name!r} has {size} bytes, not {len(data)}")
    return data
