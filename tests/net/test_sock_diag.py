"""The kernel's list of sockets agrees with what the sockets say of themselves."""

from __future__ import annotations

import contextlib
import os
import socket

import pytest

from inet_lookup.net.namespaces import Namespace
from inet_lookup.net.sock_diag import ListedSocket, list_sockets
from inet_lookup.net.sockets import SocketState, TransportProtocol, describe

pytestmark = pytest.mark.kernel


def bound(
    family: int, kind: int, address: str, port: int, *, v6only: bool = False
) -> socket.socket:
    sock = socket.socket(family, kind)
    if family == socket.AF_INET6:
        sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, v6only)
    sock.bind((address, port))
    if kind == socket.SOCK_STREAM:
        sock.listen()
    return sock


@pytest.mark.parametrize(
    ("protocol", "kind"), [("tcp", socket.SOCK_STREAM), ("udp", socket.SOCK_DGRAM)]
)
def test_every_socket_is_listed_as_it_describes_itself(
    netns: Namespace, protocol: TransportProtocol, kind: int
) -> None:
    with (
        netns.run(bound, socket.AF_INET, kind, "127.0.0.1", 80) as a,
        netns.run(bound, socket.AF_INET, kind, "0.0.0.0", 81) as b,
        netns.run(bound, socket.AF_INET6, kind, "::1", 82) as c,
        netns.run(bound, socket.AF_INET6, kind, "::", 83, v6only=True) as d,
    ):
        expected = set()
        for sock in (a, b, c, d):
            info = describe(sock)
            expected.add(
                ListedSocket(
                    family=info.family,
                    protocol=protocol,
                    address=info.address,
                    port=info.port,
                    state=info.state,
                    interface=0,
                    v6only=info.v6only,
                    cookie=info.cookie,
                    inode=info.inode,
                    uid=os.getuid(),
                )
            )
        assert set(netns.run(list_sockets, protocol)) == expected


def test_only_listening_tcp_sockets_are_listed(netns: Namespace) -> None:
    with (
        netns.run(socket.create_server, ("127.0.0.1", 80)) as listener,
        netns.run(socket.create_connection, ("127.0.0.1", 80)),
        listener.accept()[0],
    ):
        (found,) = netns.run(list_sockets, "tcp")
        assert found.endpoint == "tcp 127.0.0.1:80"
        assert found.state is SocketState.LISTENING


def test_a_connected_udp_socket_is_listed_as_such(netns: Namespace) -> None:
    with netns.run(bound, socket.AF_INET, socket.SOCK_DGRAM, "127.0.0.1", 53) as sock:
        sock.connect(("127.0.0.1", 54))
        (found,) = netns.run(list_sockets, "udp")
        assert found.state is SocketState.CONNECTED


def test_the_interface_that_a_socket_is_bound_to_is_listed(netns: Namespace) -> None:
    with netns.run(bound, socket.AF_INET, socket.SOCK_DGRAM, "127.0.0.1", 53) as sock:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_BINDTODEVICE, b"lo")
        (found,) = netns.run(list_sockets, "udp")
        assert found.interface == 1


def test_an_empty_namespace_has_an_empty_list(netns: Namespace) -> None:
    assert netns.run(list_sockets, "tcp") == []
    assert netns.run(list_sockets, "udp") == []


def test_a_list_longer_than_a_message_is_read_to_its_end(netns: Namespace) -> None:
    def open_many() -> None:
        with contextlib.ExitStack() as stack:
            ports = set(range(10000, 10800))
            for port in ports:
                stack.enter_context(bound(socket.AF_INET, socket.SOCK_DGRAM, "127.0.0.1", port))
            assert {found.port for found in list_sockets("udp")} == ports

    netns.run(open_many)
