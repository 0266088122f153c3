"""The demo's network: a server and a client, each in a network namespace, joined by a veth pair."""

from __future__ import annotations

import contextlib
import errno
import ipaddress
import os
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Final, NamedTuple

from inet_lookup.errors import KernelError, UnsupportedError
from inet_lookup.net.local_routes import add_local_routes
from inet_lookup.net.namespaces import Namespace

if TYPE_CHECKING:
    from pyroute2 import IPRoute

SERVER_ADDRESSES: Final = ("203.0.113.1", "2001:db8:ffff::1")
CLIENT_ADDRESSES: Final = ("203.0.113.2", "2001:db8:ffff::2")
"""IPv4 and IPv6, reserved for documentation like the prefixes that are steered."""

_INTERFACE: Final = "eth0"
_SERVER_LINK_LOCAL: Final = "fe80::1"
_CLIENT_LINK_LOCAL: Final = "fe80::2"
_IFA_F_NODAD: Final = 0x02
_DISABLE_IPV6: Final = "/proc/sys/net/ipv6/conf/all/disable_ipv6"


class Network(NamedTuple):
    """Two hosts on one link, as far as their users can tell.

    :ivar server: every address of the prefixes is local here.
    :ivar client: it has routes for the prefixes to the server.
    """

    server: Namespace
    client: Namespace


@contextlib.contextmanager
def two_hosts(prefixes: Sequence[str]) -> Iterator[Network]:
    """Make the two namespaces, which end with the block.

    :param prefixes: what is local in the server, whole.
    :raises NamespaceError: the process may not make namespaces.
    :raises UnsupportedError: the kernel lacks veth or IPv6.
    :raises KernelError: an interface, address or route cannot be made.
    """
    with Namespace.create() as server, Namespace.create() as client:
        server.run(_set_up_server, client)
        add_local_routes(server, prefixes)
        client.run(_set_up_client, prefixes)
        yield Network(server, client)


def _set_up_server(client: Namespace) -> None:
    from pyroute2 import IPRoute

    _enable_ipv6()
    with _explained(), IPRoute() as netlink:
        netlink.link(
            "add",
            ifname=_INTERFACE,
            kind="veth",
            peer={"ifname": _INTERFACE, "net_ns_fd": client.fileno()},
        )
        _configure(netlink, *SERVER_ADDRESSES, _SERVER_LINK_LOCAL)


def _set_up_client(prefixes: Sequence[str]) -> None:
    from pyroute2 import IPRoute

    _enable_ipv6()
    with _explained(), IPRoute() as netlink:
        interface = _configure(netlink, *CLIENT_ADDRESSES, _CLIENT_LINK_LOCAL)
        for prefix in prefixes:
            v4 = ipaddress.ip_network(prefix).version == 4
            gateway = SERVER_ADDRESSES[0] if v4 else _SERVER_LINK_LOCAL
            netlink.route("add", dst=prefix, gateway=gateway, oif=interface)


def _enable_ipv6() -> None:
    """Enable IPv6 in the calling thread's namespace, which may have inherited that it is not."""
    # Where it cannot be done the file is absent or read-only, and adding an address tells.
    with contextlib.suppress(OSError), open(_DISABLE_IPV6, "w") as setting:
        setting.write("0")


def _configure(netlink: IPRoute, v4: str, v6: str, link_local: str) -> int:
    """Give the veth of the calling thread's namespace its addresses; return its index."""
    (interface,) = netlink.link_lookup(ifname=_INTERFACE)
    netlink.addr("add", index=interface, address=v4, prefixlen=24)
    for address in (link_local, v6):
        # Duplicate address detection would keep an address from being used for a second or two.
        netlink.addr("add", index=interface, address=address, prefixlen=64, flags=_IFA_F_NODAD)
    netlink.link("set", index=interface, state="up")
    return int(interface)


@contextlib.contextmanager
def _explained() -> Iterator[None]:
    from pyroute2 import NetlinkError

    operation = "set up the demo's network"
    try:
        yield
    except NetlinkError as error:
        if error.code in (errno.EOPNOTSUPP, errno.EAFNOSUPPORT):
            raise UnsupportedError(
                operation,
                error.code,
                "the kernel lacks veth interfaces or IPv6",
                hint="modprobe veth; and boot without ipv6.disable=1",
            ) from error
        if error.code == errno.EACCES:
            raise UnsupportedError(
                operation,
                error.code,
                "IPv6 is disabled in new network namespaces",
                hint="sysctl net.ipv6.conf.all.disable_ipv6=0",
            ) from error
        raise KernelError(operation, error.code, os.strerror(error.code)) from error
