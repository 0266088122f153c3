"""What is established goes on, whatever is attached, replaced and detached meanwhile."""

from __future__ import annotations

import contextlib
import socket
import subprocess
import threading
from collections import Counter
from collections.abc import Iterator
from ipaddress import ip_address

import pytest

from inet_lookup import (
    DROP,
    IPPROTO_TCP,
    PASS,
    Context,
    SockArray,
    Verdict,
    attach,
    program,
    query,
)
from inet_lookup.errors import CompileError
from inet_lookup.net import Namespace
from support.downloads import download, download_server
from support.networks import CLIENT_V4, CLIENT_V6, TwoHosts
from support.servers import Protocol, Start, ask, who_answers
from support.taking import Take

pytestmark = pytest.mark.kernel

PORT = 80
REPLACEMENTS = 100

each_family = pytest.mark.parametrize(
    ("external", "fixed", "internal"),
    [("192.0.2.1", "192.0.2.9", "127.0.0.2"), ("2001:db8:1::1", "2001:db8:1::9", "::1")],
    ids=["IPv4", "IPv6"],
)
each_protocol = pytest.mark.parametrize("protocol", ["tcp", "udp"])


@program
def drop_all(ctx: Context) -> Verdict:
    return DROP


@each_family
def test_a_download_goes_on_over_a_hundred_replacements_and_none_is_misdirected(
    two_hosts: TwoHosts, echo_server: Start, take: Take, external: str, fixed: str, internal: str
) -> None:
    """No server is bound to the port asked: were there a gap, a connection would be refused."""
    servers, downloads = SockArray(max_entries=3), SockArray(max_entries=1)
    for index, name in enumerate(("even", "odd", "fixed")):
        servers[index] = take(echo_server(two_hosts.server, "tcp", internal, name=name))
    fixed_ip = ip_address(fixed)

    @program
    def to_downloads(ctx: Context) -> Verdict:
        return downloads.redirect(ctx, 0)

    @program
    def to_even(ctx: Context) -> Verdict:
        return servers.redirect(ctx, 2 if ctx.local_ip == fixed_ip else 0)

    @program
    def to_odd(ctx: Context) -> Verdict:
        return servers.redirect(ctx, 2 if ctx.local_ip == fixed_ip else 1)

    with (
        download_server(two_hosts.server, internal) as source,
        source.take() as downloads[0],
        attach(to_downloads, two_hosts.server) as link,
        download(two_hosts.client, external, PORT) as numbers,
    ):
        numbers.read(20_000)
        link.replace(to_even)
        with (
            asking_meanwhile(two_hosts.client, fixed) as of_fixed,
            asking_meanwhile(two_hosts.client, external) as of_either,
        ):
            for number in range(REPLACEMENTS):
                name, replacement = ("even", to_even) if number % 2 == 0 else ("odd", to_odd)
                link.replace(replacement)
                assert who_answers(two_hosts.client, "tcp", external, PORT) == name
                numbers.read(20_000)
        assert set(of_fixed) == {"fixed"}
        assert set(of_either) == {"even", "odd"}
        assert min(of_fixed.total(), of_either.total()) > REPLACEMENTS
        link.detach()
        assert who_answers(two_hosts.client, "tcp", external, PORT) == "refused"
        numbers.read(1_000_000)


@contextlib.contextmanager
def asking_meanwhile(client: Namespace, address: str) -> Iterator[Counter[str]]:
    """Open one connection after the other in a thread, and count who answers."""
    answers: Counter[str] = Counter()
    end = threading.Event()

    def keep_asking() -> None:
        while not end.is_set():
            try:
                answers[ask_here(address)] += 1
            except OSError as error:
                answers[repr(error)] += 1

    thread = threading.Thread(target=client.run, args=(keep_asking,))
    thread.start()
    try:
        yield answers
    finally:
        end.set()
        thread.join()


def ask_here(address: str) -> str:
    with socket.create_connection((address, PORT), timeout=5) as connection:
        connection.send(b"hello\n")
        return connection.recv(1000).decode().split('"')[3]


@each_family
def test_a_download_through_the_regular_lookup_goes_on_under_any_program(
    two_hosts: TwoHosts, external: str, fixed: str, internal: str
) -> None:
    with (
        download_server(two_hosts.server, "::" if ":" in external else "0.0.0.0") as source,
        download(two_hosts.client, external, source.port) as numbers,
    ):
        for _ in range(10):
            numbers.read(20_000)
            with attach(drop_all, two_hosts.server):
                numbers.read(20_000)
                with pytest.raises(ConnectionRefusedError):
                    ask(two_hosts.client, "tcp", external, source.port)
        with download(two_hosts.client, external, source.port) as another:
            another.read(20_000)


def test_a_download_goes_on_when_its_listener_is_steered_to_no_more(two_hosts: TwoHosts) -> None:
    downloads = SockArray(max_entries=1)

    @program
    def to_downloads(ctx: Context) -> Verdict:
        return downloads.redirect(ctx, 0, otherwise=DROP)

    with (
        download_server(two_hosts.server, "127.0.0.1") as source,
        source.take() as downloads[0],
        attach(to_downloads, two_hosts.server),
        download(two_hosts.client, "192.0.2.1", PORT) as numbers,
    ):
        del downloads[0]
        assert who_answers(two_hosts.client, "tcp", "192.0.2.1", PORT) == "refused"
        numbers.read(1_000_000)


@each_protocol
def test_a_replacement_that_fails_leaves_what_runs(
    two_hosts: TwoHosts, echo_server: Start, take: Take, protocol: Protocol
) -> None:
    servers = SockArray(max_entries=1)
    servers[0] = take(echo_server(two_hosts.server, protocol, "127.0.0.1", name="steered"))

    @program
    def steer(ctx: Context) -> Verdict:
        return servers.redirect(ctx, 0)

    @program
    def unfinished(ctx: Context) -> Verdict:
        return DROP if ctx.local_port == port_that_nobody_defined else PASS  # noqa: F821

    with attach(steer, two_hosts.server) as link:
        before = query(two_hosts.server)
        with pytest.raises(CompileError, match="port_that_nobody_defined"):
            link.replace(unfinished)
        assert query(two_hosts.server) == before
        assert who_answers(two_hosts.client, protocol, "192.0.2.1", PORT) == "steered"


def test_datagrams_follow_each_replacement_at_once(
    two_hosts: TwoHosts, echo_server: Start, take: Take
) -> None:
    """An unconnected UDP socket has no connections: every datagram is looked up anew."""
    servers = SockArray(max_entries=2)
    for index, name in enumerate("ab"):
        servers[index] = take(echo_server(two_hosts.server, "udp", "127.0.0.1", name=name))

    @program
    def to_a(ctx: Context) -> Verdict:
        return servers.redirect(ctx, 0)

    @program
    def to_b(ctx: Context) -> Verdict:
        return servers.redirect(ctx, 1)

    with (
        attach(to_a, two_hosts.server) as link,
        two_hosts.client.run(socket.socket, socket.AF_INET, socket.SOCK_DGRAM) as flow,
    ):
        flow.settimeout(5)
        flow.connect(("192.0.2.1", PORT))
        for number in range(REPLACEMENTS):
            name, replacement = ("b", to_b) if number % 2 == 0 else ("a", to_a)
            link.replace(replacement)
            flow.send(b"hello")
            assert flow.recv(1000).startswith(f'{{"server": "{name}"'.encode())


def test_a_client_that_comes_back_from_the_same_port_is_steered_anew(two_hosts: TwoHosts) -> None:
    """The SYN meets the old connection in TIME_WAIT, and the kernel looks for a listener then."""
    listeners = SockArray(max_entries=2)

    @program
    def to_first(ctx: Context) -> Verdict:
        return listeners.redirect(ctx, 0)

    @program
    def to_second(ctx: Context) -> Verdict:
        return listeners.redirect(ctx, 1)

    def connect() -> socket.socket:
        source = (CLIENT_V4, 40_000)
        return socket.create_connection(("192.0.2.1", PORT), timeout=5, source_address=source)

    with (
        two_hosts.server.run(socket.create_server, ("127.0.0.1", 0)) as first,
        two_hosts.server.run(socket.create_server, ("127.0.0.1", 0)) as second,
        attach(to_first, two_hosts.server) as link,
    ):
        for index, listener in enumerate((first, second)):
            listener.settimeout(5)
            listeners[index] = listener
        with two_hosts.client.run(connect) as old:
            first.accept()[0].close()
            assert old.recv(1) == b""
        assert "TIME-WAIT" in tcp_sockets(two_hosts.server)
        link.replace(to_second)
        with two_hosts.client.run(connect) as new:
            accepted, _ = second.accept()
            with accepted:
                assert accepted.getpeername() == new.getsockname()


def tcp_sockets(namespace: Namespace) -> str:
    """What ss(8) shows: the state, addresses and ports of each."""
    with namespace.popen(["ss", "-tan4"], stdout=subprocess.PIPE, text=True) as process:
        return process.stdout.read()


@pytest.mark.parametrize(
    ("local", "peer"), [("192.0.2.1", CLIENT_V4), ("2001:db8:1::1", CLIENT_V6)]
)
def test_a_connected_udp_socket_keeps_its_peer_and_others_are_steered(
    two_hosts: TwoHosts, echo_server: Start, take: Take, local: str, peer: str
) -> None:
    """The look-up of connected sockets comes before the programs."""
    servers = SockArray(max_entries=1)
    servers[0] = take(echo_server(two_hosts.server, "udp", "::", v6only=False, name="steered"))
    peer_port = 40_000

    @program
    def steer(ctx: Context) -> Verdict:
        return PASS if ctx.protocol == IPPROTO_TCP else servers.redirect(ctx, 0)

    with (
        two_hosts.server.run(udp_pair, (local, PORT), (peer, peer_port)) as server_side,
        two_hosts.client.run(udp_pair, (peer, peer_port), (local, PORT)) as client_side,
    ):
        for each in (steer, drop_all):
            with attach(each, two_hosts.server):
                for question in (b"one", b"two"):
                    client_side.send(question)
                    assert server_side.recv(100) == question
                    server_side.send(question.upper())
                    assert client_side.recv(100) == question.upper()
                reached = who_answers(two_hosts.client, "udp", local, PORT)
                assert reached == ("steered" if each is steer else "refused")


def udp_pair(own: tuple[str, int], other: tuple[str, int]) -> socket.socket:
    """A UDP socket bound to one address and connected to another."""
    family = socket.AF_INET6 if ":" in own[0] else socket.AF_INET
    sock = socket.socket(family, socket.SOCK_DGRAM)
    sock.settimeout(5)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    if family == socket.AF_INET6:
        sock.setsockopt(socket.IPPROTO_IPV6, 78, 1)  # IPV6_FREEBIND, linux/in6.h
    sock.bind(own)
    sock.connect(other)
    return sock
