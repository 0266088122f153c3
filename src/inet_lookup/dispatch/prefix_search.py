"""Longest prefixes by binary search over prefix lengths.

Each prefix is an entry of a hash table under its length. So that the search can be told to try
longer lengths, every prefix leaves markers under the lengths that the search visits on the way to
its own; a marker knows the longest prefix that holds it, so that the search never turns back.
Source: Waldvogel, Varghese, Turner and Plattner, "Scalable High Speed IP Routing Lookups",
SIGCOMM 1997.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from ..rules import Family, Prefix

_HALF = (1 << 64) - 1


@dataclass(frozen=True, slots=True)
class PrefixSearch:
    """The search structure of one address family.

    :ivar lengths: the prefix lengths in use, ascending, without 0.
    :ivar root: the node of the prefix of length 0, or 0.
    :ivar entries: (length, address) to the node that a search has found there.
    """

    family: Family
    lengths: tuple[int, ...]
    root: int
    entries: Mapping[tuple[int, int], int]


def build(family: Family, nodes: Mapping[Prefix, int]) -> PrefixSearch:
    """Return the search structure for prefixes with the number of their nodes.

    :param nodes: the prefixes of this family; numbers are positive.
    """
    root = nodes.get(Prefix(family, 0, 0), 0)
    lengths = tuple(sorted({prefix.length for prefix in nodes if prefix.length}))
    paths = {length: _visited(lengths, position) for position, length in enumerate(lengths)}
    entries: dict[tuple[int, int], int] = {}
    # Shorter prefixes first: the node of a marker is that of the last prefix that covers it.
    markers: set[tuple[int, int]] = set()
    for prefix in nodes:
        for length in paths.get(prefix.length, ()):
            markers.add((length, _masked(family, prefix.address, length)))
    real = {(prefix.length, prefix.address): node for prefix, node in nodes.items()}
    for length, address in sorted(markers):
        entries[length, address] = _longest(family, real, lengths, length, address) or root
    for key, node in real.items():
        if key[0]:
            entries[key] = node
    return PrefixSearch(family, lengths, root, entries)


def halves(family: Family, address: int) -> tuple[int, int]:
    """Return an address as the dispatcher has it: two numbers of 64 bits, IPv4 in the upper 32."""
    if family is Family.IPV4:
        return address << 32, 0
    return address >> 64, address & _HALF


def masks() -> tuple[list[int], list[int]]:
    """Return the masks of both halves of an address, by prefix length."""
    wanted = [((1 << length) - 1) << (128 - length) for length in range(129)]
    return [mask >> 64 for mask in wanted], [mask & _HALF for mask in wanted]


def _visited(lengths: tuple[int, ...], target: int) -> list[int]:
    """Return the shorter lengths that the binary search visits before the target's."""
    first, behind = 0, len(lengths)
    seen = []
    while first < behind:
        middle = (first + behind) >> 1
        if middle == target:
            break
        if middle < target:
            seen.append(lengths[middle])
            first = middle + 1
        else:
            behind = middle
    return seen


def _longest(
    family: Family,
    real: Mapping[tuple[int, int], int],
    lengths: tuple[int, ...],
    limit: int,
    address: int,
) -> int:
    for length in reversed(lengths):
        if length <= limit:
            node = real.get((length, _masked(family, address, length)))
            if node is not None:
                return node
    return 0


def _masked(family: Family, address: int, length: int) -> int:
    host_bits = family.bits - length
    return address >> host_bits << host_bits
