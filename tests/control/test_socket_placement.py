"""Which socket goes where, in words."""

from __future__ import annotations

import pytest

from inet_lookup.bpf.map_definitions import MapSpec
from inet_lookup.bpf.uapi import MapType
from inet_lookup.control.socket_placement import SocketRequest, check_targets
from inet_lookup.errors import CapacityError, InetLookupError, SocketError

MAPS = {
    "servers": MapSpec("servers", MapType.SOCKMAP, 4, 8, 2),
    "by_port": MapSpec("by_port", MapType.SOCKHASH, 2, 8, 2),
    "by_address": MapSpec("by_address", MapType.SOCKHASH, 16, 8, 2),
    "seen": MapSpec("seen", MapType.ARRAY, 4, 8, 4),
}


def check(*targets: tuple[str, int | None]) -> None:
    check_targets(targets, MAPS, "steer")


@pytest.mark.parametrize(
    ("text", "array", "index", "selector"),
    [
        ("servers[0]=12/tcp/0.0.0.0:80", "servers", 0, "12/tcp/0.0.0.0:80"),
        ("servers[10]=12/udp/[::1]:53", "servers", 10, "12/udp/[::1]:53"),
        ("servers=12/tcp/*:80", "servers", None, "12/tcp/*:80"),
        (" servers[1] = 12/tcp/*:80 ", "servers", 1, "12/tcp/*:80"),
    ],
)
def test_a_request_is_read(text: str, array: str, index: int | None, selector: str) -> None:
    request = SocketRequest.parse(text)
    assert (request.map, request.index, str(request.selector)) == (array, index, selector)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "does not say which socket goes where"),
        ("servers", "does not say which socket goes where"),
        ("servers[0]", "does not say which socket goes where"),
        ("[0]=12/tcp/*:80", "does not say which socket goes where"),
        ("servers[0]x=12/tcp/*:80", "does not say which socket goes where"),
        ("servers[]=12/tcp/*:80", "'' in .* is not an index"),
        ("servers[-1]=12/tcp/*:80", "'-1' in .* is not an index"),
        ("servers[1.5]=12/tcp/*:80", "'1.5' in .* is not an index"),
        ("servers[²]=12/tcp/*:80", "is not an index"),
        (f"servers[{2**64}]=12/tcp/*:80", "has more than 64 bits"),
        ("servers[0]=", "does not name a socket"),
        ("servers[0]=nginx", "does not name a socket"),
        ("servers[0]=12/tcp/*:0", "not a port"),
    ],
)
def test_what_is_malformed_is_refused(text: str, message: str) -> None:
    with pytest.raises(SocketError, match=message):
        SocketRequest.parse(text)


def test_slots_that_a_program_has_are_taken() -> None:
    check(("servers", 0), ("servers", 1), ("by_port", 65535))
    check(("servers", None), ("servers", 1))


@pytest.mark.parametrize(
    ("targets", "error", "message"),
    [
        ([("servers", 2)], CapacityError, "the index is out of range: 'servers' has 2 slots"),
        ([("servers", 0), ("servers", 0)], InetLookupError, r"servers\[0\] is given two sockets"),
        ([("servers", None)] * 3, CapacityError, "it has room for 2"),
        ([("by_port", 1), ("by_port", 2), ("by_port", 3)], CapacityError, "it has room for 2"),
        ([("by_port", 65536)], InetLookupError, "does not fit into the 2 bytes"),
        ([("by_port", None)], InetLookupError, "is a sock hash, whose keys have no order"),
        ([("by_address", 1)], InetLookupError, "have 16 bytes"),
        ([("seen", 1)], InetLookupError, "'seen' of program 'steer' is a map of the type array"),
        ([("server", 1)], InetLookupError, "uses no sock array 'server' .did you mean 'servers'"),
        ([("zzz", 1)], InetLookupError, "it uses servers, by_port, by_address"),
    ],
)
def test_slots_that_it_does_not_have_are_refused(
    targets: list[tuple[str, int | None]], error: type[InetLookupError], message: str
) -> None:
    with pytest.raises(error, match=message):
        check(*targets)


def test_a_program_without_sock_arrays_is_said_to_have_none() -> None:
    with pytest.raises(InetLookupError, match="it uses no sock array at all"):
        check_targets([("servers", 0)], {}, "steer")
