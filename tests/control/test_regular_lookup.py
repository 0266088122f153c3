"""The regular lookup as it is foretold, and as the kernel does it."""

from __future__ import annotations

import itertools
import random

import pytest

from inet_lookup.control.regular_lookup import regular_lookup
from inet_lookup.net import Namespace
from inet_lookup.net.sock_diag import list_sockets
from inet_lookup.rules import Packet
from support.listeners import Listeners

pytestmark = pytest.mark.kernel

PORT = 4711
DESTINATIONS = ("127.0.0.1", "127.0.0.2", "::1")
CHOICES = [
    {"address": address, "v6only": v6only, "device": device}
    for address, v6only in (
        ("0.0.0.0", None),
        ("127.0.0.1", None),
        ("127.0.0.2", None),
        ("::", True),
        ("::", False),
        ("::1", None),
        ("::ffff:127.0.0.1", False),
    )
    for device in (None, "lo")
]


@pytest.mark.parametrize("udp", [False, True], ids=["tcp", "udp"])
def test_the_socket_that_the_kernel_chooses_is_among_those_foretold(
    netns: Namespace, listeners: Listeners, udp: bool
) -> None:
    protocol = "udp" if udp else "tcp"
    rng = random.Random(7)
    compared = alone = 0
    for _ in range(60):
        chosen = rng.sample(CHOICES, rng.randint(1, 4))
        for number, choice in enumerate(chosen):
            try:
                listeners.add(f"{number} {choice}", port=PORT, udp=udp, **choice)
            except OSError:  # it is in conflict with another one
                continue
        listed = netns.run(list_sockets, protocol)
        by_cookie = {cookie_of(each): name for name, each in listeners.sockets.items()}
        for destination in DESTINATIONS:
            where = f"[{destination}]:{PORT}" if ":" in destination else f"{destination}:{PORT}"
            loopback_index = 1
            foretold = [
                by_cookie[each.cookie]
                for each in regular_lookup(Packet.parse(protocol, where), listed, loopback_index)
            ]
            reached = listeners.reached(PORT, destination, udp=udp)
            assert reached in (foretold or ["refused"]), (list(listeners.sockets), destination)
            compared += 1
            alone += len(foretold) == 1
        for name in list(listeners.sockets):
            listeners.close(name)
    assert alone > compared / 3


def test_a_socket_bound_to_another_interface_is_not_found(
    netns: Namespace, listeners: Listeners
) -> None:
    listeners.add("bound", port=PORT, device="lo")
    packet = Packet.parse("tcp", f"127.0.0.1:{PORT}")
    listed = netns.run(list_sockets, "tcp")
    assert [len(regular_lookup(packet, listed, index)) for index in (0, 1, 2)] == [0, 1, 0]


def test_a_reuseport_group_is_found_as_a_whole(netns: Namespace, listeners: Listeners) -> None:
    for name in itertools.islice("abc", 3):
        listeners.add(name, port=PORT, reuseport=True)
    packet = Packet.parse("tcp", f"127.0.0.1:{PORT}")
    assert len(regular_lookup(packet, netns.run(list_sockets, "tcp"))) == 3


def cookie_of(sock: object) -> int:
    from inet_lookup.net import describe

    return describe(sock).cookie  # type: ignore[arg-type]
