"""Keys of hash maps and LPM tries: how numbers and addresses lie in the kernel's memory.

An integer takes 8 bytes in the machine's byte order. An address takes 24: the IP version as an
integer, then 16 bytes in network byte order, of which IPv4 fills the first 4. So no IPv4 address
equals an IPv6 address, as in Python.
"""

from __future__ import annotations

import struct
import sys
from dataclasses import dataclass
from ipaddress import (
    IPv4Address,
    IPv4Network,
    IPv6Address,
    IPv6Network,
)
from typing import Final, Literal, TypeAlias

from ...errors import InetLookupError
from ..context import Address, unscoped_address

KeyPart: TypeAlias = int | Address
Key: TypeAlias = KeyPart | tuple[KeyPart, ...]
PartKind: TypeAlias = Literal["int", "address"]

PART_SIZE: Final[dict[PartKind, int]] = {"int": 8, "address": 24}

LPM_KEY_SIZE: Final = 4 + 4 + 16
LPM_VERSION_BITS: Final = 32


@dataclass(frozen=True, slots=True)
class KeySpec:
    """The shape of a hash map's keys.

    :ivar parts: the kind of each part, in order.
    :ivar single: whether a key is written bare rather than as a tuple.
    """

    parts: tuple[PartKind, ...]
    single: bool

    @classmethod
    def of(cls, declared: object) -> KeySpec:
        """Return the shape for what a map was declared with: ``int``, ``Address`` or a tuple."""
        items = declared if isinstance(declared, tuple) else (declared,)
        parts: list[PartKind] = []
        for item in items:
            if item is int:
                parts.append("int")
            elif item == Address:
                parts.append("address")
            else:
                raise InetLookupError(
                    f"{item!r} cannot be part of a key",
                    hint="use int, Address, or a tuple of these",
                )
        if not 1 <= len(parts) <= 8:
            raise InetLookupError(f"a key has 1 to 8 parts, not {len(parts)}")
        return cls(tuple(parts), not isinstance(declared, tuple))

    @property
    def size(self) -> int:
        """The size of a key in bytes."""
        return sum(PART_SIZE[part] for part in self.parts)

    def normalize(self, key: object) -> tuple[KeyPart, ...]:
        """Return a key as a tuple of its parts.

        :raises InetLookupError: it is of another shape, or an integer does not fit in 64 bits.
        """
        items = (key,) if self.single else key
        if not isinstance(items, tuple) or len(items) != len(self.parts):
            raise InetLookupError(f"{key!r} is not a key of {len(self.parts)} parts")
        parts: list[KeyPart] = []
        for kind, item in zip(self.parts, items, strict=True):
            if kind == "int":
                if not isinstance(item, int) or not 0 <= item < 2**64:
                    raise InetLookupError(f"{item!r} in a key is not an integer of 0 to 2**64 - 1")
                parts.append(int(item))
            else:
                parts.append(address_of(item))
        return tuple(parts)

    def pack(self, parts: tuple[KeyPart, ...]) -> bytes:
        """Return normalized parts as the kernel has them."""
        return b"".join(
            part.to_bytes(8, sys.byteorder)
            if isinstance(part, int)
            else struct.pack("=Q16s", part.version, part.packed)
            for part in parts
        )

    def unpack(self, raw: bytes) -> Key:
        """Return the key that the kernel holds as ``raw``."""
        parts: list[KeyPart] = []
        for kind in self.parts:
            if kind == "int":
                parts.append(int.from_bytes(raw[:8], sys.byteorder))
            else:
                (version,) = struct.unpack_from("=Q", raw)
                parts.append(IPv4Address(raw[8:12]) if version == 4 else IPv6Address(raw[8:24]))
            raw = raw[PART_SIZE[kind] :]
        return parts[0] if self.single else tuple(parts)


def address_of(item: object) -> Address:
    """Return an address in a key.

    :raises InetLookupError: it is no address, or one that no packet has.
    """
    try:
        return unscoped_address(item)
    except ValueError:
        raise InetLookupError(
            f"{item!r} in a key is not an IPv4 or IPv6 address",
            hint="write it without a prefix length and without a scope",
        ) from None


def pack_network(network: IPv4Network | IPv6Network, scope: int | None = None) -> bytes:
    """Return a network as the key of an LPM trie; scope and IP version lead its prefix.

    :param scope: the number that keys of a scoped trie begin with, None for another trie.
    """
    head = b"" if scope is None else struct.pack("=I", scope)
    bits = LPM_VERSION_BITS + 8 * len(head)
    packed = network.network_address.packed
    return (
        struct.pack("=I", bits + network.prefixlen)
        + head
        + struct.pack("=I16s", network.version, packed)
    )


def unpack_network(raw: bytes) -> tuple[int | None, IPv4Network | IPv6Network]:
    """Return the scope and the network that the kernel holds as ``raw``."""
    (bits,) = struct.unpack_from("=I", raw)
    head = raw[4:-20]
    scope = struct.unpack("=I", head)[0] if head else None
    version, packed = struct.unpack("=I16s", raw[-20:])
    length = bits - LPM_VERSION_BITS - 8 * len(head)
    if version == 4:
        return scope, IPv4Network((packed[:4], length))
    return scope, IPv6Network((packed, length))
