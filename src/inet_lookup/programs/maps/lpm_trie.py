"""Longest-prefix matches: networks to numbers."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network
from typing import TYPE_CHECKING, TypeAlias, overload

from ...errors import CapacityError, InetLookupError
from ..context import Address
from .base import U64_MAX, ProgramMap, check_value
from .keys import LPM_KEY_SIZE, pack_network, unpack_network

if TYPE_CHECKING:
    from ...bpf import Map, MapType

Network: TypeAlias = IPv4Network | IPv6Network


class LpmTrie(ProgramMap):
    """IPv4 and IPv6 networks to 64-bit unsigned integers (``BPF_MAP_TYPE_LPM_TRIE``).

    An address finds the value of the longest prefix that holds it. In a program:
    ``t.get(address)`` (an integer or None), ``t.get(address, default)``, ``address in t`` and
    ``t.add(address, n)``, which adds to the value found. Networks are written from Python::

        TENANTS = LpmTrie(1000)
        TENANTS["192.0.2.0/24"] = 7

    :param max_entries: how many networks it holds at most.
    """

    def __init__(self, max_entries: int) -> None:
        super().__init__(max_entries, key_size=LPM_KEY_SIZE, value_size=8)
        self._local: dict[Network, int] = {}

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
        for network, value in self._local.items():
            kernel.update(pack_network(network), struct.pack("=Q", value))

    @overload
    def get(self, address: Address | str) -> int | None: ...
    @overload
    def get(self, address: Address | str, default: int) -> int: ...
    def get(self, address: Address | str, default: int | None = None) -> int | None:
        """Return the value of the longest prefix that holds an address, or ``default``."""
        address = _address(address)
        if self._kernel is not None:
            raw = self._kernel.lookup(pack_network(ip_network(address)))
            return default if raw is None else int(struct.unpack("=Q", raw)[0])
        found = self._find(address)
        return default if found is None else found[1]

    def add(self, address: Address | str, amount: int = 1) -> bool:
        """Add to the value of the longest prefix that holds an address, modulo 2**64.

        Atomic in a program; from Python a read and a write, which may lose a program's addition.

        :return: False where no prefix holds the address.
        """
        amount = check_value(amount)
        found = self._find(_address(address))
        if found is None:
            return False
        self[found[0]] = (found[1] + amount) & U64_MAX
        return True

    def __contains__(self, address: Address | str) -> bool:
        return self.get(address) is not None

    def __getitem__(self, network: Network | str) -> int:
        """Return the value of just this network, not of one that holds it.

        :raises KeyError: the network is missing.
        """
        for candidate, value in self.items():
            if candidate == _network(network):
                return value
        raise KeyError(network)

    def __setitem__(self, network: Network | str, value: int) -> None:
        """Write a network's value.

        :raises InetLookupError: it is not a network, or the value exceeds 64 bits.
        :raises CapacityError: the network is new and the trie is full.
        """
        key = _network(network)
        value = check_value(value)
        if self._kernel is not None:
            self._kernel.update(pack_network(key), struct.pack("=Q", value))
            return
        if key not in self._local and len(self._local) >= self.max_entries:
            import errno

            raise CapacityError(
                f"write {key} to an LPM trie",
                errno.ENOSPC,
                f"it holds {self.max_entries} networks already",
                hint="declare it with a larger max_entries",
            )
        self._local[key] = value

    def __delitem__(self, network: Network | str) -> None:
        """Remove a network.

        :raises KeyError: it is missing.
        """
        key = _network(network)
        if self._kernel is None:
            del self._local[key]
        elif not self._kernel.delete(pack_network(key)):
            raise KeyError(network)

    def items(self) -> Iterator[tuple[Network, int]]:
        """Iterate over the networks and their values."""
        if self._kernel is None:
            return iter(list(self._local.items()))
        return (
            (unpack_network(key), int(struct.unpack("=Q", value)[0]))
            for key, value in self._kernel.items()
        )

    def __iter__(self) -> Iterator[Network]:
        return (network for network, _ in self.items())

    def __len__(self) -> int:
        return sum(1 for _ in self.items())

    def _find(self, address: Address) -> tuple[Network, int] | None:
        best: tuple[Network, int] | None = None
        for network, value in self.items():
            if address in network and (best is None or network.prefixlen > best[0].prefixlen):
                best = (network, value)
        return best


def _address(address: Address | str) -> Address:
    if isinstance(address, IPv4Address | IPv6Address):
        return address
    try:
        return ip_address(address)
    except ValueError:
        raise InetLookupError(f"{address!r} is not an IPv4 or IPv6 address") from None


def _network(network: Network | str) -> Network:
    try:
        return ip_network(network)
    except ValueError as error:
        raise InetLookupError(
            f"{network!r} is not a network: {error}",
            hint="write it as address/prefix length, with the host bits zero",
        ) from None
