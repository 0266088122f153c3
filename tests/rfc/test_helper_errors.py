"""What the helper answers, each answer provoked by a packet, and none of them drops a packet."""

from __future__ import annotations

import errno
import socket
from collections.abc import Callable

import pytest

from inet_lookup.net import Namespace
from inet_lookup.rfc import BPF_REDIRECT
from support.rfc_programs import EXTERNAL_PORT, attached_selecting
from support.servers import Start, who_answers
from support.taking import take_socket

pytestmark = pytest.mark.kernel

Make = Callable[..., socket.socket]


@pytest.fixture
def make(host: Namespace) -> Make:
    """``make("tcp", "127.0.0.2")``: a listening TCP or bound UDP socket of the namespace."""

    def make(protocol: str, address: str, *, v6only: bool = False) -> socket.socket:
        def bound() -> socket.socket:
            family = socket.AF_INET6 if ":" in address else socket.AF_INET
            kind = socket.SOCK_STREAM if protocol == "tcp" else socket.SOCK_DGRAM
            sock = socket.socket(family, kind)
            if family == socket.AF_INET6:
                sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, v6only)
            sock.bind((address, 0))
            if protocol == "tcp":
                sock.listen()
            return sock

        return host.run(bound)

    return make


def regular_server_answers(host: Namespace, echo_server: Start, protocol: str, to: str) -> None:
    """Send a packet that the program sees, to where a server is bound in the regular way."""
    echo_server(host, protocol, to, EXTERNAL_PORT, name="regular")
    assert who_answers(host, protocol, to, EXTERNAL_PORT) == "regular"


def test_flags_are_invalid(host: Namespace, echo_server: Start, make: Make, language: str) -> None:
    with (
        make("tcp", "127.0.0.2") as sock,
        attached_selecting(language, host, flags=1) as attached,
    ):
        attached.put(0, sock)
        regular_server_answers(host, echo_server, "tcp", "127.0.0.1")
        assert attached.results()[0] == -errno.EINVAL


def test_flags_beyond_32_bits_are_invalid(
    host: Namespace, echo_server: Start, make: Make, language: str
) -> None:
    with (
        make("tcp", "127.0.0.2") as sock,
        attached_selecting(language, host, flags=1 << 32) as attached,
    ):
        attached.put(0, sock)
        regular_server_answers(host, echo_server, "tcp", "127.0.0.1")
        assert attached.results()[0] == -errno.EINVAL


def test_an_empty_slot_has_no_entry(host: Namespace, echo_server: Start, language: str) -> None:
    with attached_selecting(language, host) as attached:
        regular_server_answers(host, echo_server, "tcp", "127.0.0.1")
        assert attached.results()[0] == -errno.ENOENT


@pytest.mark.parametrize("protocol", ["tcp", "udp"])
def test_a_socket_that_was_closed_is_no_entry(
    host: Namespace, echo_server: Start, make: Make, language: str, protocol: str
) -> None:
    with attached_selecting(language, host) as attached:
        with make(protocol, "127.0.0.2") as sock:
            attached.put(0, sock)
        regular_server_answers(host, echo_server, protocol, "127.0.0.1")
        assert attached.results()[0] == -errno.ENOENT


@pytest.mark.parametrize(("packet", "of_socket"), [("udp", "tcp"), ("tcp", "udp")])
def test_a_socket_of_another_protocol_is_of_the_wrong_type(
    host: Namespace, echo_server: Start, make: Make, language: str, packet: str, of_socket: str
) -> None:
    with make(of_socket, "127.0.0.2") as sock, attached_selecting(language, host) as attached:
        attached.put(0, sock)
        regular_server_answers(host, echo_server, packet, "127.0.0.1")
        assert attached.results()[0] == -errno.EPROTOTYPE


@pytest.mark.parametrize("protocol", ["tcp", "udp"])
@pytest.mark.parametrize(
    ("external", "internal", "v6only"),
    [
        pytest.param("fd00::1", "127.0.0.2", False, id="IPv4 socket, IPv6 packet"),
        pytest.param("127.0.0.1", "fd00::2", True, id="V6ONLY socket, IPv4 packet"),
        pytest.param("127.0.0.1", "::", True, id="V6ONLY socket on any address, IPv4 packet"),
    ],
)
def test_a_socket_that_does_not_take_the_family_is_not_supported(
    host: Namespace,
    echo_server: Start,
    make: Make,
    language: str,
    protocol: str,
    external: str,
    internal: str,
    v6only: bool,
) -> None:
    with (
        make(protocol, internal, v6only=v6only) as sock,
        attached_selecting(language, host) as attached,
    ):
        attached.put(0, sock)
        regular_server_answers(host, echo_server, protocol, external)
        assert attached.results()[0] == -errno.EAFNOSUPPORT


def test_a_udp_socket_connected_since_is_refused_by_the_kernels_of_today(
    host: Namespace, echo_server: Start, make: Make, language: str
) -> None:
    """The one answer that the RFC does not have."""
    with make("udp", "127.0.0.2") as sock, attached_selecting(language, host) as attached:
        attached.put(0, sock)
        host.run(sock.connect, ("127.0.0.9", 9))
        regular_server_answers(host, echo_server, "udp", "127.0.0.1")
        assert attached.results()[0] == -errno.ESOCKTNOSUPPORT


def test_success_is_the_verdict_redirect(
    host: Namespace, echo_server: Start, language: str
) -> None:
    server = echo_server(host, "tcp", "127.0.0.2", 8008)
    with take_socket(server) as sock, attached_selecting(language, host) as attached:
        attached.put(0, sock)
        assert who_answers(host, "tcp", "127.0.0.1", EXTERNAL_PORT) == server.name
        assert attached.results()[0] == BPF_REDIRECT
