"""Contexts of socket lookups, as test runs take them."""

from __future__ import annotations

import socket
import struct
from ipaddress import ip_address


def lookup_context(
    local: str = "192.0.2.1",
    local_port: int = 80,
    *,
    remote: str = "203.0.113.7",
    remote_port: int = 40000,
    protocol: int = socket.IPPROTO_TCP,
) -> bytes:
    """A ``struct bpf_sk_lookup``: addresses and the remote port in network byte order."""
    local_ip, remote_ip = ip_address(local), ip_address(remote)
    family = socket.AF_INET if local_ip.version == 4 else socket.AF_INET6
    four, six = bytes(4), bytes(16)
    return struct.pack(
        "=QII4s16s2sH4s16sII",
        0,
        family,
        protocol,
        remote_ip.packed if remote_ip.version == 4 else four,
        remote_ip.packed if remote_ip.version == 6 else six,
        struct.pack("!H", remote_port),
        0,
        local_ip.packed if local_ip.version == 4 else four,
        local_ip.packed if local_ip.version == 6 else six,
        local_port,
        0,
    )


def selected_cookie(ctx_out: bytes) -> int:
    """The cookie of the socket that a test run selected, 0 for none."""
    return struct.unpack_from("=Q", ctx_out)[0]


def cookie_of(sock: socket.socket) -> int:
    so_cookie = 57  # include/uapi/asm-generic/socket.h
    return struct.unpack("=Q", sock.getsockopt(socket.SOL_SOCKET, so_cookie, 8))[0]
