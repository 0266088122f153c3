"""The context of a lookup: what a program sees of a packet, as the kernel lays it out.

The fields, their sizes and byte orders are those of ``struct bpf_sk_lookup`` in ``linux/bpf.h``
(Linux 5.9; ``ingress_ifindex`` since 5.17), described in ``Documentation/bpf/prog_sk_lookup.rst``.
"""

from __future__ import annotations

import socket
import struct
import sys
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address, ip_address
from typing import TYPE_CHECKING, Final, TypeAlias

from ..errors import InetLookupError

if TYPE_CHECKING:
    from ..net.sockets import SocketInfo

Address: TypeAlias = IPv4Address | IPv6Address


@dataclass(frozen=True, slots=True)
class Field:
    """One field of ``struct bpf_sk_lookup``.

    :ivar offset: its offset in bytes.
    :ivar size: the width of a read, in bytes.
    :ivar lo: the least value that the kernel puts there.
    :ivar hi: the greatest value that the kernel puts there.
    :ivar words: how many such words the field has: 4 for an IPv6 address.
    """

    offset: int
    size: int
    lo: int
    hi: int
    words: int = 1


SIZE: Final = 72

FIELDS: Final = {
    "family": Field(8, 4, socket.AF_INET, socket.AF_INET6),
    "protocol": Field(12, 4, 0, 255),
    "remote_ip4": Field(16, 4, 0, 2**32 - 1),
    "remote_ip6": Field(20, 4, 0, 2**32 - 1, words=4),
    "remote_port": Field(36, 2, 0, 2**16 - 1),
    "local_ip4": Field(40, 4, 0, 2**32 - 1),
    "local_ip6": Field(44, 4, 0, 2**32 - 1, words=4),
    "local_port": Field(60, 4, 0, 2**16 - 1),
    "ingress_ifindex": Field(64, 4, 0, 2**31 - 1),
}


class Context:
    """One lookup, made in Python: call a program with it to test the program without a kernel.

    ::

        ctx = Context(local=("192.0.2.1", 80), remote=("203.0.113.5", 40000))
        assert two_http_servers(ctx) is PASS

    :param local: the packet's destination: an IPv4 or IPv6 address and a port in host byte order.
    :param remote: the packet's source, of the same family.
    :param protocol: ``IPPROTO_TCP`` or ``IPPROTO_UDP``.
    :param ingress_ifindex: the index of the interface that the packet came in on; 0 for none.
    :raises InetLookupError: the addresses are of different families, or a value is out of range.

    The attributes have the names, widths and byte orders of ``struct bpf_sk_lookup``:

    :ivar family: ``AF_INET`` or ``AF_INET6``.
    :ivar protocol: ``IPPROTO_TCP`` or ``IPPROTO_UDP``.
    :ivar remote_ip4: the source address as a 32-bit word in network byte order; 0 for IPv6.
    :ivar remote_ip6: the source address as four words in network byte order; 0 for IPv4.
    :ivar remote_port: the source port in network byte order: ``ntohs(ctx.remote_port)``.
    :ivar local_ip4: the destination address as a 32-bit word in network byte order; 0 for IPv6.
    :ivar local_ip6: the destination address as four words in network byte order; 0 for IPv4.
    :ivar local_port: the destination port in host byte order.
    :ivar ingress_ifindex: the ingress interface's index (Linux 5.17 and newer). A packet that a
        machine sends to one of its own addresses shows the interface that has the address, or
        ``lo`` for the addresses of a local route: an index alone does not mean "from outside".
    :ivar local_ip: the destination as an ``ipaddress`` object of its family.
    :ivar remote_ip: the source as an ``ipaddress`` object of its family.
    :ivar sk: the socket selected so far, by this or an earlier program, or None.
    """

    __slots__ = (
        "family",
        "ingress_ifindex",
        "local_ip",
        "local_ip4",
        "local_ip6",
        "local_port",
        "protocol",
        "remote_ip",
        "remote_ip4",
        "remote_ip6",
        "remote_port",
        "sk",
    )

    def __init__(
        self,
        *,
        local: tuple[str | Address, int],
        remote: tuple[str | Address, int] = ("", 0),
        protocol: int = socket.IPPROTO_TCP,
        ingress_ifindex: int = 0,
    ) -> None:
        self.local_ip = _address("local", local[0])
        v4 = self.local_ip.version == 4
        self.remote_ip = _address("remote", remote[0] or ("0.0.0.0" if v4 else "::"))
        if self.remote_ip.version != self.local_ip.version:
            raise InetLookupError(
                f"local {self.local_ip} and remote {self.remote_ip} are of different families",
                hint="give both as IPv4 or both as IPv6 addresses",
            )
        if protocol not in (socket.IPPROTO_TCP, socket.IPPROTO_UDP):
            raise InetLookupError(
                f"protocol {protocol} is neither IPPROTO_TCP (6) nor IPPROTO_UDP (17)",
                hint="the socket lookup hook sees TCP and UDP only",
            )
        for name, port in (("local", local[1]), ("remote", remote[1])):
            if not isinstance(port, int) or not 0 <= port <= 65535:
                raise InetLookupError(
                    f"{name} port {port!r} is not a port", hint="it is a number of 0 to 65535"
                )
        if not isinstance(ingress_ifindex, int) or not 0 <= ingress_ifindex < 2**31:
            raise InetLookupError(
                f"ingress_ifindex {ingress_ifindex!r} is not the index of an interface",
                hint='give what socket.if_nametoindex("eth0") returns',
            )
        self.family = int(socket.AF_INET if v4 else socket.AF_INET6)
        self.protocol = int(protocol)
        self.local_ip4, self.local_ip6 = _words(self.local_ip)
        self.remote_ip4, self.remote_ip6 = _words(self.remote_ip)
        self.local_port = int(local[1])
        self.remote_port = socket.htons(remote[1])
        self.ingress_ifindex = ingress_ifindex
        self.sk: SocketInfo | None = None

    def __repr__(self) -> str:
        protocol = {socket.IPPROTO_TCP: "IPPROTO_TCP", socket.IPPROTO_UDP: "IPPROTO_UDP"}
        return (
            f"Context(local=({str(self.local_ip)!r}, {self.local_port}), "
            f"remote=({str(self.remote_ip)!r}, {socket.ntohs(self.remote_port)}), "
            f"protocol={protocol[self.protocol]}, ingress_ifindex={self.ingress_ifindex})"
        )

    def pack(self) -> bytes:
        """Return ``struct bpf_sk_lookup`` as a test run of the kernel takes it.

        The kernel refuses an ``ingress_ifindex`` in a test run (``bpf_prog_test_run_sk_lookup()``
        of ``net/bpf/test_run.c``), so that field must be 0.

        :raises InetLookupError: ``ingress_ifindex`` is set.
        """
        if self.ingress_ifindex:
            raise InetLookupError(
                f"a test run cannot set ingress_ifindex ({self.ingress_ifindex})",
                hint="send a real packet through the interface to test this condition",
            )
        return struct.pack(
            "=QIII4IHHI4II8x",
            0,
            self.family,
            self.protocol,
            self.remote_ip4,
            *self.remote_ip6,
            self.remote_port,
            0,
            self.local_ip4,
            *self.local_ip6,
            self.local_port,
        )


def _address(name: str, value: str | Address) -> Address:
    try:
        return unscoped_address(value)
    except ValueError:
        raise InetLookupError(
            f"{name} address {value!r} is not an IPv4 or IPv6 address",
            hint="a packet's address has no scope: write fe80::1, not fe80::1%eth0",
        ) from None


def unscoped_address(value: object) -> Address:
    """Return an address that a packet can have.

    :param value: an address or its text.
    :raises ValueError: it is none, or is an IPv6 address with a scope (``fe80::1%eth0``), which
        equals no packet's address.
    """
    address = ip_address(str(value))
    if isinstance(address, IPv6Address) and address.scope_id is not None:
        raise ValueError(f"{value!r} has a scope")
    return address


def _words(address: Address) -> tuple[int, tuple[int, int, int, int]]:
    if isinstance(address, IPv4Address):
        return int.from_bytes(address.packed, sys.byteorder), (0, 0, 0, 0)
    w0, w1, w2, w3 = struct.unpack("=4I", address.packed)
    return 0, (w0, w1, w2, w3)
