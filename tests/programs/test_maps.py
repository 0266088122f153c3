"""Maps in Python: before a program that uses them is loaded, while it is, and after."""

from __future__ import annotations

import errno
import os
import socket
from collections.abc import Iterator
from contextlib import ExitStack
from ipaddress import ip_address, ip_network
from pathlib import Path
from types import ModuleType

import pytest

from inet_lookup import (
    DROP,
    PASS,
    Address,
    Array,
    Context,
    Counters,
    Hash,
    InetLookupError,
    LpmTrie,
    SockArray,
    load,
)
from inet_lookup.errors import CapacityError, KernelError, SocketError
from support.loading import load_module

U64_MAX = 2**64 - 1
TCP = Context(local=("192.0.2.1", 80))
UDP = Context(local=("192.0.2.1", 80), protocol=socket.IPPROTO_UDP)

MODULE = """\
from inet_lookup import (
    DROP, PASS, Address, Array, Context, Counters, Hash, LpmTrie, SockArray, Verdict, program,
)

servers = SockArray(4)
numbers = Array(4)
hits = Counters(4)
ports = Hash(4)
flows = Hash(4, key=(Address, int))
tenants = LpmTrie(4)
scoped = LpmTrie(4, key=(int, Address))


@program
def f(ctx: Context) -> Verdict:
    numbers.add(0)
    hits.add(0, 5)
    ports.add(ctx.local_port)
    flows.add((ctx.local_ip, ctx.local_port))
    tenants.add(ctx.local_ip)
    scoped.add((1, ctx.local_ip))
    return servers.redirect(ctx, 0, otherwise=DROP)


@program
def g(ctx: Context) -> Verdict:
    numbers.add(1)
    return PASS if ports.get(80, 0) == 1 else DROP
"""


@pytest.fixture
def module(tmp_path: Path) -> ModuleType:
    path = tmp_path / "maps.py"
    path.write_text(MODULE)
    return load_module(path)


@pytest.fixture(params=["in Python", pytest.param("in the kernel", marks=pytest.mark.kernel)])
def shared(request: pytest.FixtureRequest, module: ModuleType) -> Iterator[ModuleType]:
    """The maps of the module, before and while a program that uses them is loaded."""
    with ExitStack() as stack:
        if request.param == "in the kernel":
            stack.enter_context(load(module.f))
        yield module


@pytest.fixture
def listener() -> Iterator[socket.socket]:
    with socket.create_server(("127.0.0.1", 0)) as sock:
        yield sock


@pytest.fixture
def receiver() -> Iterator[socket.socket]:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.bind(("127.0.0.1", 0))
        yield sock


# --- the same before and while loaded -------------------------------------------------------------


def test_array(shared: ModuleType) -> None:
    numbers: Array = shared.numbers
    assert list(numbers) == [0, 0, 0, 0]
    assert len(numbers) == 4
    numbers[3] = U64_MAX
    numbers.add(3, 2)
    numbers.add(1)
    assert numbers.try_add(2, 7)
    assert not numbers.try_add(4)
    assert list(numbers) == [0, 1, 7, 1]
    assert numbers.get(2) == 7
    assert numbers.get(4) is None
    assert numbers.get(-1, 9) == 9
    for index in (-1, 4, 2**32):
        with pytest.raises(IndexError, match=f"index {index} is out of range"):
            numbers[index]
        with pytest.raises(IndexError):
            numbers[index] = 1
        with pytest.raises(IndexError):
            numbers.add(index)
    for value in (-1, 2**64, 1.5, "1"):
        with pytest.raises(InetLookupError, match="is not a value of 0 to"):
            numbers[0] = value
    with pytest.raises(InetLookupError, match="'0' is not an index"):
        numbers["0"]
    assert list(numbers) == [0, 1, 7, 1]


def test_counters(shared: ModuleType) -> None:
    hits: Counters = shared.hits
    hits.add(0)
    hits.add(0, U64_MAX)
    hits.add(1, 5)
    assert hits.try_add(2)
    assert not hits.try_add(9)
    assert list(hits) == [0, 5, 1, 0]
    assert len(hits) == 4
    with pytest.raises(IndexError, match="there are 4 counters"):
        hits.add(4)
    with pytest.raises(IndexError):
        hits[-1]
    with pytest.raises(InetLookupError, match="is not a value"):
        hits.add(0, -1)


def test_hash(shared: ModuleType) -> None:
    ports: Hash = shared.ports
    assert ports.get(80) is None
    assert ports.get(80, 9) == 9
    assert ports.put(80, 1)
    assert ports.add(80, U64_MAX)
    assert ports[80] == 0
    assert 80 in ports
    assert ports.add(443)
    ports[U64_MAX] = 5
    assert {key: ports[key] for key in ports} == {80: 0, 443: 1, U64_MAX: 5}
    assert len(ports) == 3
    assert ports.remove(443)
    assert not ports.remove(443)
    del ports[U64_MAX]
    with pytest.raises(KeyError):
        del ports[U64_MAX]
    with pytest.raises(KeyError):
        ports[443]
    for key in (-1, 2**64, "80", (80,), None):
        with pytest.raises(InetLookupError):
            ports.get(key)


def test_a_full_hash(shared: ModuleType) -> None:
    ports: Hash = shared.ports
    for key in range(4):
        assert ports.put(key, key)
    assert not ports.put(9, 1)
    assert not ports.add(9)
    with pytest.raises(CapacityError) as caught:
        ports[9] = 1
    assert caught.value.errno == errno.E2BIG
    assert caught.value.hint == "declare it with a larger max_entries"
    assert ports.put(3, 7)
    assert ports.add(3)
    assert {key: ports[key] for key in ports} == {0: 0, 1: 1, 2: 2, 3: 8}


def test_a_hash_of_addresses(shared: ModuleType) -> None:
    flows: Hash = shared.flows
    flows["192.0.2.1", 80] = 1
    flows[ip_address("2001:db8::1"), 80] = 2
    flows["::ffff:192.0.2.1", 80] = 3
    assert flows[ip_address("192.0.2.1"), 80] == 1
    assert flows["2001:db8:0::1", 80] == 2
    assert ("192.0.2.1", 81) not in flows
    assert set(flows) == {
        (ip_address("192.0.2.1"), 80),
        (ip_address("2001:db8::1"), 80),
        (ip_address("::ffff:192.0.2.1"), 80),
    }
    for key in ("192.0.2.1", ("192.0.2.1",), ("192.0.2", 80), (80, "192.0.2.1"), ("::1%eth0", 1)):
        with pytest.raises(InetLookupError):
            flows.get(key)


def test_lpm_trie(shared: ModuleType) -> None:
    tenants: LpmTrie = shared.tenants
    tenants["192.0.2.0/24"] = 5
    tenants[ip_network("192.0.2.64/26")] = 6
    tenants["::/0"] = 7
    assert tenants.get("192.0.2.1") == 5
    assert tenants.get(ip_address("192.0.2.65")) == 6
    assert tenants.get("192.0.3.1") is None
    assert tenants.get("192.0.3.1", 9) == 9
    assert tenants.get("2001:db8::1") == 7
    assert "192.0.2.1" in tenants
    assert "198.51.100.1" not in tenants
    assert tenants["192.0.2.0/24"] == 5
    with pytest.raises(KeyError):
        tenants["192.0.2.0/25"]
    assert tenants.add("192.0.2.65", U64_MAX)
    assert tenants["192.0.2.64/26"] == 5
    assert not tenants.add("192.0.3.1")
    assert dict(tenants.items()) == {
        ip_network("192.0.2.0/24"): 5,
        ip_network("192.0.2.64/26"): 5,
        ip_network("::/0"): 7,
    }
    assert len(tenants) == 3
    assert ip_network("::/0") in list(tenants)
    del tenants["192.0.2.64/26"]
    assert tenants.get("192.0.2.65") == 5
    with pytest.raises(KeyError):
        del tenants["192.0.2.64/26"]
    with pytest.raises(InetLookupError, match="has host bits set"):
        tenants["192.0.2.1/24"] = 1
    with pytest.raises(InetLookupError, match="is not an IPv4 or IPv6 address"):
        tenants.get("192.0.2.0/24")
    with pytest.raises(InetLookupError, match="is not a value"):
        tenants["192.0.2.0/24"] = -1


def test_a_full_trie(shared: ModuleType) -> None:
    tenants: LpmTrie = shared.tenants
    for number in range(4):
        tenants[f"10.{number}.0.0/16"] = number
    with pytest.raises(CapacityError) as caught:
        tenants["10.4.0.0/16"] = 4
    assert caught.value.errno == errno.ENOSPC
    tenants["10.3.0.0/16"] = 9
    assert tenants.get("10.3.0.1") == 9


def test_a_trie_of_tries(shared: ModuleType) -> None:
    scoped: LpmTrie = shared.scoped
    scoped[1, "192.0.2.0/24"] = 5
    scoped[2, "192.0.0.0/16"] = 6
    assert scoped.get((1, "192.0.2.1")) == 5
    assert scoped.get((2, "192.0.2.1")) == 6
    assert scoped.get((3, "192.0.2.1")) is None
    assert (1, "192.0.3.1") not in scoped
    assert scoped.add((2, ip_address("192.0.2.1")), 4)
    assert dict(scoped.items()) == {
        (1, ip_network("192.0.2.0/24")): 5,
        (2, ip_network("192.0.0.0/16")): 10,
    }
    for key in ("192.0.2.1", (-1, "192.0.2.1"), (2**32, "192.0.2.1"), (1,)):
        with pytest.raises(InetLookupError):
            scoped.get(key)
    with pytest.raises(KeyError):
        del scoped[3, "192.0.2.0/24"]


# --- sockets --------------------------------------------------------------------------------------


def test_sock_array(shared: ModuleType, listener: socket.socket, receiver: socket.socket) -> None:
    servers: SockArray = shared.servers
    assert [servers[index] for index in range(4)] == [None] * 4
    assert len(servers) == 4
    servers[0] = listener
    servers[1] = receiver.fileno()
    held = servers[0]
    assert (held.protocol, held.port) == ("tcp", listener.getsockname()[1])
    assert servers[1].protocol == "udp"
    assert servers.append(listener) == 2
    servers[1] = listener
    assert servers[1].cookie == held.cookie
    del servers[0]
    del servers[0]
    assert servers[0] is None
    assert servers.append(receiver) == 0
    servers[3] = receiver
    with pytest.raises(CapacityError, match="all 4 slots hold a socket") as caught:
        servers.append(receiver)
    assert caught.value.hint
    for index in (-1, 4):
        with pytest.raises(IndexError, match="there are 4 slots"):
            servers[index] = listener
        with pytest.raises(IndexError):
            servers[index]
        with pytest.raises(IndexError):
            del servers[index]
    with pytest.raises(InetLookupError, match="is not an index"):
        servers["0"] = listener


def test_sockets_that_nothing_can_be_steered_to(
    shared: ModuleType, listener: socket.socket, receiver: socket.socket
) -> None:
    servers: SockArray = shared.servers
    with ExitStack() as stack:
        client = stack.enter_context(socket.create_connection(listener.getsockname()))
        stack.enter_context(listener.accept()[0])
        unbound = stack.enter_context(socket.socket(socket.AF_INET, socket.SOCK_DGRAM))
        silent = stack.enter_context(socket.socket())
        silent.bind(("127.0.0.1", 0))
        connected = stack.enter_context(socket.socket(socket.AF_INET, socket.SOCK_DGRAM))
        connected.connect(receiver.getsockname())
        local = stack.enter_context(socket.socket(socket.AF_UNIX))
        closed = socket.socket()
        closed.close()
        null = os.open(os.devnull, os.O_RDONLY)
        stack.callback(os.close, null)
        for sock, message in (
            (client, "it is one connection"),
            (unbound, "it is not bound"),
            (silent, "it does not listen"),
            (connected, "it is connected to one peer"),
            (local, "AF_UNIX"),
            (closed, "the socket is closed"),
            (null, "is not a socket"),
            (10**6, "is closed"),
        ):
            with pytest.raises(SocketError, match=message):
                servers[0] = sock
            assert servers[0] is None


def test_a_closed_socket_leaves_its_slot(shared: ModuleType, receiver: socket.socket) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        shared.servers[0] = listener
        assert shared.servers.select(TCP, 0) == 0
        number = listener.fileno()
    assert shared.servers[0] is None
    assert shared.servers.select(TCP, 0) == errno.ENOENT
    # The descriptor's number may come again for another socket.
    os.dup2(receiver.fileno(), number)
    try:
        assert shared.servers[0] is None
        assert shared.servers.select(UDP, 0) == errno.ENOENT
    finally:
        os.close(number)


def test_why_a_socket_is_not_selected(
    shared: ModuleType, listener: socket.socket, receiver: socket.socket
) -> None:
    servers: SockArray = shared.servers
    ipv6 = Context(local=("2001:db8::1", 80))
    with socket.create_server(("::1", 0), family=socket.AF_INET6) as only_v6:
        servers[0], servers[1], servers[2] = listener, receiver, only_v6
        assert [servers.select(TCP, index) for index in range(5)] == [
            0,
            errno.EPROTOTYPE,
            errno.EAFNOSUPPORT,
            errno.ENOENT,
            errno.ENOENT,
        ]
        assert servers.select(ipv6, 0) == errno.EAFNOSUPPORT
        assert servers.select(ipv6, 2) == 0
    assert servers.select(UDP, 1) == 0
    receiver.connect(("127.0.0.1", 9))
    assert servers.select(UDP, 1) == errno.ESOCKTNOSUPPORT
    ctx = Context(local=("192.0.2.1", 80))
    assert servers.redirect(ctx, 1, otherwise=DROP) is DROP
    assert ctx.sk is None
    assert servers.redirect(ctx, 0, otherwise=DROP) is PASS
    assert ctx.sk.port == listener.getsockname()[1]
    assert servers.redirect(ctx, 1) is PASS
    assert ctx.sk.port == listener.getsockname()[1]


@pytest.mark.kernel
def test_the_kernel_gives_the_same_reasons(
    tmp_path: Path, listener: socket.socket, receiver: socket.socket
) -> None:
    path = tmp_path / "select.py"
    path.write_text(
        "from inet_lookup import PASS, Array, Context, SockArray, Verdict, program\n"
        "servers = SockArray(4)\n"
        "reason = Array(1)\n"
        "@program\n"
        "def f(ctx: Context) -> Verdict:\n"
        "    reason[0] = servers.select(ctx, ctx.local_port)\n"
        "    return PASS\n"
    )
    module = load_module(path)

    def reasons(sock: socket.socket) -> list[int]:
        found = []
        for ctx in (
            Context(local=("192.0.2.1", 0)),
            Context(local=("2001:db8::1", 0)),
            Context(local=("192.0.2.1", 0), protocol=socket.IPPROTO_UDP),
            Context(local=("192.0.2.1", 1)),
        ):
            program.test_run(ctx)
            in_kernel = module.reason[0]
            assert module.servers.select(ctx, ctx.local_port) == in_kernel
            found.append(in_kernel)
        return found

    with load(module.f) as program:
        module.servers[0] = listener
        missing, family, protocol = errno.ENOENT, errno.EAFNOSUPPORT, errno.EPROTOTYPE
        assert reasons(listener) == [0, family, protocol, missing]
        listener.shutdown(socket.SHUT_RDWR)
        assert reasons(listener) == [errno.ESOCKTNOSUPPORT] * 3 + [missing]
        module.servers[0] = receiver
        assert reasons(receiver) == [protocol, protocol, 0, missing]
        receiver.connect(("127.0.0.1", 9))
        assert reasons(receiver) == [errno.ESOCKTNOSUPPORT] * 3 + [missing]


# --- into the kernel and back ---------------------------------------------------------------------


@pytest.mark.kernel
def test_what_was_declared_goes_along_and_is_back_afterwards(
    module: ModuleType, listener: socket.socket
) -> None:
    module.numbers[0] = 10
    module.hits.add(0, 20)
    module.ports[80] = 30
    module.flows["192.0.2.1", 80] = 40
    module.tenants["192.0.2.0/24"] = 50
    module.scoped[1, "192.0.2.0/24"] = 60
    module.servers[0] = listener

    def contents() -> list[int]:
        return [
            module.numbers[0],
            module.hits[0],
            module.ports[80],
            module.flows["192.0.2.1", 80],
            module.tenants["192.0.2.0/24"],
            module.scoped[1, "192.0.2.0/24"],
        ]

    with load(module.f) as program:
        assert contents() == [10, 20, 30, 40, 50, 60]
        outcome = program.test_run(TCP)
        assert (outcome.verdict, outcome.cookie) == (PASS, module.servers[0].cookie)
        assert contents() == [11, 25, 31, 41, 51, 61]
        module.numbers[0] = 100
        module.ports[80] = 300
        program.test_run(TCP)
        assert contents() == [101, 30, 301, 42, 52, 62]
        assert module.numbers.kernel_map is not None
    assert module.numbers.kernel_map is None
    assert contents() == [10, 20, 30, 40, 50, 60]
    assert module.servers[0].port == listener.getsockname()[1]
    with load(module.f) as program:
        assert contents() == [10, 20, 30, 40, 50, 60]
        assert program.test_run(TCP).verdict is PASS


@pytest.mark.kernel
def test_sockets_that_are_gone_by_then_are_left_out(
    module: ModuleType, receiver: socket.socket
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        module.servers[0] = listener
    module.servers[1] = receiver
    with load(module.f) as program:
        assert module.servers[0] is None
        assert module.servers[1].protocol == "udp"
        assert program.test_run(TCP).verdict is DROP


@pytest.mark.kernel
def test_two_programs_share_a_map_for_as_long_as_one_is_loaded(module: ModuleType) -> None:
    with load(module.f) as first:
        first.test_run(TCP)
        with load(module.g) as second:
            assert second.maps["numbers"] is first.maps["numbers"] is module.numbers
            assert second.test_run(TCP).verdict is PASS
            assert list(module.numbers) == [1, 1, 0, 0]
            first.close()
            # The second does not use this map; the others live on in it.
            assert module.hits.kernel_map is None
            assert list(module.numbers) == [1, 1, 0, 0]
            assert second.test_run(TCP).verdict is PASS
    assert list(module.numbers) == [0, 0, 0, 0]
    assert module.ports.get(80) is None


@pytest.mark.kernel
def test_the_same_program_twice_shares_its_maps(module: ModuleType) -> None:
    with load(module.f) as one, load(module.f) as other:
        one.test_run(TCP)
        other.test_run(TCP)
        assert module.numbers[0] == 2


@pytest.mark.kernel
def test_maps_are_named_in_the_kernel_after_their_variables(module: ModuleType) -> None:
    with load(module.f) as program:
        assert sorted(program.maps) == [
            "flows", "hits", "numbers", "ports", "scoped", "servers", "tenants"
        ]  # fmt: skip
        for name, table in program.maps.items():
            assert table.kernel_map.info().name == name


@pytest.mark.kernel
def test_nothing_is_left_open_when_a_map_cannot_be_made(tmp_path: Path) -> None:
    path = tmp_path / "huge.py"
    path.write_text(
        "from inet_lookup import PASS, Array, Context, Verdict, program\n"
        "small = Array(4)\n"
        "huge = Array(2**32 - 1)\n"
        "@program\n"
        "def f(ctx: Context) -> Verdict:\n"
        "    return PASS if small[0] == huge[0] else PASS\n"
    )
    module = load_module(path)
    with pytest.raises(KernelError, match="create map 'huge'"):
        load(module.f)
    assert module.small.kernel_map is None


# --- declarations ---------------------------------------------------------------------------------


@pytest.mark.parametrize("key", [str, (int, str), (), (int,) * 9, None, [int]])
def test_keys_that_no_hash_has(key: object) -> None:
    with pytest.raises(InetLookupError, match="key"):
        Hash(4, key=key)


@pytest.mark.parametrize("key", [int, (Address, int), (int, int)])
def test_keys_that_no_trie_has(key: object) -> None:
    with pytest.raises(InetLookupError, match="is not the key of an LpmTrie"):
        LpmTrie(4, key=key)


@pytest.mark.kernel
def test_a_map_without_a_size_cannot_be_loaded(tmp_path: Path) -> None:
    path = tmp_path / "unsized.py"
    path.write_text(
        "from inet_lookup import PASS, Array, Context, Verdict, program\n"
        "unsized = Array(0)\n"
        "@program\n"
        "def f(ctx: Context) -> Verdict:\n"
        "    return PASS if unsized.get(0) is None else PASS\n"
    )
    with pytest.raises(InetLookupError, match="map 'unsized' has no size"):
        load(load_module(path).f)
