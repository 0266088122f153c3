"""Make address prefixes local to a namespace, so that packets to them reach its sockets ("AnyIP").

The look-up of sockets happens only for packets that are delivered locally. An address is local when
an interface has it, or when a route of the type ``local`` covers it: what
``ip route add local 192.0.2.0/24 dev lo`` makes. Such a route does not make neighbours send packets
for the prefix to this machine: that takes a route there, or BGP.
"""

from __future__ import annotations

import contextlib
import errno
import ipaddress
import os
from collections.abc import Iterable
from socket import AF_INET, AF_INET6
from typing import TYPE_CHECKING, Any, Final

from inet_lookup.errors import InetLookupError, KernelError, PrivilegeError
from inet_lookup.net.namespaces import Namespace

if TYPE_CHECKING:
    from pyroute2 import IPRoute

Prefix = ipaddress.IPv4Network | ipaddress.IPv6Network

_RT_TABLE_LOCAL: Final = 255
_RTN_LOCAL: Final = 2
_RTPROT_STATIC: Final = 4
_RT_SCOPE_HOST: Final = 254
_LOOPBACK_INDEX: Final = 1  # LOOPBACK_IFINDEX: the same in every namespace


def local_prefixes(namespace: Namespace) -> list[Prefix]:
    """All prefixes that are local in a namespace, those of its interfaces' addresses included."""

    def read() -> list[Prefix]:
        with _netlink() as netlink:
            return _read(netlink).local_prefixes()

    return namespace.call(read)


def is_local(namespace: Namespace, prefix: Prefix | str) -> bool:
    """Whether one local route covers an address or a whole prefix in a namespace.

    :raises ValueError: ``prefix`` is neither an IP address nor a prefix.
    """
    wanted = ipaddress.ip_network(prefix)

    def look() -> bool:
        with _netlink() as netlink:
            return _read(netlink).covers(wanted)

    return namespace.call(look)


def add_local_routes(namespace: Namespace, prefixes: Iterable[Prefix | str]) -> list[Prefix]:
    """Make prefixes local in a namespace, by a route of the type ``local`` to ``lo`` each.

    What is local already stays as it is. When one cannot be added, none is.

    :return: those added, and so what :func:`remove_local_routes` may take away again.
    :raises InetLookupError: a prefix has the length 0.
    :raises PrivilegeError: the process lacks ``CAP_NET_ADMIN``.
    :raises KernelError: the kernel refuses a route, as where ``lo`` is down.
    :raises ValueError: one is neither an IP address nor a prefix.
    """
    wanted = [ipaddress.ip_network(prefix) for prefix in prefixes]
    for prefix in wanted:
        if prefix.prefixlen == 0:
            raise InetLookupError(
                f"{prefix} cannot be made local: no packet would leave the machine any more",
                hint="name the prefixes that the services are to have",
            )

    def add() -> list[Prefix]:
        added: list[Prefix] = []
        with _netlink() as netlink:
            existing = _read(netlink)
            try:
                for prefix in wanted:
                    if not existing.covers(prefix) and _add(netlink, prefix, namespace.label):
                        added.append(prefix)
                        existing.add(prefix, local=True)
            except BaseException:
                for prefix in reversed(added):
                    with contextlib.suppress(KernelError):
                        _remove(netlink, prefix, namespace.label)
                raise
        return added

    return namespace.call(add)


def remove_local_routes(namespace: Namespace, prefixes: Iterable[Prefix | str]) -> list[Prefix]:
    """Remove local routes to ``lo`` that :func:`add_local_routes` added.

    :return: those removed; one that was gone already is not among them.
    :raises PrivilegeError: the process lacks ``CAP_NET_ADMIN``.
    :raises ValueError: one is neither an IP address nor a prefix.
    """
    wanted = [ipaddress.ip_network(prefix) for prefix in prefixes]

    def remove() -> list[Prefix]:
        with _netlink() as netlink:
            return [prefix for prefix in wanted if _remove(netlink, prefix, namespace.label)]

    return namespace.call(remove)


class _LocalTable:
    """The routes of the table ``local``, those of broadcast addresses and the like included."""

    def __init__(self) -> None:
        self._is_local: dict[Prefix, bool] = {}
        self._lengths: dict[int, set[int]] = {4: set(), 6: set()}

    def add(self, prefix: Prefix, *, local: bool) -> None:
        # Of several routes for one prefix a local one counts.
        self._is_local[prefix] = local or self._is_local.get(prefix, False)
        self._lengths[prefix.version].add(prefix.prefixlen)

    def local_prefixes(self) -> list[Prefix]:
        return [prefix for prefix, local in self._is_local.items() if local]

    def covers(self, prefix: Prefix) -> bool:
        """Whether the most specific route for a prefix as a whole is a local one."""
        for length in sorted(self._lengths[prefix.version], reverse=True):
            if length <= prefix.prefixlen:
                local = self._is_local.get(prefix.supernet(new_prefix=length))
                if local is not None:
                    return local
        return False


def _netlink() -> IPRoute:
    """A netlink socket of the calling thread's namespace.

    To be used and closed by that thread: another would silently get a socket of its own, and with
    it of its own namespace.
    """
    from pyroute2 import IPRoute

    return IPRoute()


def _read(netlink: IPRoute) -> _LocalTable:
    found = _LocalTable()
    for route in netlink.get_routes(table=_RT_TABLE_LOCAL):
        any_address = "::" if route["family"] == AF_INET6 else "0.0.0.0"
        address = route.get_attr("RTA_DST") or any_address
        prefix = ipaddress.ip_network(f"{address}/{route['dst_len']}")
        found.add(prefix, local=route["type"] == _RTN_LOCAL)
    return found


def _route(prefix: Prefix) -> dict[str, Any]:
    return {
        "dst": str(prefix),
        "family": AF_INET if prefix.version == 4 else AF_INET6,
        "type": "local",
        "table": _RT_TABLE_LOCAL,
        "scope": _RT_SCOPE_HOST,
        "proto": _RTPROT_STATIC,
        "oif": _LOOPBACK_INDEX,
    }


def _add(netlink: IPRoute, prefix: Prefix, where: str) -> bool:
    """Add a route; False where somebody else just did."""
    from pyroute2 import NetlinkError

    try:
        netlink.route("add", **_route(prefix))
    except NetlinkError as error:
        if error.code == errno.EEXIST and _read(netlink).covers(prefix):
            return False
        raise _failure(f"make {prefix} local in {where}", error.code) from error
    return True


def _remove(netlink: IPRoute, prefix: Prefix, where: str) -> bool:
    """Remove a route; False where there is none."""
    from pyroute2 import NetlinkError

    try:
        netlink.route("del", **_route(prefix))
    except NetlinkError as error:
        if error.code == errno.ESRCH:
            return False
        raise _failure(f"remove the local route {prefix} from {where}", error.code) from error
    return True


def _failure(operation: str, number: int) -> KernelError:
    if number == errno.EPERM:
        return PrivilegeError(
            operation,
            number,
            "changing routes needs CAP_NET_ADMIN",
            hint="run as root, or with CAP_NET_ADMIN",
        )
    if number == errno.ENETDOWN:
        return KernelError(
            operation, number, "the interface lo is down", hint="set it up: ip link set lo up"
        )
    if number == errno.EACCES:
        return KernelError(
            operation,
            number,
            "IPv6 is disabled on lo",
            hint="enable it: sysctl net.ipv6.conf.lo.disable_ipv6=0",
        )
    if number == errno.EEXIST:
        return KernelError(
            operation,
            number,
            "there is a route of another type for it",
            hint="see: ip route show table local",
        )
    return KernelError(operation, number, os.strerror(number))
