"""Where Python's rules are subtle, a compiled program keeps to them.

Sources without a definition are the body of a program.
"""

from __future__ import annotations

import random
import socket
import textwrap
from collections.abc import Iterator
from pathlib import Path

import pytest

from inet_lookup import Context
from support.agreement import difference
from support.contexts import fitting_sockets, random_context
from support.loading import load_module

pytestmark = pytest.mark.kernel

SURROUNDINGS = """\
import enum
import functools
import socket
from dataclasses import dataclass
from ipaddress import IPv4Network, ip_address, ip_network
from typing import NamedTuple

from inet_lookup import (
    AF_INET, AF_INET6, DROP, IPPROTO_TCP, IPPROTO_UDP, PASS, Address, Array, Context, Counters,
    Hash, LpmTrie, NetworkSet, SockArray, Verdict, htonl, htons, inline, ntohl, ntohs, program,
)

servers = SockArray(8)
numbers = Array(16)
hits = Counters(4)
ports = Hash(8)
pairs = Hash(8, key=(int, int))
tenants = LpmTrie(8)
ports[80] = 443
x = 5
"""

CASES = {
    "ctx.sk is what it was when it was read": """
        before = ctx.sk
        pair = (ctx.sk, 1)
        servers.redirect(ctx, 0)
        if before is None and pair[0] is None and ctx.sk is not None:
            return DROP
        """,
    "a redirect that fails leaves the selection of the one before": """
        servers.redirect(ctx, 1)
        servers.redirect(ctx, 7)
        if servers.redirect(ctx, 4, otherwise=DROP) == DROP and ctx.sk is not None:
            numbers.add(0)
        """,
    "a pattern binds no name unless all of it matches": """
        a = 7
        match (ctx.local_port, ctx.protocol):
            case (a, socket.IPPROTO_TCP):
                return PASS
            case (5050, a) | (a, 255):
                return DROP
        return DROP if a == 7 else PASS
        """,
    "a guard that fails leaves the names bound": """
        a = 7
        match ctx.local_port:
            case a if a > 1000:
                return PASS
        return DROP if a == ctx.local_port else PASS
        """,
    "the first of equal patterns wins": """
        match ctx.local_port & 3:
            case 1 | 1:
                return DROP
            case 1:
                return PASS
            case 0 | 2 | 9 | -1:
                numbers.add(1)
            case _:
                return PASS
        return DROP
        """,
    "a truth value matches a number and the other way round": """
        match ctx.local_port > 80:
            case 1:
                return DROP
            case False:
                numbers.add(2)
        """,
    "truth values count": """
        flag = ctx.local_port > 80
        other = ctx.family == AF_INET
        numbers[flag + other] = -flag & 0xFF | ~other & 0xF0
        numbers[3] = (flag & other) + (flag ^ 1) + (flag << 3) + abs(flag) + int(other)
        if flag is True and (flag | other) is not False and flag in (1, 5):
            return DROP
        """,
    "1 and True are equal and not the same": """
        flag = True if ctx.local_port > 80 else ctx.family == AF_INET
        if flag is True and flag == 1:
            return DROP
        """,
    "and, or give back the operand that decided": """
        a = ctx.local_port and ntohs(ctx.remote_port)
        b = ctx.local_port & 7 or ntohs(ctx.remote_port) & 7 or 9
        numbers[0] = a
        numbers[1] = b
        v = ctx.local_port > 1000 and PASS == DROP or b
        numbers[2] = v
        """,
    "what and, or skip has no effect": """
        y = 1
        if ctx.local_port > 80 and (y := 5) or ctx.local_port < 10 and (y := 0):
            numbers.add(0)
        numbers.add(y)
        if ports.put(1, 1) or ports.put(2, 2):
            return PASS if 2 in ports else DROP
        """,
    "the middle of a chained comparison is computed once": """
        if 0 <= (ports.add(1) + ctx.local_port) <= 9000 < ctx.local_ip4 != 5:
            return DROP
        """,
    "an augmented assignment reads the variable first": """
        y = ctx.local_port
        y += (y := 5) + y
        numbers[0] = y
        """,
    "the value comes before the place that it is assigned to": """
        y = 1
        numbers[y] = (y := 2) + ctx.local_port
        numbers[(y := 3)] = y
        a = b = y + ctx.local_port
        numbers[4], y = a, b
        numbers[5] = y
        """,
    "names are swapped": """
        a, b = ctx.local_port, ntohs(ctx.remote_port)
        a, b = b, a
        (a, b), c = (b, a), a
        numbers[0] = a
        numbers[1] = b
        numbers[2] = c
        """,
    "arguments are computed from left to right": """
        y = 1
        pairs.put(((y := y + 1), (y := y * 3)), (y := y + 5))
        servers.redirect(ctx, (y := 2), otherwise=DROP if (y := y + 1) > 3 else PASS)
        numbers[0] = y
        """,
    "one key is built while another is needed": """
        p = ctx.local_port
        pairs.put(
            (p & 1, pairs.get((p & 3, numbers[p & 7]), 5)), pairs.get((1, ports.get(p, 3)), 8)
        )
        if (p & 1, pairs.get((0, 5), p)) in pairs:
            return DROP
        """,
    "else of a loop": """
        for i in (ctx.local_port, 5, 80):
            if i == 80:
                break
        else:
            numbers.add(0)
        for j in range(0):
            numbers.add(1)
        else:
            numbers.add(2)
        for k in range(4):
            for m in (1, 2):
                if m == ctx.local_port & 3:
                    break
            else:
                continue
            break
        numbers[3] = i + k + m
        """,
    "a loop runs over what the tuple was": """
        a = ctx.local_port
        for y in (a, a + 1):
            a = 0
            numbers.add(y & 7, a + y)
        """,
    "enumerate, zip and reversed": """
        for i, (a, b) in enumerate(zip(reversed(range(5)), (ctx.local_port, 7, 9))):
            numbers.add(i, a * b)
        """,
    "a local variable hides a built-in and a global": """
        len = ctx.local_port
        x = len + 1
        PASS = DROP
        numbers[0] = x
        return PASS
        """,
    "bounds far beyond 64 bits are not forgotten": """
        y = ctx.local_port
        for _ in range(30):
            y = y * 65536 + 1
        y = y - 2**400
        numbers[0] = (y + 2**399) & 0xFFFF_FFFF
        big = ctx.local_port + 2**300
        if (big - 2**300) & 0xFFFF == 80:
            return DROP
        """,
    "what is negative on the way is exact in the end": """
        a, b = ctx.local_port, ntohs(ctx.remote_port)
        numbers[0] = (a - b) & 0xFFFF
        numbers[1] = (-a * b ^ ~b) & 0xFFFF_FFFF_FFFF
        numbers[2] = (a - b) * (a - b)  & 0xFFFF_FFFF
        if a - b < 7 or -b > a - 70000:
            return DROP
        """,
    "ranges of any length and direction": """
        p = ctx.local_port
        numbers[0] = (p in range(10**30)) + 2 * (p in range(-5, 10**30, 7))
        numbers[1] = (p in range(60000, -10**25, -9)) + 2 * (p in range(-100, 60000, 7))
        numbers[2] = (p in range(5, 5)) + 2 * (p in range(80, 81)) + 4 * (p in ())
        """,
    "sets at their ends": """
        a, b = ctx.local_ip, ctx.remote_ip
        numbers.add(0, a in NetworkSet("::/0"))
        numbers.add(1, a in NetworkSet("0.0.0.0/0"))
        numbers.add(2, a in NetworkSet("0.0.0.0/32", "255.255.255.255/32", "::/128", "ff00::/8"))
        numbers.add(3, b in NetworkSet("::ffff:0:0/96") or b in ip_network("::ffff:192.0.2.1/128"))
        numbers.add(4, a in NetworkSet())
        numbers.add(5, a in (b, ip_address("192.0.2.1")))
        numbers.add(6, a in (ip_address("fe80::1"), ip_address("fe80::1%eth0")))
        if a == ip_address("fe80::1%eth0"):
            return DROP
        """,
    "numbers of 64 bits": """
        numbers[0] = 2**64 - 1
        numbers.add(0, 2**64 - 1)
        hits.add(1, 2**64 - 1)
        hits.add(1, ctx.local_port)
        ports.put(2**64 - 1, 2**63)
        ports.add(2**64 - 1, 2**63)
        numbers[1] = min(numbers[0], 2**64 - 1, ctx.local_port + 2**63)
        numbers[2] = numbers[0] >> 63 | numbers[0] % 10 | (numbers[0] // 3) & 1
        if numbers[0] > 2**63 or numbers[1] == 2**70 or -1 == numbers[2]:
            return DROP
        """,
    "the last index of an array": """
        i = ctx.local_port
        if i < 16:
            numbers[i] = i + 1
        if i <= 15 and numbers[i] == i + 1:
            return DROP
        numbers.try_add(i & 31)
        numbers[15] = numbers.get(16, 3) & 7 | numbers.get(15, 3)
        """,
    "a slot beyond the array or beyond 32 bits is empty": """
        numbers[0] = servers.select(ctx, 8 + ctx.local_port)
        numbers[1] = servers.select(ctx, ctx.local_ip4 << 32)
        numbers[2] = servers.select(ctx, 6)
        """,
    "two tests of what the maps gave are made at once": """
        a = ports.get(ctx.local_port)
        b = pairs.get((ctx.local_port & 7, 1))
        if a is None and b is None:
            numbers.add(0)
        if (ctx.local_port in ports) | (ctx.local_ip in tenants) | tenants.add(ctx.remote_ip):
            return DROP
        first = ctx.sk
        servers.redirect(ctx, 0)
        second = ctx.sk
        if first is None and second is None:
            return DROP
        """,
    "None on one path": """
        a = ports.get(ctx.local_port) if ctx.local_port > 100 else None
        b = a or 7
        if a is None or a < 5:
            numbers.add(0, b)
        elif not a:
            numbers.add(1)
        else:
            numbers.add(2, a)
        match a:
            case None:
                numbers.add(3)
            case y:
                numbers.add(4, y)
        """,
    "defaults are those of the definition": """
        @inline
        def g(a, b=x):
            return a + b

        x = 6

        @program
        def f(ctx):
            numbers[0] = g(ctx.local_port)
            numbers[1] = g(b=ctx.local_port, a=1)
            return PASS
        """,
    "the closure comes before the global": """
        def make(x):
            @program
            def f(ctx):
                return PASS if ctx.local_port > x else DROP
            return f

        f = make(1000)
        """,
    "an inlined function has variables of its own": """
        @inline
        def clamp(y, top):
            if y > top:
                y = top
            x = y
            return x

        @program
        def f(ctx):
            y = 3
            x = 4
            z = clamp(clamp(ctx.local_port, 1000) + y, 500)
            numbers[0] = x + y + z
            return PASS
        """,
    "an inlined function returns from its loops": """
        @inline
        def first_bit(n):
            for i in range(16):
                if n >> i & 1:
                    return i
            return None

        @inline
        def weight(ctx, n):
            found = first_bit(n)
            if found is None:
                return 0, DROP
            return found + 1, servers.redirect(ctx, found & 7, otherwise=DROP)

        @program
        def f(ctx):
            bits, verdict = weight(ctx, ctx.local_port)
            numbers.add(bits & 15)
            return verdict
        """,
    "a function that another wraps": """
        def through(function):
            @functools.wraps(function)
            def wrapper(ctx):
                return DROP if ctx.local_port > 80 else PASS
            return wrapper

        @program
        @through
        def f(ctx):
            return PASS
        """,
    "constants of all kinds": """
        class Colour(enum.IntEnum):
            RED = 80

        class Route(NamedTuple):
            port: int
            slot: int = 3

        @dataclass(frozen=True)
        class Limits:
            low: int = 1024
            net: IPv4Network = ip_network("192.0.2.0/24")

        LIMITS = Limits()
        MIXED = frozenset({True, 80, Colour.RED, 2**64 - 1})

        @program
        def f(ctx):
            numbers[0] = Route(*(80, 4)).slot if False else ROUTE.slot + Colour.RED
            if ctx.local_port in MIXED or ctx.local_port == Colour.RED:
                return DROP
            if ctx.local_ip in LIMITS.net and ctx.local_port + Colour.RED >= LIMITS.low:
                return DROP
            return PASS

        ROUTE = Route(80)
        """,
}


def write(directory: Path, source: str) -> Path:
    body = textwrap.dedent(source).strip("\n")
    if "@program" not in body:
        body = f"@program\ndef f(ctx):\n{textwrap.indent(body, '    ')}\n    return PASS"
    path = directory / "subtle.py"
    path.write_text(f"{SURROUNDINGS}\n{body}\n")
    return path


@pytest.fixture(scope="module")
def sockets() -> Iterator[list[socket.socket]]:
    with fitting_sockets() as made:
        yield made


@pytest.mark.parametrize("name", CASES)
def test_like_python(name: str, tmp_path: Path, sockets: list[socket.socket]) -> None:
    rng = random.Random(name)
    ports = [Context(local=("192.0.2.1", port)) for port in range(20)]
    module = load_module(write(tmp_path, CASES[name]))
    for index, sock in enumerate(sockets):
        module.servers[index] = sock
    found = difference(module, ports + [random_context(rng) for _ in range(300)])
    assert not found
