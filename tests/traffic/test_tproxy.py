"""``docs/tproxy.md``: what TPROXY delivers rules deliver, and the way from one to the other.

The commands, the nftables table and the rules are the document's, run as they stand there.
"""

from __future__ import annotations

import contextlib
import os
import re
import select
import socket
import struct
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import pytest

from inet_lookup import query
from inet_lookup.control import Dispatcher
from inet_lookup.net import is_local
from support.networks import CLIENT_V4, SERVER_V4, SERVER_V6, TwoHosts, ip, two_hosts

pytestmark = [pytest.mark.kernel, pytest.mark.requires_command("nft", "ip")]

DOCUMENT = Path(__file__).parents[2] / "docs" / "tproxy.md"
PREFIXES = {"192.0.2.0/24": SERVER_V4, "2001:db8:1::/48": SERVER_V6}
EXEMPT = "203.0.113.99"

# How long to wait for what is to come, and for what is not to.
LONG, SHORT = 5.0, 0.2

# linux/in.h and linux/in6.h.
IP_TRANSPARENT, IPV6_TRANSPARENT = 19, 75
IP_RECVORIGDSTADDR, IPV6_RECVORIGDSTADDR = 20, 74

Kind = Literal["tcp", "udp"]
Endpoint = tuple[str, int]

DESTINATIONS: list[tuple[Kind, str, int]] = [
    (kind, address, port)
    for address in ("192.0.2.0", "192.0.2.7", "192.0.2.255", "2001:db8:1::7", "2001:db8:1:f::")
    for kind, port in (("tcp", 80), ("tcp", 8000), ("tcp", 8999), ("udp", 53))
]
ELSEWHERE: list[tuple[Kind, str, int]] = [
    ("tcp", "192.0.2.7", 81),
    ("tcp", "192.0.2.7", 7999),
    ("tcp", "192.0.2.7", 9000),
    ("tcp", "192.0.2.7", 53),
    ("udp", "192.0.2.7", 80),
    ("tcp", "2001:db8:1::7", 81),
    ("tcp", SERVER_V4, 80),
    ("tcp", SERVER_V6, 80),
]


def blocks(language: str) -> list[str]:
    """The document's blocks of a language, in its order."""
    return re.findall(
        rf"^```{language}\n(.*?)^```$", DOCUMENT.read_text(), re.DOTALL | re.MULTILINE
    )


@dataclass(frozen=True)
class Site:
    """Two hosts with a proxy on the server, and the document's commands there."""

    hosts: TwoHosts
    proxies: list[socket.socket]
    directory: Path
    bpffs: Path

    def run(self, commands: str) -> None:
        """Run a block of the document in the server's namespace."""
        preamble = (
            f'inet-lookup() {{ "{sys.executable}" -m inet_lookup --bpffs "{self.bpffs}" "$@"; }}\n'
            f"pidof() {{ echo {os.getpid()}; }}\nset -e\n"
        )
        with self.hosts.server.popen(
            ["bash", "-c", preamble + commands],
            cwd=self.directory,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        ) as shell:
            output, _ = shell.communicate(timeout=60)
        assert shell.returncode == 0, output

    def set_up_tproxy(self) -> None:
        self.run(blocks("sh")[0])

    def set_up_rules(self) -> None:
        self.run(blocks("sh")[1])

    def remove_tproxy(self) -> None:
        self.run(blocks("sh")[2])

    def lookups(self) -> int:
        """How many look-ups the rules decided."""
        with Dispatcher.open(self.hosts.server, bpffs=str(self.bpffs), must_exist=False) as found:
            return sum(count for _, count in found.rules()) if found.loaded else 0

    def delivered(
        self,
        kind: Kind,
        address: str,
        port: int,
        source: str | None = None,
        *,
        expected: bool = True,
    ) -> tuple[Endpoint, bool] | None:
        """What the proxy sees of a question, None where it does not come to it.

        :param expected: whether to wait long for it.
        :return: the original destination, and whether it saw the client's own address and port.
        """
        seconds = LONG if expected else SHORT
        with self.hosts.client.run(_asking, kind, address, source) as asking:
            asking.settimeout(seconds)
            try:
                self.hosts.client.run(asking.connect, (address, port))
                if kind == "udp":
                    asking.send(b"question")
            except OSError:  # refused, or no route
                return None
            ready = select.select([*self.proxies, asking], [], [], seconds)[0]
            found = [proxy for proxy in self.proxies if proxy in ready]
            if not found:
                return None
            answer = self._take if kind == "tcp" else self._receive
            destination, remote = self.hosts.server.run(answer, found[0])
            assert asking.recv(100) == b"answer"
            return destination, remote == asking.getsockname()[:2]

    @staticmethod
    def _take(proxy: socket.socket) -> tuple[Endpoint, Endpoint]:
        accepted, _ = proxy.accept()
        with accepted:
            accepted.sendall(b"answer")
            return accepted.getsockname()[:2], accepted.getpeername()[:2]

    @staticmethod
    def _receive(proxy: socket.socket) -> tuple[Endpoint, Endpoint]:
        _, ancillary, _, remote = proxy.recvmsg(100, 200)
        ((_, _, raw),) = ancillary
        (port,) = struct.unpack_from("!H", raw, 2)
        packed = raw[4:8] if proxy.family == socket.AF_INET else raw[8:24]
        address = socket.inet_ntop(proxy.family, packed)
        with socket.socket(proxy.family, socket.SOCK_DGRAM) as source:
            _make_transparent(source)
            source.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            source.bind((address, port))
            source.sendto(b"answer", remote)
        return (address, port), remote[:2]


@pytest.fixture
def site(tmp_path: Path, bpffs: Path) -> Iterator[Site]:
    (tmp_path / "tproxy.nft").write_text(blocks("nft")[0])
    (tmp_path / "edge.toml").write_text(blocks("toml")[0])
    with contextlib.ExitStack() as stack:
        hosts = stack.enter_context(two_hosts(prefixes=()))
        ip(hosts.client, *(f"route add {prefix} via {via}" for prefix, via in PREFIXES.items()))
        ip(hosts.client, f"addr add {EXEMPT}/24 dev eth0")
        proxies = [
            stack.enter_context(hosts.server.run(_proxy, address, kind))
            for address in ("127.0.0.1", "::1")
            for kind in (socket.SOCK_STREAM, socket.SOCK_DGRAM)
        ]
        yield Site(hosts, proxies, tmp_path, bpffs)


def test_both_deliver_the_same(site: Site) -> None:
    def ask_everything() -> None:
        for kind, address, port in DESTINATIONS:
            assert site.delivered(kind, address, port) == ((address, port), True)
        for elsewhere in ELSEWHERE:
            assert site.delivered(*elsewhere, expected=False) is None
        for exempt in (DESTINATIONS[0], DESTINATIONS[3]):
            assert site.delivered(*exempt, EXEMPT, expected=False) is None

    site.set_up_tproxy()
    ask_everything()
    site.remove_tproxy()
    for kind in ("tcp", "udp"):
        assert site.delivered(kind, "192.0.2.7", 80, expected=False) is None
    site.set_up_rules()
    ask_everything()


def test_a_connection_stays_open_on_the_way_from_one_to_the_other(site: Site) -> None:
    with contextlib.ExitStack() as stack:
        talks = []

        def open_connections() -> None:
            for address in ("192.0.2.7", "2001:db8:1::7"):
                asking = site.hosts.client.run(socket.create_connection, (address, 80), 5)
                stack.enter_context(asking)
                proxy = next(
                    each
                    for each in site.proxies
                    if (each.family, each.type) == (asking.family, socket.SOCK_STREAM)
                )
                talks.append((asking, stack.enter_context(proxy.accept()[0])))

        def all_are_open() -> None:
            for asking, accepted in talks:
                asking.sendall(b"question")
                assert accepted.recv(100) == b"question"
                accepted.sendall(b"answer")
                assert asking.recv(100) == b"answer"

        for step, by_rules in (
            (site.set_up_tproxy, False),
            (site.set_up_rules, False),
            (site.remove_tproxy, True),
        ):
            step()
            open_connections()
            all_are_open()
            assert bool(site.lookups()) is by_rules


def test_the_rules_leave_what_is_not_local(site: Site) -> None:
    """The limit that the document names: TPROXY takes what only passes through."""
    site.set_up_tproxy()
    site.set_up_rules()
    ip(site.hosts.server, "route del local 192.0.2.0/24 dev lo")
    assert not is_local(site.hosts.server, "192.0.2.0/24")
    assert site.delivered("tcp", "192.0.2.7", 80) == (("192.0.2.7", 80), True)
    site.remove_tproxy()
    assert site.delivered("tcp", "192.0.2.7", 80, expected=False) is None
    assert site.delivered("tcp", "2001:db8:1::7", 80) == (("2001:db8:1::7", 80), True)
    assert len(query(site.hosts.server)) == 1


def _proxy(address: str, kind: socket.SocketKind) -> socket.socket:
    sock = socket.socket(socket.AF_INET6 if ":" in address else socket.AF_INET, kind)
    try:
        _make_transparent(sock)
        if kind == socket.SOCK_DGRAM:
            if sock.family == socket.AF_INET6:
                sock.setsockopt(socket.IPPROTO_IPV6, IPV6_RECVORIGDSTADDR, 1)
            else:
                sock.setsockopt(socket.IPPROTO_IP, IP_RECVORIGDSTADDR, 1)
        sock.bind((address, 8080))
        if kind == socket.SOCK_STREAM:
            sock.listen()
    except BaseException:
        sock.close()
        raise
    return sock


def _make_transparent(sock: socket.socket) -> None:
    if sock.family == socket.AF_INET6:
        sock.setsockopt(socket.IPPROTO_IPV6, IPV6_TRANSPARENT, 1)
    else:
        sock.setsockopt(socket.IPPROTO_IP, IP_TRANSPARENT, 1)


def _asking(kind: Kind, address: str, source: str | None) -> socket.socket:
    sock = socket.socket(
        socket.AF_INET6 if ":" in address else socket.AF_INET,
        socket.SOCK_STREAM if kind == "tcp" else socket.SOCK_DGRAM,
    )
    # Without a source of its own it is the client's first address.
    if source is not None or sock.family == socket.AF_INET:
        sock.bind((source or CLIENT_V4, 0))
    return sock
