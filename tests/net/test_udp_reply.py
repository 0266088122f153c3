"""UDP answers come from where the question was sent to, over real packets between two hosts."""

from __future__ import annotations

import contextlib
import socket
import threading
from collections.abc import Iterator

import pytest

from inet_lookup.errors import SocketError
from inet_lookup.net.namespaces import Namespace
from inet_lookup.net.udp_reply import UdpReplies
from support.networks import TwoHosts
from support.steering import steer_everything

pytestmark = pytest.mark.kernel


def udp_socket(
    namespace: Namespace, address: str, port: int, *, v6only: bool = False, reuse: bool = False
) -> socket.socket:
    def make() -> socket.socket:
        family = socket.AF_INET6 if ":" in address else socket.AF_INET
        sock = socket.socket(family, socket.SOCK_DGRAM)
        if family == socket.AF_INET6:
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, v6only)
        if reuse:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        sock.bind((address, port))
        sock.settimeout(5)
        return sock

    return namespace.run(make)


@contextlib.contextmanager
def answering(
    namespace: Namespace, sock: socket.socket, *, capacity: int = 512
) -> Iterator[UdpReplies]:
    """Answer datagrams with what they say about themselves, until one says ``end``."""
    with namespace.run(UdpReplies, sock, capacity=capacity) as replies:

        def serve() -> None:
            while True:
                datagram = replies.receive()
                if datagram.data == b"end":
                    return
                address, port = datagram.destination
                replies.send(f"{datagram.data.decode()} at {address} {port}".encode(), datagram)

        thread = threading.Thread(target=namespace.run, args=(serve,))
        thread.start()
        try:
            yield replies
        finally:
            with udp_socket(namespace, "::", 0) as stop:
                port = sock.getsockname()[1]
                # To the socket itself: steering, where there is any, agrees.
                local = "::1" if sock.family == socket.AF_INET6 else "::ffff:127.0.0.1"
                stop.sendto(b"end", (local, port))
            thread.join()


def question(hosts: TwoHosts, address: str, port: int, text: str = "hi") -> str:
    """Ask, by a socket that takes an answer only from where the question went."""

    def ask() -> str:
        family = socket.AF_INET6 if ":" in address else socket.AF_INET
        with socket.socket(family, socket.SOCK_DGRAM) as sock:
            sock.settimeout(5)
            sock.connect((address, port))
            sock.send(text.encode())
            return sock.recv(1000).decode()

    return hosts.client.run(ask)


@pytest.mark.parametrize(
    ("bound", "asked"),
    [
        ("0.0.0.0", "192.0.2.77"),
        ("0.0.0.0", "203.0.113.1"),
        ("::", "2001:db8:1:2::3"),
        ("::", "198.51.100.9"),
    ],
)
@pytest.mark.parametrize("port", [5353, 53, 60000])
def test_an_answer_comes_from_the_address_and_port_that_were_asked(
    two_hosts: TwoHosts, bound: str, asked: str, port: int
) -> None:
    with (
        udp_socket(two_hosts.server, bound, 5353) as sock,
        steer_everything(two_hosts.server, sock),
        answering(two_hosts.server, sock),
    ):
        assert question(two_hosts, asked, port) == f"hi at {asked} {port}"


@pytest.mark.parametrize(("bound", "asked"), [("127.0.0.1", "192.0.2.1"), ("::1", "2001:db8:2::1")])
def test_a_socket_bound_to_an_internal_address_answers_from_the_one_asked(
    two_hosts: TwoHosts, bound: str, asked: str
) -> None:
    with (
        udp_socket(two_hosts.server, bound, 53, v6only=True) as sock,
        steer_everything(two_hosts.server, sock),
        answering(two_hosts.server, sock),
    ):
        assert question(two_hosts, asked, 53) == f"hi at {asked} 53"


def test_sockets_to_answer_from_are_kept_and_the_least_recently_used_makes_room(
    two_hosts: TwoHosts,
) -> None:
    with (
        udp_socket(two_hosts.server, "0.0.0.0", 5353) as sock,
        steer_everything(two_hosts.server, sock),
        answering(two_hosts.server, sock, capacity=2) as replies,
    ):
        for port in (1, 2, 1, 3, 1, 2):
            assert question(two_hosts, "192.0.2.1", port) == f"hi at 192.0.2.1 {port}"
        assert repr(replies) == "<UdpReplies port 5353, 2 further sockets>"


def test_sockets_to_answer_from_take_no_datagrams_when_nothing_steers_any_more(
    two_hosts: TwoHosts,
) -> None:
    with (
        udp_socket(two_hosts.server, "0.0.0.0", 5353) as sock,
        answering(two_hosts.server, sock) as replies,
        udp_socket(two_hosts.server, "0.0.0.0", 53, reuse=True) as other,
    ):
        with steer_everything(two_hosts.server, sock):
            assert question(two_hosts, "192.0.2.1", 53) == "hi at 192.0.2.1 53"
        assert "1 further" in repr(replies)
        with udp_socket(two_hosts.client, "0.0.0.0", 0) as client:
            client.sendto(b"to the other", ("192.0.2.1", 53))
            assert other.recv(100) == b"to the other"


def test_a_port_that_another_socket_holds_alone_cannot_be_answered_from(
    two_hosts: TwoHosts,
) -> None:
    with (
        udp_socket(two_hosts.server, "0.0.0.0", 5353) as sock,
        udp_socket(two_hosts.server, "0.0.0.0", 53),
        steer_everything(two_hosts.server, sock),
        two_hosts.server.run(UdpReplies, sock) as replies,
        udp_socket(two_hosts.client, "0.0.0.0", 0) as client,
    ):
        client.sendto(b"hi", ("192.0.2.1", 53))
        datagram = replies.receive()
        with pytest.raises(SocketError, match=r"answer from udp 192\.0\.2\.1:53: another socket"):
            two_hosts.server.run(replies.send, b"hello", datagram)


def test_a_datagram_says_where_it_came_from_and_by_which_interface(two_hosts: TwoHosts) -> None:
    interface = two_hosts.server.run(socket.if_nametoindex, "eth0")
    for bound, asked, source in (
        ("0.0.0.0", "192.0.2.1", "203.0.113.2"),
        ("::", "2001:db8:1::1", "2001:db8:ffff::2"),
    ):
        with (
            udp_socket(two_hosts.server, bound, 53) as sock,
            two_hosts.server.run(UdpReplies, sock) as replies,
            udp_socket(two_hosts.client, bound, 0) as client,
        ):
            client.sendto(b"hi", (asked, 53))
            datagram = replies.receive()
            assert datagram.data == b"hi"
            assert datagram.source[:2] == (source, client.getsockname()[1])
            assert datagram.destination == (asked, 53)
            assert datagram.interface == interface


def test_a_socket_of_another_namespace_is_refused(netns: Namespace) -> None:
    with (
        udp_socket(netns, "127.0.0.1", 53) as sock,
        pytest.raises(SocketError, match="another network namespace"),
    ):
        UdpReplies(sock)


def test_a_socket_that_is_not_bound_is_refused() -> None:
    with (
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock,
        pytest.raises(SocketError, match="not a bound UDP socket"),
    ):
        UdpReplies(sock)


def test_answering_after_close_is_refused(netns: Namespace) -> None:
    with udp_socket(netns, "127.0.0.1", 53) as sock:
        replies = netns.run(UdpReplies, sock)
        sock.sendto(b"self", ("127.0.0.1", 53))
        datagram = replies.receive()
        replies.close()
        with pytest.raises(ValueError, match="closed"):
            replies.send(b"hello", datagram)
