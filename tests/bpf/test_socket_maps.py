from __future__ import annotations

import contextlib
import socket
import struct
from collections.abc import Iterator

import pytest

from inet_lookup.bpf import Map, MapType
from inet_lookup.errors import CapacityError, KernelError, SocketError, SocketRefusedError
from inet_lookup.net.namespaces import Namespace
from support.lookups import cookie_of

pytestmark = pytest.mark.kernel

KEPT = (MapType.SOCKMAP, MapType.SOCKHASH)
ALL = (*KEPT, MapType.REUSEPORT_SOCKARRAY)


def make(type: MapType, value_size: int = 8, max_entries: int = 2) -> Map:
    return Map.create(
        type, key_size=4, value_size=value_size, max_entries=max_entries, name="servers"
    )


@contextlib.contextmanager
def bound(
    netns: Namespace, kind: socket.SocketKind, *, listening: bool = True, reuse_port: bool = True
) -> Iterator[socket.socket]:
    def open_socket() -> socket.socket:
        made = socket.socket(socket.AF_INET, kind)
        if reuse_port:
            made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        made.bind(("127.0.0.1", 0))
        if kind == socket.SOCK_STREAM and listening:
            made.listen()
        return made

    with netns.run(open_socket) as made:
        yield made


@pytest.mark.parametrize("type", ALL)
@pytest.mark.parametrize("kind", [socket.SOCK_STREAM, socket.SOCK_DGRAM])
def test_slot_answers_with_the_cookie_of_its_socket(
    netns: Namespace, type: MapType, kind: socket.SocketKind
) -> None:
    with make(type) as servers, bound(netns, kind) as server:
        assert servers.lookup(0) is None
        servers.update(0, server.fileno())
        assert servers.lookup(0) == struct.pack("=Q", cookie_of(server))
        assert servers.delete(0)
        assert not servers.delete(0)
        assert servers.lookup(0) is None


@pytest.mark.parametrize("type", ALL)
def test_closed_socket_leaves_the_map(netns: Namespace, type: MapType) -> None:
    with make(type) as servers:
        with bound(netns, socket.SOCK_STREAM) as server:
            servers.update(0, server.fileno())
        assert servers.lookup(0) is None


@pytest.mark.parametrize("type", ALL)
def test_small_values_can_be_written_and_not_read(netns: Namespace, type: MapType) -> None:
    with make(type, value_size=4) as servers, bound(netns, socket.SOCK_DGRAM) as server:
        servers.update(0, server.fileno())
        with pytest.raises(KernelError, match=r"ENOSPC: with value_size 4 .*create it with .* 8"):
            servers.lookup(0)


@pytest.mark.parametrize("type", KEPT)
def test_socket_that_does_not_listen_is_refused(netns: Namespace, type: MapType) -> None:
    with (
        make(type) as servers,
        bound(netns, socket.SOCK_STREAM, listening=False) as server,
        pytest.raises(SocketRefusedError) as raised,
    ):
        servers.update(0, server.fileno())
    assert raised.value.errno_name == "EOPNOTSUPP"
    assert isinstance(raised.value, SocketError)
    assert isinstance(raised.value, KernelError)
    assert raised.value.hint is not None
    assert "TCP sockets that listen" in raised.value.hint


@pytest.mark.parametrize("type", KEPT)
def test_unbound_udp_socket_is_refused(netns: Namespace, type: MapType) -> None:
    with (
        make(type) as servers,
        netns.run(socket.socket, socket.AF_INET, socket.SOCK_DGRAM) as server,
        pytest.raises(SocketRefusedError, match="EOPNOTSUPP"),
    ):
        servers.update(0, server.fileno())


@pytest.mark.parametrize("type", ALL)
def test_raw_socket_is_refused(netns: Namespace, type: MapType) -> None:
    with (
        make(type) as servers,
        netns.run(socket.socket, socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_ICMP) as server,
        pytest.raises(SocketRefusedError, match=r"E(OP)?NOTSUPP: the socket"),
    ):
        servers.update(0, server.fileno())


@pytest.mark.parametrize("type", ALL)
def test_file_that_is_no_socket_is_refused(type: MapType) -> None:
    with (
        make(type) as servers,
        open("/dev/null") as file,
        pytest.raises(SocketRefusedError, match=r"ENOTSOCK: file descriptor \d+ is not a socket"),
    ):
        servers.update(0, file.fileno())


@pytest.mark.parametrize("type", ALL)
def test_number_that_is_no_descriptor_is_refused(type: MapType) -> None:
    with make(type) as servers, pytest.raises(KernelError, match="987654 is not an open file"):
        servers.update(0, 987654)


@pytest.mark.parametrize("type", [MapType.SOCKMAP, MapType.REUSEPORT_SOCKARRAY])
def test_index_outside_of_the_map_is_refused(netns: Namespace, type: MapType) -> None:
    with make(type) as servers, bound(netns, socket.SOCK_DGRAM) as server:
        with pytest.raises(CapacityError, match=r"outside of the map's 2 entries .*0 to 1"):
            servers.update(2, server.fileno())
        with pytest.raises(KernelError, match="outside of the map's 2 entries"):
            servers.delete(2)


def test_full_sock_hash_is_a_matter_of_capacity(netns: Namespace) -> None:
    with make(MapType.SOCKHASH) as servers, bound(netns, socket.SOCK_DGRAM) as server:
        servers.update(100, server.fileno())
        servers.update(200, server.fileno())
        with pytest.raises(CapacityError, match="the map is full: it has room for 2 entries"):
            servers.update(300, server.fileno())


def test_reuseport_array_takes_no_socket_outside_of_a_group(netns: Namespace) -> None:
    with (
        make(MapType.REUSEPORT_SOCKARRAY) as servers,
        bound(netns, socket.SOCK_STREAM, reuse_port=False) as server,
        pytest.raises(SocketRefusedError, match=r"with SO_REUSEPORT.*before bind"),
    ):
        servers.update(0, server.fileno())


def test_socket_is_in_one_reuseport_array_only(netns: Namespace) -> None:
    with (
        make(MapType.REUSEPORT_SOCKARRAY) as first,
        make(MapType.REUSEPORT_SOCKARRAY) as second,
        bound(netns, socket.SOCK_STREAM) as server,
    ):
        first.update(0, server.fileno())
        with pytest.raises(SocketRefusedError, match="EBUSY: the socket is in another"):
            second.update(0, server.fileno())


def test_socket_may_be_in_many_sock_maps(netns: Namespace) -> None:
    with (
        make(MapType.SOCKMAP) as first,
        make(MapType.SOCKHASH) as second,
        bound(netns, socket.SOCK_STREAM) as server,
    ):
        first.update(0, server.fileno())
        first.update(1, server.fileno())
        second.update(0, server.fileno())
        assert first.lookup(0) == first.lookup(1) == second.lookup(0)


def test_walk_leaves_empty_slots_out(netns: Namespace) -> None:
    with make(MapType.SOCKMAP, max_entries=8) as servers, bound(netns, socket.SOCK_DGRAM) as server:
        servers.update(5, server.fileno())
        assert dict(servers.items()) == {struct.pack("=I", 5): struct.pack("=Q", cookie_of(server))}
