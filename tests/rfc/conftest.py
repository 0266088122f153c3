"""Fixtures of the tests of the RFC's API."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack

import pytest

from inet_lookup.net import Namespace, TakenSocket
from support.networks import ip
from support.rfc_programs import LANGUAGES
from support.servers import EchoServer
from support.taking import Take, take_socket


@pytest.fixture(params=LANGUAGES)
def language(request: pytest.FixtureRequest) -> str:
    """A compiler of C, or ``python``."""
    found = request.param
    assert isinstance(found, str)
    return found


@pytest.fixture
def host(netns: Namespace) -> Namespace:
    """A namespace with the addresses of the RFC's tests; 127.0.0.0/8 is local in any."""
    ip(netns, "addr add fd00::1/128 dev lo nodad", "addr add fd00::2/128 dev lo nodad")
    return netns


@pytest.fixture
def take() -> Iterator[Take]:
    """``take(server)``: the socket of a server's process."""
    with ExitStack() as stack:

        def take(server: EchoServer, member: int = 0) -> TakenSocket:
            return stack.enter_context(take_socket(server, member))

        yield take
