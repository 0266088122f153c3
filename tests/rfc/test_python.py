"""Programs for the RFC in Python: the same compiled and called, and refused where they must be."""

from __future__ import annotations

import errno
import random
import socket
from collections.abc import Callable, Iterator
from ipaddress import IPv4Address, IPv6Address, ip_network

import pytest

from inet_lookup import PASS, Array, load
from inet_lookup.bpf import ObjectFile
from inet_lookup.errors import CompileError
from inet_lookup.rfc import (
    AF_INET,
    BPF_DROP,
    BPF_OK,
    BPF_REDIRECT,
    IP4,
    IPPROTO_TCP,
    IPPROTO_UDP,
    Context,
    InetLookupFunction,
    SockArray,
    bpf_ntohl,
    bpf_ntohs,
    program,
    redirect_lookup,
)

redir_map = SockArray(max_entries=4)
ports = Array(max_entries=1)
NET = ip_network("198.51.100.0/24")


@program
def all_kinds_of_reads(ctx: Context) -> int:
    """Each field, and addresses by their networks."""
    if ctx.protocol == IPPROTO_TCP and ctx.local_port & 0xFF == 80:
        return redirect_lookup(ctx, redir_map, 0, 0)
    if bpf_ntohs(ctx.remote_port) in range(1000, 2000):
        return redirect_lookup(ctx, redir_map, 1)
    if ctx.family == AF_INET and bpf_ntohl(ctx.local_ip4) >> 8 == IP4(192, 0, 2, 0) >> 8:
        return redirect_lookup(ctx, redir_map, 2, 0)
    if ctx.remote_ip in NET or ctx.local_ip6[3] & 1:
        return redirect_lookup(ctx, redir_map, ctx.local_port, 0)
    return BPF_OK


@program
def one_after_the_other(ctx: Context) -> int:
    """The first socket that fits; what the helper returns is looked at."""
    for index in range(4):
        result = redirect_lookup(ctx, redir_map, index, 0)
        if result == BPF_REDIRECT:
            return result
        if result == -errno.EAFNOSUPPORT:
            return BPF_DROP
    return BPF_OK


@program
def by_the_error(ctx: Context) -> int:
    """Comparisons with negative numbers, chained and in order."""
    first = redirect_lookup(ctx, redir_map, ctx.local_port & 3, ctx.local_port >> 15)
    if first > 0:
        return first if ctx.local_port & 8 else BPF_OK
    second = redirect_lookup(ctx, redir_map, 1)
    if -100 < first <= -errno.EPROTOTYPE or second < first:
        return second
    if first == -errno.EINVAL:
        return BPF_DROP
    return -second


@program
def of_counts(ctx: Context) -> int:
    """A verdict that is computed: the difference of two numbers is the one that redirects."""
    redirect_lookup(ctx, redir_map, 0, 0)
    return (ctx.local_port & 31) - (ctx.protocol & 15)


PROGRAMS = [all_kinds_of_reads, one_after_the_other, by_the_error, of_counts]


@pytest.fixture
def sockets() -> Iterator[list[socket.socket]]:
    """TCP over IPv4, UDP over both, TCP over IPv6 alone."""
    made: list[socket.socket] = []
    for family, kind, v6only in (
        (socket.AF_INET, socket.SOCK_STREAM, False),
        (socket.AF_INET6, socket.SOCK_DGRAM, False),
        (socket.AF_INET6, socket.SOCK_STREAM, True),
    ):
        sock = socket.socket(family, kind)
        made.append(sock)
        if family == socket.AF_INET6:
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, v6only)
        # One that is bound to an IPv6 address takes no IPv4, as if it were V6ONLY.
        sock.bind(("::" if family == socket.AF_INET6 else "127.0.0.1", 0))
        if kind == socket.SOCK_STREAM:
            sock.listen()
    yield made
    for sock in made:
        sock.close()


def random_context(chance: random.Random) -> Context:
    if chance.random() < 0.5:
        local: str | IPv4Address | IPv6Address = chance.choice(
            ["192.0.2.7", "198.51.100.9", IPv4Address(chance.getrandbits(32))]
        )
        remote: str | IPv4Address | IPv6Address = chance.choice(
            ["198.51.100.3", IPv4Address(chance.getrandbits(32))]
        )
    else:
        local, remote = IPv6Address(chance.getrandbits(128)), IPv6Address(chance.getrandbits(128))
    return Context(
        local=(local, chance.choice([80, 3, 13, 1 << 15, chance.randrange(65536)])),
        remote=(remote, chance.choice([1500, chance.randrange(65536)])),
        protocol=chance.choice([IPPROTO_TCP, IPPROTO_UDP]),
    )


@pytest.mark.kernel
@pytest.mark.parametrize("function", PROGRAMS, ids=lambda function: function.name)
def test_compiled_and_called_select_the_same_socket(
    function: InetLookupFunction, sockets: list[socket.socket]
) -> None:
    chance = random.Random(7)
    redirected = 0
    with load(function) as loaded:
        for index, sock in enumerate(sockets):
            redir_map[index] = sock
        try:
            for _ in range(2000):
                ctx = random_context(chance)
                expected = function.socket_for(ctx)
                outcome = loaded.test_run(ctx)
                assert outcome.verdict is PASS
                assert outcome.cookie == (expected.cookie if expected else None), repr(ctx)
                redirected += expected is not None
        finally:
            for index in range(len(sockets)):
                del redir_map[index]
    assert 20 < redirected < 1980


@pytest.mark.kernel
@pytest.mark.parametrize("function", PROGRAMS, ids=lambda function: function.name)
def test_the_object_is_one_for_the_rfc(function: InetLookupFunction) -> None:
    found = ObjectFile.parse(function.compile(), name="object")
    spec = found.programs[function.name]
    assert spec.section == f"inet_lookup/{function.name}"
    assert spec.dialect is not None
    found.load().close()


def test_called_in_python_it_gives_the_rfcs_numbers(sockets: list[socket.socket]) -> None:
    tcp4 = Context(local=("127.0.0.1", 0), remote=("127.0.0.9", 9))
    tcp6 = Context(local=("::1", 0), remote=("::1", 9))
    udp4 = Context(local=("127.0.0.1", 0), remote=("127.0.0.9", 9), protocol=IPPROTO_UDP)
    array = SockArray(max_entries=3)
    assert redirect_lookup(tcp4, array, 0, 0) == -errno.ENOENT
    assert redirect_lookup(tcp4, array, 9, 0) == -errno.ENOENT
    for index, sock in enumerate(sockets):
        array[index] = sock
    assert redirect_lookup(tcp4, array, 0, 1) == -errno.EINVAL
    assert redirect_lookup(tcp4, array, 0, 0) == BPF_REDIRECT
    assert redirect_lookup(udp4, array, 0, 0) == -errno.EPROTOTYPE
    assert redirect_lookup(tcp6, array, 0, 0) == -errno.EAFNOSUPPORT
    assert redirect_lookup(udp4, array, 1, 0) == BPF_REDIRECT
    assert redirect_lookup(tcp4, array, 2, 0) == -errno.EAFNOSUPPORT
    sockets[0].close()
    assert redirect_lookup(tcp4, array, 0, 0) == -errno.ENOENT


@program
def selects_and_passes(ctx: Context) -> int:
    redirect_lookup(ctx, redir_map, 0, 0)
    return BPF_OK


def test_what_was_selected_is_used_only_by_the_verdict(sockets: list[socket.socket]) -> None:
    redir_map[0] = sockets[0]
    try:
        ctx = Context(local=("127.0.0.1", 80), remote=("127.0.0.9", 9))
        assert selects_and_passes(ctx) == BPF_OK
        assert ctx.sk is not None
        assert selects_and_passes.socket_for(ctx) is None
        found = all_kinds_of_reads.socket_for(ctx)
        assert found is not None
        assert found.port == sockets[0].getsockname()[1]
    finally:
        del redir_map[0]


def returns_a_verdict_of_the_other_kind(ctx: Context) -> int:
    return PASS


def returns_nothing(ctx: Context) -> int:
    if ctx.local_port == 80:
        return BPF_OK
    return None  # type: ignore[return-value]


def ends_without_a_verdict(ctx: Context) -> int:  # type: ignore[return]  # noqa: RET503
    if ctx.local_port == 80:
        return BPF_OK


def returns_a_large_number(ctx: Context) -> int:
    return ctx.local_ip4


def returns_a_number_of_64_bits(ctx: Context) -> int:
    return 2**32 + 7


def reads_the_interface(ctx: Context) -> int:
    return BPF_OK if ctx.ingress_ifindex else BPF_DROP


def reads_the_socket(ctx: Context) -> int:
    return BPF_OK if ctx.sk is None else BPF_DROP


def gives_another_map(ctx: Context) -> int:
    return redirect_lookup(ctx, ports, 0, 0)  # type: ignore[arg-type]


def keeps_a_negative_number(ctx: Context) -> int:
    ports[0] = redirect_lookup(ctx, redir_map, 0, 0)
    return BPF_OK


@pytest.mark.parametrize(
    ("function", "problem"),
    [
        (returns_a_verdict_of_the_other_kind, "returns a number, not Verdict"),
        (returns_nothing, "returns a number, not None"),
        (ends_without_a_verdict, "may end without a verdict"),
        (returns_a_large_number, "may not fit in 32 bits"),
        (returns_a_number_of_64_bits, "may not fit in 32 bits"),
        (reads_the_interface, "no field 'ingress_ifindex'"),
        (reads_the_socket, "no field 'sk'"),
        (gives_another_map, "select"),
        (keeps_a_negative_number, "may be negative"),
    ],
)
def test_what_the_rfc_does_not_have_is_refused(
    function: Callable[[Context], int], problem: str
) -> None:
    with pytest.raises(CompileError, match=problem) as caught:
        program(function)
    assert caught.value.hint


def test_ip4_is_an_address_in_host_byte_order() -> None:
    assert IP4(192, 0, 2, 1) == int(IPv4Address("192.0.2.1"))
    assert IP4(255, 255, 255, 255) == 2**32 - 1
