"""Contexts of look-ups at random, and sockets of each kind for programs to redirect to."""

from __future__ import annotations

import random
import socket
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

from inet_lookup import Context

V4 = [
    "0.0.0.0",
    "10.0.0.0",
    "10.0.127.255",
    "10.1.0.0",
    "10.2.5.6",
    "127.0.0.1",
    "192.0.2.0",
    "192.0.2.1",
    "192.0.2.63",
    "192.0.2.64",
    "192.0.2.127",
    "192.0.2.128",
    "192.0.2.255",
    "192.0.3.0",
    "198.51.100.9",
    "198.51.100.63",
    "198.51.100.64",
    "198.51.100.127",
    "203.0.113.6",
    "203.0.113.7",
    "203.0.113.8",
    "255.255.255.255",
]
V6 = [
    "::",
    "::1",
    "2001:db8::",
    "2001:db8::1",
    "2001:db8:0:1::9",
    "2001:db8:0:2::",
    "2001:db8:1::",
    "2001:db8:1:ffff:ffff:ffff:ffff:ffff",
    "2001:db8:2::",
    "2001:db8:2:3::1",
    "2001:db8:2:4::",
    "2001:db8:3::5",
    "2001:db8:8000::1",
    "2001:db9::",
    "::ffff:192.0.2.1",
    "fe80::1",
    "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff",
]
PORTS = (
    0, 1, 2, 5, 7, 8, 15, 22, 53, 79, 80, 81, 100, 443, 999, 1000, 1001, 1023, 1024, 1151, 1535,
    2999, 3000, 5050, 5432, 8000, 8001, 8080, 8999, 20006, 30001, 39999, 49151, 49152, 49160,
    60000, 60001, 65000, 65535,
)  # fmt: skip


def random_address(rng: random.Random, version: int) -> str:
    known = V4 if version == 4 else V6
    if rng.random() < 0.7:
        return rng.choice(known)
    family, size = (socket.AF_INET, 4) if version == 4 else (socket.AF_INET6, 16)
    raw = bytearray(socket.inet_pton(family, rng.choice(known)))
    for _ in range(rng.randrange(1, 4)):
        raw[rng.randrange(size)] = rng.randrange(256)
    return socket.inet_ntop(family, bytes(raw))


def random_context(rng: random.Random) -> Context:
    version = rng.choice((4, 6))
    local, remote = (
        (
            random_address(rng, version),
            rng.choice(PORTS) if rng.random() < 0.8 else rng.randrange(65536),
        )
        for _ in range(2)
    )
    if rng.random() < 0.05:
        remote = local
    protocol = rng.choice((socket.IPPROTO_TCP, socket.IPPROTO_UDP))
    return Context(local=local, remote=remote, protocol=protocol)


@contextmanager
def fitting_sockets() -> Iterator[list[socket.socket]]:
    """One socket of each kind that matters to whether it fits a packet."""
    with ExitStack() as stack:
        made = []
        for family, kind, address, v6only in (
            (socket.AF_INET, socket.SOCK_STREAM, "127.0.0.1", False),
            (socket.AF_INET6, socket.SOCK_STREAM, "::", False),
            (socket.AF_INET6, socket.SOCK_STREAM, "::1", True),
            (socket.AF_INET6, socket.SOCK_DGRAM, "::", False),
            (socket.AF_INET, socket.SOCK_DGRAM, "127.0.0.1", False),
            (socket.AF_INET6, socket.SOCK_DGRAM, "::1", True),
        ):
            sock = stack.enter_context(socket.socket(family, kind))
            if family == socket.AF_INET6:
                sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, v6only)
            sock.bind((address, 0))
            if kind == socket.SOCK_STREAM:
                sock.listen()
            made.append(sock)
        yield made
