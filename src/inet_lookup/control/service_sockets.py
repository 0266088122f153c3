"""The sockets of services, in the slots of the dispatcher's map.

A service has for each protocol and family two banks of slots, of which one is in use: sockets are
put into the other one, and then the banks are switched for all kinds at once, by one write of one
word. What a writer that was interrupted left in a bank that is not in use does no harm.
"""

from __future__ import annotations

import struct
import sys
from collections.abc import Iterator, Mapping, Sequence
from typing import Final, NamedTuple

from ..bpf.grace_period import wait_for_running_programs
from ..bpf.maps import Map
from ..dispatch.layout import BANKS, MEMBERS, SLOTS_PER_SERVICE, bank_bit, first_slot
from ..net.sockets import HasFileno

_BYTE_ORDER: Final = sys.byteorder
_WORD: Final = struct.Struct("=Q")


class Kind(NamedTuple):
    """A kind of sockets: a service has one socket, or one reuseport group, of each.

    :ivar udp: whether they are of UDP, rather than TCP.
    :ivar ipv6: the family of the sockets; those of IPv6 may take IPv4 packets, too.
    """

    udp: bool
    ipv6: bool

    def __str__(self) -> str:
        return f"{'UDP' if self.udp else 'TCP'} over {'IPv6' if self.ipv6 else 'IPv4'}"


KINDS: Final = tuple(Kind(udp, ipv6) for udp in (False, True) for ipv6 in (False, True))


class ServiceSockets:
    """The sockets that services have.

    :param services: the dispatcher's map of banks.
    :param sockets: its map of sockets.
    """

    def __init__(self, services: Map, sockets: Map) -> None:
        self._services = services
        self._sockets = sockets

    def cookies(self, service: int, kind: Kind) -> list[int]:
        """The cookies of the sockets in use, in the order of the slots.

        :param service: the service's number.
        """
        banks = self._banks(service)
        return [cookie for _, cookie in self._held(self._slots(service, kind, banks))]

    def any_left(self, service: int) -> bool:
        """Whether there is a socket in any slot of a service, in use or not."""
        first = service * SLOTS_PER_SERVICE
        return any(True for _ in self._held(range(first, first + SLOTS_PER_SERVICE)))

    def put(self, service: int, sockets: Mapping[Kind, Sequence[HasFileno]]) -> None:
        """Give a service other sockets of some kinds, for all of them in one step.

        When the kernel refuses a socket, those that the service has stay.

        :param sockets: at most :data:`~inet_lookup.dispatch.layout.MEMBERS` of a kind; none to take
            away those of a kind.
        :raises SocketRefusedError: the kernel does not take a socket.
        """
        before = self._banks(service)
        after = before
        for kind in sockets:
            after ^= bank_bit(udp=kind.udp, ipv6=kind.ipv6)
        try:
            for kind, members in sockets.items():
                slots = self._slots(service, kind, after)
                self._empty(slots)
                for slot, each in zip(slots, members, strict=False):
                    self._sockets.update(slot, each.fileno())
        except BaseException:
            for kind in sockets:
                self._empty(self._slots(service, kind, after))
            raise
        self._services.update(service, _WORD.pack(after))
        # A look-up may have read the old word and not its slots yet.
        wait_for_running_programs()
        for kind in sockets:
            self._empty(self._slots(service, kind, before))

    def clear(self, service: int) -> None:
        """Empty all slots of a number that is in use by no service."""
        first = service * SLOTS_PER_SERVICE
        self._empty(range(first, first + SLOTS_PER_SERVICE))
        self._services.update(service, _WORD.pack(0))

    def _banks(self, service: int) -> int:
        raw = self._services.lookup(service)
        assert raw is not None, "an array has a value at every index in range"
        return int(_WORD.unpack(raw)[0])

    def _slots(self, service: int, kind: Kind, banks: int) -> range:
        bank = int(bool(banks & bank_bit(udp=kind.udp, ipv6=kind.ipv6)))
        assert bank < BANKS
        first = first_slot(service, udp=kind.udp, ipv6=kind.ipv6, bank=bank)
        return range(first, first + MEMBERS)

    def _held(self, slots: range) -> Iterator[tuple[int, int]]:
        for slot in slots:
            raw = self._sockets.lookup(slot)
            if raw is not None:
                cookie = int.from_bytes(raw, _BYTE_ORDER)
                if cookie:
                    yield slot, cookie

    def _empty(self, slots: range) -> None:
        for slot in slots:
            self._sockets.delete(slot)
