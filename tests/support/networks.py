"""Network namespaces for tests, with links, addresses and routes."""

from __future__ import annotations

import contextlib
import ipaddress
import itertools
import os
import socket
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from inet_lookup.net.namespaces import Namespace
from support import mounts

PREFIXES = ("192.0.2.0/24", "198.51.100.0/24", "2001:db8:1::/48", "2001:db8:2::/48")
"""What :func:`two_hosts` makes local in the server: the destinations to steer."""

SERVER_V4, CLIENT_V4 = "203.0.113.1", "203.0.113.2"
SERVER_V6, CLIENT_V6 = "2001:db8:ffff::1", "2001:db8:ffff::2"

_serial = itertools.count(1)


@dataclass(frozen=True)
class TwoHosts:
    """A server and a client, joined by a veth pair that is called ``eth0`` on both sides.

    The server is 203.0.113.1 and 2001:db8:ffff::1, the client ends in 2. Prefixes are local in the
    server (every address of them is its own) and routed to it from the client.
    """

    server: Namespace
    client: Namespace

    def add_prefix(self, prefix: str) -> None:
        """Make one more prefix local in the server and reachable from the client."""
        ip(self.server, _local_route(prefix))
        ip(self.client, _route_to_server(prefix))


@contextlib.contextmanager
def two_hosts(prefixes: tuple[str, ...] = PREFIXES) -> Iterator[TwoHosts]:
    """Make two namespaces with a link; see :class:`TwoHosts`."""
    with Namespace.create() as server, Namespace.create() as client:
        there = f"/proc/{os.getpid()}/fd/{client.fileno()}"
        ip(
            server,
            f"link add eth0 type veth peer name eth0 netns {there}",
            *_configuration(SERVER_V4, SERVER_V6),
            *(_local_route(prefix) for prefix in prefixes),
        )
        ip(
            client,
            *_configuration(CLIENT_V4, CLIENT_V6),
            *(_route_to_server(prefix) for prefix in prefixes),
        )
        yield TwoHosts(server, client)


@contextlib.contextmanager
def another_client(hosts: TwoHosts) -> Iterator[Namespace]:
    """Make one more client, on a veth pair of its own that the server calls ``eth1``.

    It is 10.0.0.2 and 2001:db8:fffe::2, the server's end of that link 1, and it reaches the
    prefixes as the first client does.
    """
    with Namespace.create() as client:
        there = f"/proc/{os.getpid()}/fd/{client.fileno()}"
        ip(
            hosts.server,
            f"link add eth1 type veth peer name eth0 netns {there}",
            *_configuration("10.0.0.1", "2001:db8:fffe::1", interface="eth1"),
        )
        ip(
            client,
            *_configuration("10.0.0.2", "2001:db8:fffe::2"),
            *(
                _route_to_server(prefix, "10.0.0.1", "2001:db8:fffe::1")
                for prefix in (*PREFIXES, f"{SERVER_V4}/32", f"{SERVER_V6}/128")
            ),
        )
        yield client


def interface_index(namespace: Namespace, name: str) -> int:
    """The index of an interface, as programs see it in ``ctx.ingress_ifindex``."""
    return namespace.run(socket.if_nametoindex, name)


def sysctl(namespace: Namespace, name: str, value: int) -> None:
    """Set a variable of a namespace: ``sysctl(edge, "net.ipv4.tcp_syncookies", 2)``."""
    path = Path("/proc/sys", *name.split("."))
    namespace.run(path.write_text, str(value))


@contextlib.contextmanager
def named_namespace() -> Iterator[str]:
    """Make a namespace with a name, as ``ip netns add`` does, and give the name."""
    name = f"inet-lookup-{os.getpid()}-{next(_serial)}"
    path = mounts.NAMED_NAMESPACES / name
    path.touch(mode=0o000, exist_ok=False)
    try:
        with Namespace.create() as namespace:
            mounts.bind(f"/proc/self/fd/{namespace.fileno()}", str(path))
        try:
            yield name
        finally:
            mounts.unmount(str(path))
    finally:
        path.unlink()


def ip(namespace: Namespace, *commands: str) -> None:
    """Run commands of :manpage:`ip(8)` in a namespace, all by one process.

    ``ip(edge, "addr add 127.0.0.2/8 dev lo", "link set lo up")``
    """
    process = namespace.popen(
        ["ip", "-batch", "-"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    with process:
        output, _ = process.communicate("\n".join(commands) + "\n", timeout=30)
    if process.returncode:
        raise RuntimeError(f"ip -batch failed: {output}\n" + "\n".join(commands))


def _configuration(v4: str, v6: str, *, interface: str = "eth0") -> list[str]:
    # Without a link-local address and duplicate address detection IPv6 works at once, not after
    # the second or two that the kernel would take to make sure that the address is unique.
    return [
        f"link set dev {interface} addrgenmode none",
        f"link set dev {interface} up",
        f"addr add {v4}/24 dev {interface}",
        f"addr add {v6}/64 dev {interface} nodad",
    ]


def _local_route(prefix: str) -> str:
    return f"route add local {prefix} dev lo"


def _route_to_server(prefix: str, v4: str = SERVER_V4, v6: str = SERVER_V6) -> str:
    via = v4 if ipaddress.ip_network(prefix).version == 4 else v6
    return f"route add {prefix} via {via}"
