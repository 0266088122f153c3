"""What the kernel's own lookup of sockets chooses: by what a namespace's sockets are bound to."""

from __future__ import annotations

import socket
from collections.abc import Iterable
from ipaddress import IPv4Address, IPv6Address, ip_address
from typing import TYPE_CHECKING, cast

from ..net.sockets import SocketState, TransportProtocol
from ..rules import Family, Packet, Protocol

if TYPE_CHECKING:
    from ..net.sock_diag import ListedSocket


def regular_lookup(
    packet: Packet, sockets: Iterable[ListedSocket], ifindex: int = 0
) -> list[ListedSocket]:
    """The sockets that the kernel would choose from without a program; none where it has none.

    A socket bound to the very address goes before one bound to all. Among those, what counts is the
    interface that a socket is bound to and its family, as ``compute_score()`` has it
    (net/ipv4/inet_hashtables.c, net/ipv4/udp.c, and their counterparts in net/ipv6). Several are
    left where they make a reuseport group, or where they differ in what is not looked at here: the
    processor that a packet comes in by. Connections and connected UDP sockets are not looked at:
    what belongs to one never comes to rules.

    :param sockets: the namespace's.
    :param ifindex: the index of the interface that the packet comes in by; 0 for one to which no
        socket is bound.
    """
    destination = _address(packet.family, packet.local_ip)
    by_address: dict[bool, list[ListedSocket]] = {True: [], False: []}
    for each in sockets:
        address = _bound_to(each, packet)
        if address is not None and each.interface in (0, ifindex) and _is_open(each, packet):
            if address == destination:
                by_address[True].append(each)
            elif int(address) == 0:
                by_address[False].append(each)
    found = by_address[True] or by_address[False]
    best = max((_score(each, packet) for each in found), default=0)
    return [each for each in found if _score(each, packet) == best]


def protocol_name(packet: Packet) -> TransportProtocol:
    """The protocol of a packet, as sockets are listed by it."""
    return cast(TransportProtocol, str(packet.protocol))


def _is_open(each: ListedSocket, packet: Packet) -> bool:
    state = SocketState.LISTENING if packet.protocol is Protocol.TCP else SocketState.BOUND
    return (each.protocol, each.port, each.state) == (
        protocol_name(packet),
        packet.local_port,
        state,
    )


def _bound_to(each: ListedSocket, packet: Packet) -> IPv4Address | IPv6Address | None:
    """The address that a socket is bound to, in the packet's family; None where it has none."""
    address = ip_address(each.address)
    if packet.family is Family.IPV6:
        return address if isinstance(address, IPv6Address) else None
    if isinstance(address, IPv6Address):
        if each.v6only:
            return None
        return IPv4Address(0) if int(address) == 0 else address.ipv4_mapped
    return address


def _score(each: ListedSocket, packet: Packet) -> int:
    bound = each.interface != 0
    if packet.family is Family.IPV6:
        return int(bound)
    same_family = each.family == socket.AF_INET
    if packet.protocol is Protocol.TCP:
        return bound + same_family
    return 4 * bound + same_family


def _address(family: Family, address: int) -> IPv4Address | IPv6Address:
    return IPv4Address(address) if family is Family.IPV4 else IPv6Address(address)
