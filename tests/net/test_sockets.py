"""Sockets are described as the kernel sees them, and those unfit for steering are refused."""

from __future__ import annotations

import os
import socket
import struct
from collections.abc import Callable, Iterator
from contextlib import ExitStack

import pytest

from inet_lookup.bpf import Map, MapType
from inet_lookup.errors import KernelError, SocketError
from inet_lookup.net.namespaces import Namespace
from inet_lookup.net.sockets import SocketInfo, SocketState, describe, require_fit, unfitness

pytestmark = pytest.mark.kernel

MPTCP = 262
UDPLITE = 136

Make = Callable[..., socket.socket]


@pytest.fixture
def make(netns: Namespace) -> Iterator[Make]:
    """Make sockets in a namespace: ``make(family, type, protocol, bind=…, listen=…, peer=…)``."""
    with ExitStack() as stack:

        def make(
            family: int,
            kind: int,
            protocol: int = 0,
            *,
            bind: tuple[str, int] | None = None,
            listen: bool = False,
            peer: tuple[str, int] | None = None,
            v6only: bool = False,
            reuseport: bool = False,
        ) -> socket.socket:
            sock = stack.enter_context(netns.run(socket.socket, family, kind, protocol))
            if family == socket.AF_INET6:
                sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, v6only)
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, reuseport)
            if bind:
                sock.bind(bind)
            if listen:
                sock.listen()
            if peer:
                sock.connect(peer)
            return sock

        yield make


def test_a_tcp_listener(make: Make, netns: Namespace) -> None:
    sock = make(socket.AF_INET, socket.SOCK_STREAM, bind=("127.0.0.1", 80), listen=True)
    info = describe(sock)
    assert info == SocketInfo(
        family=socket.AF_INET,
        protocol="tcp",
        address="127.0.0.1",
        port=80,
        state=SocketState.LISTENING,
        cookie=struct.unpack("=Q", sock.getsockopt(socket.SOL_SOCKET, 57, 8))[0],
        inode=os.fstat(sock.fileno()).st_ino,
        v6only=False,
        reuseport=False,
        netns_cookie=netns.cookie,
    )
    assert str(info) == "tcp 127.0.0.1:80 (listening)"
    assert describe(sock.fileno()) == info


def test_a_udp_socket_of_ipv6_only_in_a_reuseport_group(make: Make) -> None:
    info = describe(
        make(socket.AF_INET6, socket.SOCK_DGRAM, bind=("::1", 53), v6only=True, reuseport=True)
    )
    assert (info.family, info.v6only, info.reuseport) == (socket.AF_INET6, True, True)
    assert str(info) == "udp [::1]:53 (bound)"


def test_an_ipv6_socket_that_takes_ipv4_too(make: Make) -> None:
    info = describe(make(socket.AF_INET6, socket.SOCK_STREAM, bind=("::", 80), listen=True))
    assert not info.v6only


@pytest.mark.parametrize(
    ("kind", "setup", "state"),
    [
        (socket.SOCK_STREAM, {}, SocketState.UNBOUND),
        (socket.SOCK_STREAM, {"bind": ("127.0.0.1", 7)}, SocketState.BOUND),
        (socket.SOCK_STREAM, {"bind": ("127.0.0.1", 7), "listen": True}, SocketState.LISTENING),
        (socket.SOCK_DGRAM, {}, SocketState.UNBOUND),
        (socket.SOCK_DGRAM, {"bind": ("127.0.0.1", 7)}, SocketState.BOUND),
        (socket.SOCK_DGRAM, {"peer": ("127.0.0.1", 7)}, SocketState.CONNECTED),
    ],
)
def test_the_state_of_a_socket(
    make: Make, kind: int, setup: dict[str, object], state: SocketState
) -> None:
    assert describe(make(socket.AF_INET, kind, **setup)).state is state


def test_both_ends_of_a_connection_are_connected(make: Make) -> None:
    listener = make(socket.AF_INET, socket.SOCK_STREAM, bind=("127.0.0.1", 80), listen=True)
    client = make(socket.AF_INET, socket.SOCK_STREAM, peer=("127.0.0.1", 80))
    accepted, _ = listener.accept()
    with accepted:
        assert describe(client).state is SocketState.CONNECTED
        assert describe(accepted).state is SocketState.CONNECTED


def test_describing_does_not_change_the_socket(make: Make) -> None:
    sock = make(socket.AF_INET, socket.SOCK_STREAM, bind=("127.0.0.1", 80), listen=True)
    socket.setdefaulttimeout(5)
    try:
        describe(sock.fileno())
    finally:
        socket.setdefaulttimeout(None)
    assert os.get_blocking(sock.fileno())


def test_what_is_no_internet_socket_is_refused() -> None:
    with socket.socket(socket.AF_UNIX) as unix:
        with pytest.raises(SocketError, match="is a socket of the family AF_UNIX"):
            describe(unix)
        number = unix.fileno()
    with pytest.raises(SocketError, match=r"^the socket is closed$"):
        describe(unix)
    with pytest.raises(SocketError, match=rf"^file descriptor {number} is closed$"):
        describe(number)
    with open("/dev/null") as file, pytest.raises(SocketError, match="is not a socket"):
        describe(file)


# Each: family, type, protocol, setup, and the reason for which it is unfit, or None.
CASES = [
    (socket.AF_INET, socket.SOCK_STREAM, 0, {"bind": ("127.0.0.1", 7), "listen": True}, None),
    (socket.AF_INET6, socket.SOCK_STREAM, 0, {"bind": ("::", 7), "listen": True}, None),
    (socket.AF_INET, socket.SOCK_DGRAM, 0, {"bind": ("127.0.0.1", 7)}, None),
    (socket.AF_INET6, socket.SOCK_DGRAM, 0, {"bind": ("::", 7)}, None),
    (socket.AF_INET, socket.SOCK_STREAM, 0, {}, "it does not listen"),
    (socket.AF_INET, socket.SOCK_STREAM, 0, {"bind": ("127.0.0.1", 7)}, "it does not listen"),
    (
        socket.AF_INET,
        socket.SOCK_STREAM,
        MPTCP,
        {"bind": ("127.0.0.1", 7), "listen": True},
        "it is a Multipath TCP socket, which the kernel does not steer to",
    ),
]


@pytest.mark.parametrize(("family", "kind", "protocol", "setup", "reason"), CASES)
def test_the_kernel_takes_the_fit_sockets_and_only_those(
    make: Make, family: int, kind: int, protocol: int, setup: dict[str, object], reason: str | None
) -> None:
    try:
        sock = make(family, kind, protocol, **setup)
    except OSError as error:
        pytest.skip(f"this kernel has no such sockets: {error}")
    found = unfitness(describe(sock))
    assert (found[0] if found else None) == reason
    with Map.create(MapType.SOCKMAP, key_size=4, value_size=8, max_entries=1) as slots:
        key, value = struct.pack("=I", 0), struct.pack("=Q", sock.fileno())
        if reason is None:
            slots.update(key, value)
        else:
            with pytest.raises(KernelError):
                slots.update(key, value)


def test_a_connected_udp_socket_is_unfit(make: Make) -> None:
    info = describe(make(socket.AF_INET, socket.SOCK_DGRAM, peer=("127.0.0.1", 7)))
    with pytest.raises(SocketError) as caught:
        require_fit(info, where="of process 1 (named)")
    assert caught.value.message == (
        f"cannot steer traffic to udp 127.0.0.1:{info.port} of process 1 (named): "
        "it is connected to one peer"
    )
    assert caught.value.hint == "name a UDP socket on which connect() was not called"


def test_a_udp_socket_without_a_port_and_another_protocol_are_unfit(make: Make) -> None:
    with pytest.raises(SocketError, match="it is not bound"):
        require_fit(describe(make(socket.AF_INET, socket.SOCK_DGRAM)))
    try:
        lite = make(socket.AF_INET, socket.SOCK_DGRAM, UDPLITE, bind=("127.0.0.1", 7))
    except OSError:
        return  # removed from newer kernels
    with pytest.raises(SocketError, match="its protocol is udplite"):
        require_fit(describe(lite))
