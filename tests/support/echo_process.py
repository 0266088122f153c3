"""An echo server, run as a process of its own: ``python -I -S -c SOURCE CONFIGURATION``.

Only the standard library is used, and nothing of this project, so that the server is as any server
is. It is ready when it has written a line to stdout, and ends at the end of its stdin.

Each datagram, and each line on a connection, is answered with a line of JSON that says which
server and socket took it and which addresses that socket saw.
"""

from __future__ import annotations

import contextlib
import json
import os
import selectors
import socket
import struct
import sys

# The socket module of Python 3.11 does not have these (linux/in.h, linux/in6.h).
IP_FREEBIND = 15
IP_RECVORIGDSTADDR = 20
IPV6_RECVORIGDSTADDR = 74
IPV6_FREEBIND = 78

Address = tuple[str, int]


def main() -> None:
    options = json.loads(sys.argv[1])
    selector = selectors.DefaultSelector()
    bound = []
    for address in options["addresses"]:
        port = options["port"]
        for index in range(options["sockets"]):
            sock = listen(address, port, options)
            port = sock.getsockname()[1]
            bound.append({"address": address, "port": port, "fd": sock.fileno()})
            selector.register(sock, selectors.EVENT_READ, (options["protocol"], index))
    if options["user"] is not None:
        os.setgroups([])
        os.setresgid(options["user"], options["user"], options["user"])
        os.setresuid(options["user"], options["user"], options["user"])
    selector.register(sys.stdin, selectors.EVENT_READ, ("end", 0))
    print(json.dumps(bound), flush=True)
    while True:
        for key, _ in selector.select():
            kind, index = key.data
            if kind == "end":
                return
            with contextlib.suppress(ConnectionError):
                serve(key.fileobj, kind, index, options["name"], selector)


def listen(address: str, port: int, options: dict) -> socket.socket:
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    tcp = options["protocol"] == "tcp"
    sock = socket.socket(family, socket.SOCK_STREAM if tcp else socket.SOCK_DGRAM)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    if options["reuseport"]:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
    if options["v6only"] is not None:
        sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, options["v6only"])
    if options["freebind"]:
        freebind(sock)
    if not tcp:
        sock.setsockopt(socket.IPPROTO_IP, IP_RECVORIGDSTADDR, 1)
        if family == socket.AF_INET6:
            sock.setsockopt(socket.IPPROTO_IPV6, IPV6_RECVORIGDSTADDR, 1)
    sock.bind((address, port))
    if tcp:
        sock.listen(1024)
    sock.setblocking(False)
    return sock


def freebind(sock: socket.socket) -> None:
    """Allow any address: a local route alone does not make its IPv6 addresses ones to bind to."""
    if sock.family == socket.AF_INET6:
        sock.setsockopt(socket.IPPROTO_IPV6, IPV6_FREEBIND, 1)
    else:
        sock.setsockopt(socket.IPPROTO_IP, IP_FREEBIND, 1)


def serve(
    sock: socket.socket, kind: str, index: int, name: str, selector: selectors.BaseSelector
) -> None:
    if kind == "tcp":
        with contextlib.suppress(BlockingIOError):  # the client went away
            connection, _ = sock.accept()
            selector.register(connection, selectors.EVENT_READ, ("connection", index))
    elif kind == "udp":
        data, ancillary, _, remote = sock.recvmsg(65535, 256)
        local = original_destination(ancillary)
        reply(sock, answer(name, index, local, remote, data), local, remote)
    elif kind == "connection":
        try:
            data = sock.recv(65536)
            local, remote = sock.getsockname(), sock.getpeername()
        except OSError:  # the client reset the connection
            data = b""
        if not data:
            selector.unregister(sock)
            sock.close()
            return
        sock.setblocking(True)
        for line in data.splitlines():
            sock.sendall(answer(name, index, local, remote, line))
        sock.setblocking(False)


def answer(name: str, index: int, local: tuple, remote: tuple, data: bytes) -> bytes:
    return (
        json.dumps(
            {
                "server": name,
                "socket": index,
                "local": [unmapped(local[0]), local[1]],
                "remote": [unmapped(remote[0]), remote[1]],
                "data": data.decode(),
            }
        ).encode()
        + b"\n"
    )


def unmapped(address: str) -> str:
    return address.removeprefix("::ffff:") if "." in address else address


def original_destination(ancillary: list[tuple[int, int, bytes]]) -> Address:
    for level, kind, data in ancillary:
        if (level, kind) == (socket.IPPROTO_IP, IP_RECVORIGDSTADDR):
            (port,) = struct.unpack_from("!H", data, 2)
            return socket.inet_ntop(socket.AF_INET, data[4:8]), port
        if (level, kind) == (socket.IPPROTO_IPV6, IPV6_RECVORIGDSTADDR):
            (port,) = struct.unpack_from("!H", data, 2)
            return socket.inet_ntop(socket.AF_INET6, data[8:24]), port
    raise RuntimeError("the kernel gave no original destination")


def reply(sock: socket.socket, data: bytes, local: Address, remote: tuple) -> None:
    """Answer from the address that the datagram was sent to, by a socket bound to it."""
    if sock.getsockname()[:2] == local:
        sock.sendto(data, remote)
        return
    address = unmapped(local[0])
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    with socket.socket(family, socket.SOCK_DGRAM) as source:
        source.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        # A socket of a reuseport group refuses others that are in none, and the other way round.
        if sock.getsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT):
            source.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        freebind(source)
        source.bind((address, local[1]))
        # Connected to itself it takes no datagram that comes before it is closed.
        source.connect((address, local[1]))
        source.sendto(data, (unmapped(remote[0]), remote[1]))


main()
