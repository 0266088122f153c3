"""Constants and byte orders, under the names that the RFC's sources use."""

from __future__ import annotations

from socket import AF_INET, AF_INET6, IPPROTO_TCP, IPPROTO_UDP
from socket import htonl as bpf_htonl
from socket import htons as bpf_htons
from socket import ntohl as bpf_ntohl
from socket import ntohs as bpf_ntohs

from ..programs.inline import inline

__all__ = [
    "AF_INET",
    "AF_INET6",
    "IP4",
    "IPPROTO_TCP",
    "IPPROTO_UDP",
    "bpf_htonl",
    "bpf_htons",
    "bpf_ntohl",
    "bpf_ntohs",
]


@inline
def IP4(a: int, b: int, c: int, d: int) -> int:
    """Return an IPv4 address in host byte order: ``IP4(192, 0, 2, 0)``.

    Compare it with ``bpf_ntohl(ctx.local_ip4)``. Of each part, 8 bits count.
    """
    return (a & 0xFF) << 24 | (b & 0xFF) << 16 | (c & 0xFF) << 8 | (d & 0xFF)
