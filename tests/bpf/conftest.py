"""The watch for objects of the package that a test leaves open."""

from __future__ import annotations

import gc
from collections.abc import Iterator

import pytest

from inet_lookup.bpf import live_handles


@pytest.fixture(autouse=True)
def no_open_handles() -> Iterator[None]:
    """Fail a test that leaves an object open, before its descriptor is found."""
    before = set(map(id, live_handles()))
    yield
    left = [handle for handle in live_handles() if id(handle) not in before]
    if left:
        shown = "\n  ".join(map(repr, left))
        for handle in left:
            handle.close()
        del left
        gc.collect()
        pytest.fail(f"the test left open:\n  {shown}", pytrace=False)
