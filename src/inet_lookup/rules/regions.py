"""Sets of packets, written for people: prefixes with exceptions, ports, sources, interfaces.

Addresses and ports are computed with as runs of integers, which makes every set operation a walk
over sorted pairs; prefixes are made of them at the end.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable, Sequence
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


def runs_less(runs: Iterable[tuple[int, int]], holes: Sequence[tuple[int, int]]) -> Runs:
    """Return the integers that are in one of the runs and in none of the holes.

    :param runs: ascending and apart.
    :param holes: ascending and apart.
    """
    left = []
    at = 0
    for low, high in runs:
        while at < len(holes) and holes[at][1] < low:
            at += 1
        hole = at
        while hole < len(holes) and holes[hole][0] <= high:
            if low < holes[hole][0]:
                left.append((low, holes[hole][0] - 1))
            low = holes[hole][1] + 1
            hole += 1
        if low <= high:
            left.append((low, high))
    return tuple(left)


def runs_within(runs: Runs, low: int, high: int) -> Runs:
    """Return the integers of a set that are from low to high."""
    at = bisect_left(runs, low, key=lambda run: run[1])
    part = []
    while at < len(runs) and runs[at][0] <= high:
        part.append((max(runs[at][0], low), min(runs[at][1], high)))
        at += 1
    return tuple(part)


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

    :param cost: how many prefixes say something.
    :param says: whether this prefix is in the set, its lowest address, and its number of host bits;
        None where it leaves that to what is around it.
    :param parts: the covers of what is in it.
    """

    cost: int
    says: tuple[bool, int, int] | None = None
    parts: tuple[_Cover, ...] = ()


_NOTHING_TO_SAY = _Cover(0)


def blocks_of(family: Family, runs: Runs) -> tuple[Block, ...]:
    """Write a set of addresses as few prefixes and exceptions, disjoint and ascending."""
    if not runs:
        return ()
    low, high = runs[0][0], runs[-1][1]
    host_bits = (low ^ high).bit_length()
    cover, _ = _covers(low >> host_bits << host_bits, host_bits, runs)
    # Each block with the exceptions found so far, in the order in which they are met.
    found: list[tuple[Prefix, list[Prefix]]] = []
    pending: list[tuple[_Cover, int]] = [(cover, -1)]
    while pending:
        cover, block = pending.pop()
        if cover.says is not None:
            inside, low, host_bits = cover.says
            prefix = Prefix(family, low, family.bits - host_bits)
            if inside:
                found.append((prefix, []))
                block = len(found) - 1
            else:
                found[block][1].append(prefix)
        pending += [(part, block) for part in reversed(cover.parts)]
    return tuple(Block(prefix, tuple(excluding)) for prefix, excluding in found)


def _covers(low: int, host_bits: int, runs: Runs) -> tuple[_Cover, _Cover]:
    """Return how to write a set where the default is not to be in it, and where it is to be.

    :param low: the lowest address of the prefix in which to write it.
    :param host_bits: the number of host bits of this prefix.
    :param runs: the set, within this prefix.
    """
    high = low + (1 << host_bits) - 1
    if not runs:
        return _NOTHING_TO_SAY, _Cover(1, (False, low, host_bits))
    if runs == ((low, high),):
        return _Cover(1, (True, low, host_bits)), _NOTHING_TO_SAY
    first, last = runs[0][0], runs[-1][1]
    outside = first == low and last == high
    if outside:
        first, last = runs[0][1] + 1, runs[-1][0] - 1
    inner_bits = (first ^ last).bit_length()
    if host_bits - inner_bits >= 2:
        # All that is not alike lies in a much longer prefix. What is around that is at best said
        # once, for the whole of this prefix.
        inner_low = first >> inner_bits << inner_bits
        inner_runs = runs_within(runs, inner_low, inner_low + (1 << inner_bits) - 1)
        as_out, as_in = _covers(inner_low, inner_bits, inner_runs)
        if outside:
            return _Cover(as_in.cost + 1, (True, low, host_bits), (as_in,)), as_in
        return as_out, _Cover(as_out.cost + 1, (False, low, host_bits), (as_out,))
    middle = low + (1 << host_bits - 1)
    below = _covers(low, host_bits - 1, runs_within(runs, low, middle - 1))
    above = _covers(middle, host_bits - 1, runs_within(runs, middle, high))
    as_out, as_in = (
        _Cover(left.cost + right.cost, None, (left, right))
        for left, right in zip(below, above, strict=True)
    )
    if as_in.cost + 1 < as_out.cost:
        as_out = _Cover(as_in.cost + 1, (True, low, host_bits), as_in.parts)
    elif as_out.cost + 1 < as_in.cost:
        as_in = _Cover(as_out.cost + 1, (False, low, host_bits), as_out.parts)
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
