"""Contexts made in Python have the fields of ``struct bpf_sk_lookup``, in their byte orders."""

from __future__ import annotations

import random
import socket
import sys
from ipaddress import ip_address
from pathlib import Path

import pytest

from inet_lookup import Context, InetLookupError, load
from inet_lookup.programs.context import FIELDS, SIZE
from support.contexts import random_context
from support.loading import load_module
from support.lookups import lookup_context

# Stores every word of the context where Python can read it.
READER = """\
from inet_lookup import PASS, Array, Context, Verdict, program

seen = Array(32)

@program
def f(ctx: Context) -> Verdict:
    seen[0] = ctx.family
    seen[1] = ctx.protocol
    seen[2] = ctx.remote_ip4
    seen[3] = ctx.remote_ip6[0]
    seen[4] = ctx.remote_ip6[1]
    seen[5] = ctx.remote_ip6[2]
    seen[6] = ctx.remote_ip6[3]
    seen[7] = ctx.remote_port
    seen[8] = ctx.local_ip4
    seen[9] = ctx.local_ip6[0]
    seen[10] = ctx.local_ip6[1]
    seen[11] = ctx.local_ip6[2]
    seen[12] = ctx.local_ip6[3]
    seen[13] = ctx.local_port
    seen[14] = ctx.ingress_ifindex
    seen[15] = ctx.local_ip.version
    seen[16] = 0 if ctx.sk is None else 1
    return PASS
"""


def test_fields_of_an_ipv4_packet() -> None:
    ctx = Context(
        local=("192.0.2.1", 80), remote=("203.0.113.5", 40000), protocol=socket.IPPROTO_UDP
    )
    assert ctx.family == socket.AF_INET
    assert ctx.protocol == 17
    # Network byte order: the first byte of the address comes first in memory.
    assert ctx.local_ip4.to_bytes(4, sys.byteorder) == bytes([192, 0, 2, 1])
    assert socket.ntohl(ctx.remote_ip4) == 0xCB007105
    assert socket.ntohs(ctx.remote_port) == 40000
    assert ctx.local_port == 80
    assert ctx.local_ip6 == ctx.remote_ip6 == (0, 0, 0, 0)
    assert ctx.local_ip == ip_address("192.0.2.1")
    assert ctx.remote_ip == ip_address("203.0.113.5")
    assert ctx.ingress_ifindex == 0
    assert ctx.sk is None


def test_fields_of_an_ipv6_packet() -> None:
    ctx = Context(local=("2001:db8::1", 443), remote=("fe80::9", 1), ingress_ifindex=3)
    assert ctx.family == socket.AF_INET6
    assert ctx.protocol == socket.IPPROTO_TCP
    assert [socket.ntohl(word) for word in ctx.local_ip6] == [0x20010DB8, 0, 0, 1]
    assert [socket.ntohl(word) for word in ctx.remote_ip6] == [0xFE800000, 0, 0, 9]
    assert ctx.local_ip4 == ctx.remote_ip4 == 0
    assert ctx.ingress_ifindex == 3


def test_the_source_need_not_be_given() -> None:
    assert Context(local=("192.0.2.1", 80)).remote_ip == ip_address("0.0.0.0")
    assert Context(local=("::1", 80)).remote_ip == ip_address("::")
    assert Context(local=("::1", 80)).remote_port == 0


@pytest.mark.parametrize("local", ["192.0.2.1", "255.255.255.255", "2001:db8::1", "::"])
@pytest.mark.parametrize("protocol", [socket.IPPROTO_TCP, socket.IPPROTO_UDP])
def test_packed_as_the_kernel_lays_it_out(local: str, protocol: int) -> None:
    remote = "203.0.113.7" if "." in local else "2001:db8::7"
    ctx = Context(local=(local, 443), remote=(remote, 40000), protocol=protocol)
    packed = ctx.pack()
    assert len(packed) == SIZE == 72
    # The structure ends with padding to a multiple of eight bytes.
    shown = lookup_context(local, 443, remote=remote, remote_port=40000, protocol=protocol)
    assert packed == shown + bytes(SIZE - len(shown))


def test_fields_lie_where_they_are_packed() -> None:
    ctx = Context(local=("2001:db8::1", 443), remote=("fe80::9", 1234))
    packed = ctx.pack()
    for name, field in FIELDS.items():
        words = getattr(ctx, name)
        for position, word in enumerate(words if field.words > 1 else (words,)):
            start = field.offset + position * field.size
            assert packed[start : start + field.size] == word.to_bytes(field.size, sys.byteorder)
            assert field.lo <= word <= field.hi


@pytest.mark.kernel
def test_the_kernel_shows_programs_the_same_fields(tmp_path: Path) -> None:
    path = tmp_path / "reader.py"
    path.write_text(READER)
    module = load_module(path)
    rng = random.Random(1)
    contexts = [random_context(rng) for _ in range(200)]
    in_kernel = []
    with load(module.f) as program:
        for ctx in contexts:
            program.test_run(ctx)
            in_kernel.append(list(module.seen))
    for ctx, seen in zip(contexts, in_kernel, strict=True):
        module.f(ctx)
        assert list(module.seen) == seen, ctx
        assert seen[13] == ctx.local_port
        assert seen[3:7] == list(ctx.remote_ip6)


def test_shown_as_what_makes_it_again() -> None:
    ctx = Context(
        local=("2001:db8::1", 443),
        remote=("::1", 5),
        protocol=socket.IPPROTO_UDP,
        ingress_ifindex=7,
    )
    names = {"Context": Context, "IPPROTO_UDP": socket.IPPROTO_UDP}
    again = eval(repr(ctx), names)
    assert repr(again) == repr(ctx)
    assert (again.local_ip6, again.remote_port, again.protocol) == (
        ctx.local_ip6,
        ctx.remote_port,
        ctx.protocol,
    )


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"local": ("192.0.2.1", 80), "remote": ("::1", 1)}, "are of different families"),
        ({"local": ("192.0.2", 80)}, "'192.0.2' is not an IPv4 or IPv6 address"),
        ({"local": ("192.0.2.0/24", 80)}, "is not an IPv4 or IPv6 address"),
        ({"local": ("fe80::1%eth0", 80)}, "a packet's address has no scope"),
        ({"local": (80, 80)}, "local address 80 is not an IPv4 or IPv6 address"),
        ({"local": ("192.0.2.1", 65536)}, "local port 65536 is not a port"),
        ({"local": ("192.0.2.1", -1)}, "local port -1 is not a port"),
        ({"local": ("192.0.2.1", "80")}, "local port '80' is not a port"),
        ({"local": ("192.0.2.1", 1), "remote": ("::", 1)}, "are of different families"),
        ({"local": ("192.0.2.1", 1), "protocol": 1}, "neither IPPROTO_TCP"),
        ({"local": ("192.0.2.1", 1), "ingress_ifindex": -1}, "-1 is not the index"),
        ({"local": ("192.0.2.1", 1), "ingress_ifindex": "eth0"}, "if_nametoindex"),
    ],
)
def test_what_no_packet_has_is_refused(arguments: dict[str, object], message: str) -> None:
    with pytest.raises(InetLookupError, match=message):
        Context(**arguments)


def test_a_test_run_cannot_set_the_interface() -> None:
    with pytest.raises(InetLookupError, match="cannot set ingress_ifindex"):
        Context(local=("192.0.2.1", 1), ingress_ifindex=1).pack()


def test_a_misspelt_field_cannot_be_set() -> None:
    with pytest.raises(AttributeError):
        Context(local=("192.0.2.1", 1)).local_prot = 80
