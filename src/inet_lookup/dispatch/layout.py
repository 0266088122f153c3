"""How the dispatcher's maps are laid out: the numbers that its program and its tables share."""

from __future__ import annotations

from typing import Final

MAX_SERVICES: Final = 1024
"""How many services a namespace can have: each has a number below this."""

MEMBERS: Final = 8
"""How many sockets a service holds for one protocol and family.

One would do for a single socket. Of a reuseport group several members are held, since a slot
empties when its socket closes: while one of them lives, the group is found.
"""

BANKS: Final = 2
"""Sockets are registered into the bank that is not in use; then the banks are switched."""

SLOTS_PER_SERVICE: Final = 2 * 2 * BANKS * MEMBERS
"""Socket slots of a service: for TCP and UDP, IPv4 and IPv6 sockets."""

SERVICE_COUNTERS: Final = 3
"""Counters of a service: look-ups, misses, errors, in this order."""

FIRST_RULE_COUNTER: Final = SERVICE_COUNTERS * MAX_SERVICES
"""The counters of rules begin behind those of all services."""

CHAIN: Final = 4
"""How many port tables a lookup reads at most: that of its prefix and of prefixes around it."""

INHERIT: Final = 64
"""A prefix takes over the port table of the one around it up to this many runs of ports."""

PREFIX_STEPS: Final = 8
"""Steps of a binary search over prefix lengths: there are up to 128 without the length 0."""

PORT_STEPS: Final = 17
"""Steps of a binary search over runs of ports: there are up to 65,536."""

GROUP_FLAG: Final = 1 << 31
"""Marks a decision that depends on the source or the interface."""

LIST_FLAG: Final = 1 << 32
"""Marks a source's value that depends on the interface."""

ACTION_PASS: Final = 1
ACTION_DROP: Final = 2
ACTION_SERVICE: Final = 3

ON_MISS_PASS: Final = 1 << 2
"""In an action's word: what a service without a usable socket does."""

SERVICE_SHIFT: Final = 8
COUNTER_SHIFT: Final = 32


def first_slot(service: int, *, udp: bool, ipv6: bool, bank: int) -> int:
    """Return the first of the :data:`MEMBERS` socket slots of a service.

    :param service: the service's number.
    :param ipv6: the family of the sockets, not of the packets.
    """
    return (((service * 2 + udp) * 2 + ipv6) * BANKS + bank) * MEMBERS


def bank_bit(*, udp: bool, ipv6: bool) -> int:
    """Return the bit of a service's bank word that says which bank is in use."""
    return 1 << (2 * udp + ipv6)
