"""Fixtures of the tests of what stays in a namespace."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from inet_lookup.control import Dispatcher
from inet_lookup.net import Namespace
from support.listeners import Listeners, listeners_in


@pytest.fixture
def dispatcher(netns: Namespace, bpffs: Path) -> Iterator[Dispatcher]:
    """A dispatcher in a namespace of its own, not loaded yet; afterwards nothing of it is left."""
    with Dispatcher.open(netns, bpffs=bpffs, must_exist=False) as dispatcher:
        yield dispatcher
        if dispatcher.loaded:
            dispatcher.unload()
    assert not (bpffs / "inet-lookup").exists()


@pytest.fixture
def listeners(netns: Namespace) -> Iterator[Listeners]:
    """Sockets of this process in the namespace."""
    with listeners_in(netns) as found:
        yield found
