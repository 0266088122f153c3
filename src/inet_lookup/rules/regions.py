"""Sets of packets, written for people: prefixes with exceptions, ports, sources, interfaces.

Addresses and ports are computed with as runs of integers, which makes every set operation a walk
over sorted pairs; prefixes are made of them at the end.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable
from dataclasses import dataclass
from typing import NamedTuple

from .packet import Packet
from .ports import Ports
from .prefix import Family, Prefix, everything
from .rule import Protocol

Runs = tuple[tuple[int, int], ...]
"""A set of integers: its runs, both ends included, ascending, no two of them touching."""


def union_of_runs(runs: Iterable[tuple[int, int]]) -> Runs:
    """Return the integers that are in any of these runs, which may overlap."""
    joined: list[tuple[int, int]] = []
    for low, high in sorted(runs):
        if joined and low <= joined[-1][1] + 1:
            joined[-1] = (joined[-1][0], max(joined[-1][1], high))
        else:
            joined.append((low, high))
    return tuple(joined)


def without(low: int, high: int, holes: Iterable[tuple[int, int]]) -> Runs:
    """Return the integers from low to high that are in none of the holes.

    :param holes: runs within low to high, ascending and apart.
    """
    left = []
    for first, last in holes:
        if low < first:
            left.append((low, first - 1))
        low = last + 1
    if low <= high:
        left.append((low, high))
    return tuple(left)


@dataclass(frozen=True, slots=True)
class Block:
    """A prefix without some of the prefixes in it.

    :param prefix: the prefix.
    :param excluding: what of it is left out, ascending.
    """

    prefix: Prefix
    excluding: tuple[Prefix, ...] = ()

    def holds(self, family: int, address: int) -> bool:
        """Whether an address is in it."""
        return self.prefix.holds(family, address) and not any(
            hole.holds(family, address) for hole in self.excluding
        )

    def __str__(self) -> str:
        if not self.excluding:
            return str(self.prefix)
        return f"{self.prefix} except {', '.join(map(str, self.excluding))}"


class _Cover(NamedTuple):
    """The least number of prefixes that write a set of addresses within a prefix.

    What a prefix says holds for all of it that no longer prefix says otherwise for, as in a routing
    table. This is the two-colour case of Draves et al., "Constructing Optimal IP Routing Tables"
    (INFOCOM 1999).
    """

    cost: int
    says: tuple[bool, Prefix] | None = None
    halves: tuple[_Cover, _Cover] | None = None


_NOTHING_TO_SAY = _Cover(0)


def blocks_of(family: Family, runs: Runs) -> tuple[Block, ...]:
    """Write a set of addresses as few prefixes and exceptions, disjoint and ascending."""
    if not runs:
        return ()
    low, high = runs[0][0], runs[-1][1]
    around = Prefix.around(family, low, family.bits - (low ^ high).bit_length())
    cover, _ = _covers(around, runs)
    # Each block with the exceptions found so far, in the order in which they are met.
    found: list[tuple[Prefix, list[Prefix]]] = []
    pending: list[tuple[_Cover, int]] = [(cover, -1)]
    while pending:
        cover, block = pending.pop()
        if cover.says is not None:
            inside, prefix = cover.says
            if inside:
                found.append((prefix, []))
                block = len(found) - 1
            else:
                found[block][1].append(prefix)
        if cover.halves is not None:
            pending += [(cover.halves[1], block), (cover.halves[0], block)]
    return tuple(Block(prefix, tuple(excluding)) for prefix, excluding in found)


def _covers(prefix: Prefix, runs: Runs) -> tuple[_Cover, _Cover]:
    """Return how to write a set where the default is not to be in it, and where it is to be.

    :param prefix: where; the runs lie within it.
    """
    if not runs:
        return _NOTHING_TO_SAY, _Cover(1, (False, prefix))
    if runs == ((prefix.address, prefix.last),):
        return _Cover(1, (True, prefix)), _NOTHING_TO_SAY
    middle = prefix.address + (prefix.last - prefix.address + 1) // 2
    at = bisect_right(runs, (middle,))
    below, above = runs[:at], runs[at:]
    if below and below[-1][1] >= middle:
        first, last = below[-1]
        below = (*below[:-1], (first, middle - 1))
        above = ((middle, last), *above)
    length = prefix.length + 1
    left_out, left_in = _covers(Prefix(prefix.family, prefix.address, length), below)
    right_out, right_in = _covers(Prefix(prefix.family, middle, length), above)
    as_out = _Cover(left_out.cost + right_out.cost, None, (left_out, right_out))
    as_in = _Cover(left_in.cost + right_in.cost, None, (left_in, right_in))
    if as_in.cost + 1 < as_out.cost:
        as_out = _Cover(as_in.cost + 1, (True, prefix), as_in.halves)
    elif as_out.cost + 1 < as_in.cost:
        as_in = _Cover(as_out.cost + 1, (False, prefix), as_out.halves)
    return as_out, as_in


@dataclass(frozen=True, slots=True)
class Interfaces:
    """A set of interfaces: some by name, or all except some.

    :param names: the names, sorted.
    :param excluded: whether the set is all interfaces except these.
    """

    names: tuple[str, ...] = ()
    excluded: bool = True

    def holds(self, name: str | None) -> bool:
        """Whether an interface is in it; None is one that no rule names."""
        return (name in self.names) != self.excluded

    def __str__(self) -> str:
        if not self.names:
            return "any" if self.excluded else "none"
        return ("any except " if self.excluded else "") + ", ".join(self.names)


ANY_INTERFACE = Interfaces()


def union_of_interfaces(sets: Iterable[Interfaces]) -> Interfaces:
    """Return the interfaces that are in any of these sets."""
    inside: set[str] = set()
    outside: set[str] | None = None
    for one in sets:
        if not one.excluded:
            inside.update(one.names)
        else:
            outside = set(one.names) if outside is None else outside & set(one.names)
    if outside is None:
        return Interfaces(tuple(sorted(inside)), excluded=False)
    return Interfaces(tuple(sorted(outside - inside)))


@dataclass(frozen=True, slots=True)
class Region:
    """A set of packets: those that are in all of its parts.

    :param protocol: the protocol.
    :param family: the address family.
    :param addresses: the destination addresses: in any of these blocks.
    :param ports: the destination ports: in any of these, ascending and apart.
    :param sources: the source addresses: in any of these blocks.
    :param interfaces: the interfaces.
    """

    protocol: Protocol
    family: Family
    addresses: tuple[Block, ...]
    ports: tuple[Ports, ...]
    sources: tuple[Block, ...]
    interfaces: Interfaces

    def holds(self, packet: Packet) -> bool:
        """Whether a packet is in it."""
        family = packet.family
        return (
            self.protocol == packet.protocol
            and self.family == family
            and any(ports.holds(packet.local_port) for ports in self.ports)
            and any(block.holds(family, packet.local_ip) for block in self.addresses)
            and any(block.holds(family, packet.remote_ip) for block in self.sources)
            and self.interfaces.holds(packet.interface)
        )

    def __str__(self) -> str:
        addresses = "; ".join(map(str, self.addresses))
        text = f"{self.protocol} {addresses} port {','.join(map(str, self.ports))}"
        if self.sources != (Block(everything(self.family)),):
            text += f" from {'; '.join(map(str, self.sources))}"
        if self.interfaces != ANY_INTERFACE:
            text += f" on {self.interfaces}"
        return text
