"""Longest-prefix matches: networks to numbers."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from ipaddress import IPv4Network, IPv6Network, ip_network
from typing import TYPE_CHECKING, TypeAlias, overload

from ...errors import CapacityError, InetLookupError
from ..context import Address
from ..network_set import network_of
from .base import U64_MAX, ProgramMap, check_value
from .keys import LPM_KEY_SIZE, address_of, pack_network, unpack_network

if TYPE_CHECKING:
    from ...bpf import Map, MapType

Network: TypeAlias = IPv4Network | IPv6Network


TrieKey: TypeAlias = Address | str | tuple[int, Address | str]
NetworkKey: TypeAlias = Network | str | tuple[int, Network | str]


class LpmTrie(ProgramMap):
    """IPv4 and IPv6 networks to 64-bit unsigned integers (``BPF_MAP_TYPE_LPM_TRIE``).

    An address finds the value of the longest prefix that holds it. In a program:
    ``t.get(address)`` (an integer or None), ``t.get(address, default)``, ``address in t`` and
    ``t.add(address, n)``, which adds to the value found. Networks are written from Python::

        TENANTS = LpmTrie(1000)
        TENANTS["192.0.2.0/24"] = 7

    With ``key=(int, Address)`` it is many tries in one: a key is a number of 32 bits and an address
    or network, and an address finds only prefixes under the same number.

    :param max_entries: how many networks it holds at most.
    :param key: ``Address`` or ``(int, Address)``.
    """

    def __init__(self, max_entries: int, key: object = Address) -> None:
        if key not in (Address, (int, Address)):
            raise InetLookupError(
                f"{key!r} is not the key of an LpmTrie", hint="use Address or (int, Address)"
            )
        self.scoped = isinstance(key, tuple)
        size = LPM_KEY_SIZE + (4 if self.scoped else 0)
        super().__init__(max_entries, key_size=size, value_size=8)
        self._local: dict[tuple[int | None, Network], int] = {}

    @property
    def type(self) -> MapType:
        """``BPF_MAP_TYPE_LPM_TRIE``."""
        from ...bpf import MapType

        return MapType.LPM_TRIE

    @property
    def no_prealloc(self) -> bool:
        """True: the kernel allocates the nodes of a trie as they come."""
        return True

    def fill(self, kernel: Map) -> None:
        """Write the declared networks to the kernel map."""
        for (scope, network), value in self._local.items():
            kernel.update(pack_network(network, scope), struct.pack("=Q", value))

    @overload
    def get(self, key: TrieKey) -> int | None: ...
    @overload
    def get(self, key: TrieKey, default: int) -> int: ...
    def get(self, key: TrieKey, default: int | None = None) -> int | None:
        """Return the value of the longest prefix that holds an address, or ``default``."""
        scope, text = self._split(key)
        address = address_of(text)
        if self._kernel is not None:
            raw = self._kernel.lookup(pack_network(ip_network(address), scope))
            return default if raw is None else int(struct.unpack("=Q", raw)[0])
        found = self._find(scope, address)
        return default if found is None else self._local[scope, found]

    def add(self, key: TrieKey, amount: int = 1) -> bool:
        """Add to the value of the longest prefix that holds an address, modulo 2**64.

        Atomic in a program; from Python a read and a write, which may lose a program's addition.

        :return: False where no prefix holds the address.
        """
        amount = check_value(amount)
        scope, text = self._split(key)
        address = address_of(text)
        found = self._find(scope, address)
        if found is None:
            return False
        value = self.get(key, 0)
        self._write(scope, found, (value + amount) & U64_MAX)
        return True

    def __contains__(self, key: TrieKey) -> bool:
        return self.get(key) is not None

    def __getitem__(self, key: NetworkKey) -> int:
        """Return the value of just this network, not of one that holds it.

        :raises KeyError: the network is missing.
        """
        scope, text = self._split(key)
        wanted = (scope, network_of(text))
        for candidate, value in self._entries():
            if candidate == wanted:
                return value
        raise KeyError(key)

    def __setitem__(self, key: NetworkKey, value: int) -> None:
        """Write a network's value.

        :raises InetLookupError: it is not a network, or the value exceeds 64 bits.
        :raises CapacityError: the network is new and the trie is full.
        """
        scope, text = self._split(key)
        self._write(scope, network_of(text), check_value(value))

    def __delitem__(self, key: NetworkKey) -> None:
        """Remove a network.

        :raises KeyError: it is missing.
        """
        scope, text = self._split(key)
        network = network_of(text)
        if self._kernel is None:
            del self._local[scope, network]
        elif not self._kernel.delete(pack_network(network, scope)):
            raise KeyError(key)

    def items(self) -> Iterator[tuple[Network | tuple[int, Network], int]]:
        """Iterate over the networks (with their numbers, in a scoped trie) and their values."""
        for (scope, network), value in self._entries():
            yield (network if scope is None else (scope, network)), value

    def __iter__(self) -> Iterator[Network | tuple[int, Network]]:
        return (key for key, _ in self.items())

    def __len__(self) -> int:
        return sum(1 for _ in self._entries())

    def _split(self, key: object) -> tuple[int | None, object]:
        if not self.scoped:
            return None, key
        if (
            not isinstance(key, tuple)
            or len(key) != 2
            or not isinstance(key[0], int)
            or not 0 <= key[0] < 2**32
        ):
            raise InetLookupError(
                f"{key!r} is not a key of this trie", hint="write (number, address)"
            )
        return int(key[0]), key[1]

    def _entries(self) -> Iterator[tuple[tuple[int | None, Network], int]]:
        if self._kernel is None:
            return iter(list(self._local.items()))
        return (
            (unpack_network(key), int(struct.unpack("=Q", value)[0]))
            for key, value in self._kernel.items()
        )

    def _find(self, scope: int | None, address: Address) -> Network | None:
        holding = [
            network
            for (number, network), _ in self._entries()
            if number == scope and address in network
        ]
        return max(holding, key=lambda network: network.prefixlen, default=None)

    def _write(self, scope: int | None, network: Network, value: int) -> None:
        if self._kernel is not None:
            self._kernel.update(pack_network(network, scope), struct.pack("=Q", value))
            return
        new = (scope, network) not in self._local
        if new and 0 < self.max_entries <= len(self._local):
            import errno

            raise CapacityError(
                f"write {network} to an LPM trie",
                errno.ENOSPC,
                f"it holds {self.max_entries} networks already",
                hint="declare it with a larger max_entries",
            )
        self._local[scope, network] = value
