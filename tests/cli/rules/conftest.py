"""Fixtures of the tests of the commands for rules."""

from __future__ import annotations

from pathlib import Path

import pytest

from support.edge import Edge
from support.networks import TwoHosts


@pytest.fixture
def edge(two_hosts: TwoHosts, bpffs: Path) -> Edge:
    """The commands at the server's namespace; see :class:`support.edge.Edge`."""
    return Edge(two_hosts, bpffs)
