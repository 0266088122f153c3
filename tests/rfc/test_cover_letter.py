"""The demo of the RFC's cover letter works: in C as it stands there, in Python line by line."""

from __future__ import annotations

import contextlib
import random
import struct
from collections.abc import Callable, Iterator
from enum import IntEnum

import pytest

from inet_lookup.bpf import ObjectFile
from inet_lookup.net import TakenSocket
from inet_lookup.net.sockets import HasFileno
from inet_lookup.rfc import (
    AF_INET,
    BPF_OK,
    IP4,
    IPPROTO_TCP,
    Context,
    InetLookupFunction,
    SockArray,
    attach,
    bpf_ntohl,
    program,
    redirect_lookup,
)
from support import rfc_objects
from support.networks import TwoHosts
from support.servers import Start, who_answers
from support.taking import Take

pytestmark = pytest.mark.kernel


class Net(IntEnum):
    NET1 = IP4(192, 0, 2, 0) >> 8
    NET2 = IP4(198, 51, 100, 0) >> 8


MAX_SERVERS = 2


def in_python() -> tuple[InetLookupFunction, SockArray]:
    redir_map = SockArray(max_entries=MAX_SERVERS)

    @program
    def demo_two_http_servers(ctx: Context) -> int:
        index = 0
        flags = 0

        if ctx.family != AF_INET:
            return BPF_OK
        if ctx.protocol != IPPROTO_TCP:
            return BPF_OK
        if ctx.local_port != 80:
            return BPF_OK

        match bpf_ntohl(ctx.local_ip4) >> 8:
            case Net.NET1:
                index = 0
            case Net.NET2:
                index = 1
            case _:
                return BPF_OK

        return redirect_lookup(ctx, redir_map, index, flags)

    return demo_two_http_servers, redir_map


@contextlib.contextmanager
def attached(language: str, hosts: TwoHosts) -> Iterator[Callable[[int, HasFileno], None]]:
    if language == "python":
        function, redir_map = in_python()
        with attach(function, hosts.server):
            yield redir_map.__setitem__
        return
    file = ObjectFile.parse(rfc_objects.build("cover_letter", language), name="demo.o")
    with (
        file.load() as loaded,
        attach(loaded.programs["demo_two_http_servers"], hosts.server),
    ):
        sockets = loaded.maps["redir_map"]

        def put(index: int, sock: HasFileno) -> None:
            sockets.update(struct.pack("=I", index), sock.fileno())

        yield put


def test_two_servers_share_a_port(
    two_hosts: TwoHosts, echo_server: Start, take: Take, language: str
) -> None:
    taken: list[TakenSocket] = [
        take(echo_server(two_hosts.server, "tcp", "0.0.0.0", port, name=name))
        for name, port in (("nginx", 8080), ("apache", 8081))
    ]

    def answer(address: str, port: int = 80) -> str:
        return who_answers(two_hosts.client, "tcp", address, port)

    with attached(language, two_hosts) as put:
        assert answer("192.0.2.1") == "refused", "no socket yet"
        for index, sock in enumerate(taken):
            put(index, sock)
        for last in random.Random(80).sample(range(1, 255), 10):
            assert answer(f"192.0.2.{last}") == "nginx"
            assert answer(f"198.51.100.{last}") == "apache"
        assert answer("192.0.2.1", 81) == "refused"
        assert answer("203.0.113.1") == "refused"
        assert who_answers(two_hosts.client, "udp", "192.0.2.1", 80) == "refused"
        assert answer("2001:db8:1::1") == "refused"
    assert answer("192.0.2.1") == "refused"
