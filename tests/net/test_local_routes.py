"""Prefixes become local to a namespace, and stop being it, in one step and once."""

from __future__ import annotations

import socket
import subprocess
import sys
from ipaddress import ip_network
from pathlib import Path

import pytest

from inet_lookup.errors import InetLookupError, KernelError
from inet_lookup.net.local_routes import (
    add_local_routes,
    is_local,
    local_prefixes,
    remove_local_routes,
)
from inet_lookup.net.namespaces import Namespace
from support.networks import ip

pytestmark = pytest.mark.kernel

V4, V6 = ip_network("192.0.2.0/24"), ip_network("2001:db8:1::/48")


def reach(family: int, address: str) -> None:
    """Connect to an address from within the namespace: only a local one answers."""
    with (
        socket.create_server(("", 80), family=family),
        socket.socket(family, socket.SOCK_STREAM) as client,
    ):
        client.settimeout(5)
        client.connect((address, 80))


def test_a_prefix_that_was_made_local_is_reached_and_one_that_was_removed_is_not(
    netns: Namespace,
) -> None:
    assert add_local_routes(netns, [V4, V6]) == [V4, V6]
    netns.run(reach, socket.AF_INET, "192.0.2.200")
    netns.run(reach, socket.AF_INET6, "2001:db8:1:ffff::1")
    assert remove_local_routes(netns, [V4, V6]) == [V4, V6]
    for family, address in ((socket.AF_INET, "192.0.2.200"), (socket.AF_INET6, "2001:db8:1::1")):
        with pytest.raises(OSError, match="unreachable"):
            netns.run(reach, family, address)


def test_what_is_local_already_is_neither_added_nor_said_to_be(netns: Namespace) -> None:
    assert add_local_routes(netns, ["127.0.0.5", V4, V4, "192.0.2.7", "::1"]) == [V4]
    assert add_local_routes(netns, [V4, "192.0.2.128/25"]) == []


def test_removing_what_is_gone_is_harmless(netns: Namespace) -> None:
    add_local_routes(netns, [V4])
    assert remove_local_routes(netns, [V4, V6]) == [V4]
    assert remove_local_routes(netns, [V4]) == []


def test_addresses_of_interfaces_are_local_and_their_neighbours_are_not(netns: Namespace) -> None:
    ip(netns, "link add v0 type veth peer name v1", "link set v0 up", "link set v1 up")
    ip(netns, "addr add 198.51.100.1/24 dev v0")
    assert is_local(netns, "198.51.100.1")
    assert not is_local(netns, "198.51.100.2")
    assert not is_local(netns, "198.51.100.0/24")
    assert not is_local(netns, "198.51.100.255")
    assert ip_network("198.51.100.1/32") in local_prefixes(netns)


def test_a_prefix_is_local_only_as_a_whole(netns: Namespace) -> None:
    add_local_routes(netns, [V6])
    assert is_local(netns, "2001:db8:1:2::/64")
    assert not is_local(netns, "2001:db8::/32")


def test_when_one_route_is_refused_none_is_added(netns: Namespace) -> None:
    with pytest.raises(KernelError, match="there is a route of another type"):
        add_local_routes(netns, [V4, "127.255.255.255"])
    assert not is_local(netns, V4)


@pytest.mark.parametrize("everything", ["0.0.0.0/0", "::/0"])
def test_all_addresses_at_once_cannot_be_made_local(netns: Namespace, everything: str) -> None:
    before = local_prefixes(netns)
    with pytest.raises(InetLookupError, match="no packet would leave the machine"):
        add_local_routes(netns, [V4, everything])
    assert local_prefixes(netns) == before


def test_disabled_ipv6_is_named_as_the_cause(netns: Namespace) -> None:
    netns.run(Path("/proc/sys/net/ipv6/conf/lo/disable_ipv6").write_text, "1")
    with pytest.raises(KernelError, match="IPv6 is disabled on lo"):
        add_local_routes(netns, [V6])


def test_a_loopback_interface_that_is_down_is_named_as_the_cause() -> None:
    with (
        Namespace.create(loopback=False) as namespace,
        pytest.raises(KernelError, match="the interface lo is down"),
    ):
        add_local_routes(namespace, [V6])


@pytest.mark.requires_command("setpriv")
def test_a_missing_privilege_is_named(netns: Namespace) -> None:
    script = """if True:
        from inet_lookup.errors import PrivilegeError
        from inet_lookup.net.local_routes import add_local_routes
        from inet_lookup.net.namespaces import Namespace
        # It cannot enter the namespace, and so does as if it were there already.
        Namespace.run = lambda self, function: function()
        with Namespace.open() as namespace:
            try:
                add_local_routes(namespace, ["192.0.2.0/24"])
            except PrivilegeError as error:
                print(error.hint)
    """
    with netns.popen(
        ["setpriv", "--bounding-set=-all", "--inh-caps=-all", sys.executable, "-c", script],
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.communicate()[0] == "run as root, or with CAP_NET_ADMIN\n"
