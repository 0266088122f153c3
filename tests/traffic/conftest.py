"""Fixtures of the tests with real traffic."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

import pytest

from inet_lookup.net import TakenSocket
from support.servers import EchoServer
from support.taking import Take, take_socket


@pytest.fixture
def take() -> Iterator[Take]:
    """``take(server)``: the socket of a server's process; ``member=2`` for the third of a group."""
    with contextlib.ExitStack() as stack:

        def take(server: EchoServer, member: int = 0) -> TakenSocket:
            return stack.enter_context(take_socket(server, member))

        yield take
