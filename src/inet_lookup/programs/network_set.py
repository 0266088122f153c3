"""Sets of networks that an address can be looked up in."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable, Iterator
from ipaddress import IPv4Network, IPv6Network, ip_network

from ..errors import InetLookupError
from .context import Address


class NetworkSet:
    """An immutable set of IPv4 and IPv6 networks; ``address in networks`` asks if any holds it.

    Python's own sets compare by equality, so an address is never in a set of networks; this class
    is what to use instead. A program that is compiled searches it in a number of steps that grows
    with the logarithm of the number of networks.

    ::

        OFFICES = NetworkSet("192.0.2.0/25", "2001:db8::/48")
        ...
        if ctx.remote_ip in OFFICES:

    :param networks: networks as objects or as text; host bits must be zero.
    :raises InetLookupError: one of them is not a network.
    """

    __slots__ = ("_intervals", "_networks")

    def __init__(self, *networks: str | IPv4Network | IPv6Network) -> None:
        parsed = [network_of(network) for network in networks]
        self._networks = frozenset(parsed)
        self._intervals = {
            version: _merge(
                (int(n.network_address), int(n.broadcast_address))
                for n in parsed
                if n.version == version
            )
            for version in (4, 6)
        }

    def intervals(self, version: int) -> tuple[tuple[int, int], ...]:
        """Return the addresses of one IP version as sorted, disjoint (first, last) pairs."""
        return self._intervals[version]

    def __contains__(self, address: Address) -> bool:
        intervals = self._intervals[address.version]
        number = int(address)
        place = bisect_right(intervals, (number, 2**128))
        return place > 0 and number <= intervals[place - 1][1]

    def __iter__(self) -> Iterator[IPv4Network | IPv6Network]:
        return iter(
            sorted(self._networks, key=lambda n: (n.version, n.network_address, n.prefixlen))
        )

    def __len__(self) -> int:
        return len(self._networks)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, NetworkSet) and self._networks == other._networks

    def __hash__(self) -> int:
        return hash(self._networks)

    def __repr__(self) -> str:
        return f"NetworkSet({', '.join(repr(str(network)) for network in self)})"


def network_of(item: object) -> IPv4Network | IPv6Network:
    """Return a network that packets' addresses can be in.

    :param item: a network or its text.
    :raises InetLookupError: it is none, has host bits, or a scope (``fe80::%eth0/64``).
    """
    try:
        network = ip_network(str(item))
    except ValueError as error:
        raise InetLookupError(
            f"{item!r} is not a network: {error}",
            hint="write it as address/prefix length, with the host bits zero",
        ) from None
    if isinstance(network, IPv6Network) and network.network_address.scope_id is not None:
        raise InetLookupError(
            f"{item!r} has a scope, which no packet's address has", hint="write it without"
        )
    return network


def _merge(pairs: Iterable[tuple[int, int]]) -> tuple[tuple[int, int], ...]:
    merged: list[tuple[int, int]] = []
    for lo, hi in sorted(pairs):
        if merged and lo <= merged[-1][1] + 1:
            merged[-1] = (merged[-1][0], max(hi, merged[-1][1]))
        else:
            merged.append((lo, hi))
    return tuple(merged)
