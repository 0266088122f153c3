"""Selectors are read as a user writes them, and refused with the part that is wrong."""

from __future__ import annotations

import socket

import pytest
from hypothesis import given
from hypothesis import strategies as st

from inet_lookup.errors import SocketError
from inet_lookup.net.selectors import SocketSelector
from inet_lookup.net.sockets import SocketInfo, SocketState


@pytest.mark.parametrize(
    ("text", "selector"),
    [
        ("12/tcp/0.0.0.0:8080", SocketSelector(12, "tcp", "0.0.0.0", 8080)),
        ("12/tcp/[::]:8080", SocketSelector(12, "tcp", "::", 8080)),
        ("12/udp/[2001:DB8:0::1]:53", SocketSelector(12, "udp", "2001:db8::1", 53)),
        ("12/udp/[::ffff:127.0.0.2]:53", SocketSelector(12, "udp", "::ffff:127.0.0.2", 53)),
        ("12/tcp/*:80", SocketSelector(12, "tcp", None, 80)),
    ],
)
def test_a_selector_is_read(text: str, selector: SocketSelector) -> None:
    assert SocketSelector.parse(text) == selector


@given(
    st.builds(
        SocketSelector,
        pid=st.integers(1, 2**22),
        protocol=st.sampled_from(["tcp", "udp"]),
        address=st.none() | st.ip_addresses(v=4).map(str) | st.ip_addresses(v=6).map(str),
        port=st.integers(1, 65535),
    )
)
def test_what_is_written_is_read_back(selector: SocketSelector) -> None:
    again = SocketSelector.parse(str(selector))
    assert SocketSelector.parse(str(again)) == again
    assert (again.pid, again.protocol, again.port) == (
        selector.pid,
        selector.protocol,
        selector.port,
    )
    if selector.address is None or selector.address.count(":") == 0:
        assert again == selector


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("", "'' does not name a socket"),
        ("12", "'12' does not name a socket"),
        ("12/tcp", "'12/tcp' does not name a socket"),
        ("nginx/tcp/*:80", "'nginx' is not a process id"),
        ("0/tcp/*:80", "'0' is not a process id"),
        ("-1/tcp/*:80", "'-1' is not a process id"),
        ("12/sctp/*:80", "the protocol is 'tcp' or 'udp', not 'sctp'"),
        ("12/tcp/80", "'80' is not ADDRESS:PORT"),
        ("12/tcp/:80", "':80' is not ADDRESS:PORT"),
        ("12/tcp/*:0", "'0' is not a port from 1 to 65535"),
        ("12/tcp/*:65536", "'65536' is not a port from 1 to 65535"),
        ("12/tcp/*:http", "'http' is not a port from 1 to 65535"),
        ("12/tcp/*:²", "'²' is not a port from 1 to 65535"),
        ("12/tcp/::1:80", "the address is written [::1] there"),
        ("12/tcp/[127.0.0.1]:80", "the address is written 127.0.0.1 there"),
        ("12/tcp/localhost:80", "'localhost' is not an IP address or '*'"),
        ("12/tcp/127.0.0.256:80", "'127.0.0.256' is not an IP address or '*'"),
    ],
)
def test_a_malformed_selector_is_refused_with_the_part_that_is_wrong(
    text: str, problem: str
) -> None:
    with pytest.raises(SocketError) as caught:
        SocketSelector.parse(text)
    assert caught.value.message.endswith(problem)
    assert caught.value.hint is not None
    assert "1234/tcp/0.0.0.0:8080" in caught.value.hint


INFO = SocketInfo(
    family=socket.AF_INET,
    protocol="tcp",
    address="0.0.0.0",
    port=80,
    state=SocketState.LISTENING,
    cookie=1,
    inode=1,
    v6only=False,
    reuseport=False,
    netns_cookie=1,
)


@pytest.mark.parametrize(
    ("selector", "expected"),
    [
        (SocketSelector(1), True),
        (SocketSelector(1, "tcp", "0.0.0.0", 80), True),
        (SocketSelector(1, "tcp", None, 80), True),
        (SocketSelector(1, "udp", None, 80), False),
        (SocketSelector(1, "tcp", "127.0.0.1", 80), False),
        (SocketSelector(1, "tcp", "::", 80), False),
        (SocketSelector(1, "tcp", None, 81), False),
    ],
)
def test_all_that_a_selector_says_must_match(selector: SocketSelector, expected: bool) -> None:
    assert selector.matches(INFO) is expected


def test_a_selector_that_leaves_things_open_says_so() -> None:
    assert str(SocketSelector(12)) == "12/*/*:*"
    assert str(SocketSelector(12, "udp", "::1")) == "12/udp/[::1]:*"
