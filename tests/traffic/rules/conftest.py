"""Fixtures of the tests of rules with real traffic."""

from __future__ import annotations

from pathlib import Path

import pytest

from support.edge import Edge
from support.networks import TwoHosts, sysctl


@pytest.fixture
def edge(two_hosts: TwoHosts, bpffs: Path) -> Edge:
    """The commands at the server's namespace; see :class:`support.edge.Edge`."""
    # By default the kernel sends but a few ICMP messages a second, and it is such a message alone
    # that tells a client that its datagram was refused.
    sysctl(two_hosts.server, "net.ipv4.icmp_ratelimit", 0)
    sysctl(two_hosts.server, "net.ipv6.icmp.ratelimit", 0)
    return Edge(two_hosts, bpffs)
