"""Nothing of ours needs to run for traffic to go where the rules say."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from support.edge import Edge
from support.networks import TwoHosts
from support.servers import Start, ask, who_answers

pytestmark = pytest.mark.kernel


def ours() -> list[str]:
    """The commands of all processes of ours on the machine, this one and its like aside."""
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit() and int(entry.name) != os.getpid():
            try:
                line = (entry / "cmdline").read_bytes().decode(errors="replace").split("\0")
            except OSError:
                continue
            if "inet_lookup" in line:
                found.append(" ".join(line))
    return found


def test_steering_goes_on_when_every_process_of_ours_has_exited(
    edge: Edge, two_hosts: TwoHosts, echo_server: Start
) -> None:
    server = echo_server(two_hosts.server, "tcp", "::", v6only=False, name="web")
    edge.process("bind", "web", "tcp", "192.0.2.0/24", "80").done()
    edge.process("bind", "web", "tcp", "2001:db8:1::/48", "any").done()
    edge.process("register", "web", "--pid", server.pid).done()
    place = edge.place[3]
    assert not [each for each in ours() if place in each]
    for _ in range(20):
        assert ask(two_hosts.client, "tcp", "192.0.2.9", 80).server == "web"
        assert ask(two_hosts.client, "tcp", "2001:db8:1::9", 4711).server == "web"
    # A later process finds all of it, and takes it up.
    assert edge.service("web")["lookups"] == 40
    edge.process("unbind", "web", "tcp", "192.0.2.0/24", "80").done()
    assert who_answers(two_hosts.client, "tcp", "192.0.2.9", 80) == "refused"
    assert who_answers(two_hosts.client, "tcp", "2001:db8:1::9", 80) == "web"
    edge.process("unload").done()
    assert who_answers(two_hosts.client, "tcp", "2001:db8:1::9", 80) == "refused"
    assert not list((edge.bpffs / "inet-lookup").rglob("*"))
