"""Programs that use every construct of the language, for comparing the kernel with Python.

The tests load this file twice: once for the kernel, once to be called in Python, each with maps of
its own. ``PROGRAMS`` and ``MAPS`` list what there is.
"""

import socket
from dataclasses import dataclass
from ipaddress import ip_address, ip_network
from typing import NamedTuple

from inet_lookup import (
    AF_INET,
    AF_INET6,
    DROP,
    IPPROTO_TCP,
    IPPROTO_UDP,
    PASS,
    Address,
    Array,
    Context,
    Counters,
    Hash,
    LpmTrie,
    NetworkSet,
    SockArray,
    Verdict,
    htonl,
    htons,
    inline,
    ntohl,
    ntohs,
    program,
)

servers = SockArray(max_entries=8)
numbers = Array(16)
hits = Counters(8)
ports = Hash(64)
flows = Hash(48, key=(Address, int))
peers = Hash(32, key=Address)
pairs = Hash(64, key=(int, int))
tenants = LpmTrie(32)
scoped = LpmTrie(32, key=(int, Address))

ports[80] = 2
ports[443] = 3
ports[8080] = 0
tenants["0.0.0.0/0"] = 1
tenants["192.0.2.0/24"] = 5
tenants["192.0.2.64/26"] = 6
tenants["2001:db8::/32"] = 7
tenants["2001:db8:0:1::/64"] = 4
scoped[1, "192.0.2.0/24"] = 9
scoped[1, "0.0.0.0/0"] = 1
scoped[80, "2001:db8::/32"] = 4
scoped[443, "2001:db8:1::/48"] = 2
for index in range(16):
    numbers[index] = index * 1000

OFFICES = NetworkSet(
    "192.0.2.0/25", "198.51.100.64/26", "203.0.113.7/32", "2001:db8:1::/48", "2001:db8:2:3::/64"
)
MANY = NetworkSet(
    *(f"10.{i}.0.0/17" for i in range(0, 200, 2)),
    *(f"2001:db8:{i:x}::/48" for i in range(0, 99, 3)),
)
FRIENDS = frozenset(ip_address(a) for a in ("192.0.2.1", "198.51.100.9", "2001:db8::1", "::1"))
WEB = (80, 443, 8080)
SPARSE = frozenset({22, 25, 53, 80, 110, 143, 443, 465, 587, 993, 995, 3306, 5432, 6379, 65535})
WIDE = frozenset(range(1000, 3000)) | frozenset(range(5000, 5100)) | {65000}
MASK32 = 0xFFFF_FFFF


class Port(NamedTuple):
    number: int
    slot: int


@dataclass(frozen=True)
class Limits:
    low: int = 1024
    high: int = 49151


ROUTES = (Port(80, 0), Port(443, 1), Port(53, 2), Port(8080, 3))
LIMITS = Limits()


@inline
def is_web(port: int) -> bool:
    return port in WEB


@inline
def mix(a: int, b: int = 7) -> int:
    """FNV-1a over two numbers, kept to 32 bits."""
    h = 0x811C9DC5
    for value in (a, b):
        h = ((h ^ (value & MASK32)) * 0x01000193) & MASK32
    return h


@inline
def choose(ctx: Context, count: int) -> int:
    return mix(ntohl(ctx.remote_ip4) ^ ctx.remote_ip6[3], ntohs(ctx.remote_port)) % count


@inline
def classify(port: int) -> int | None:
    if port < 1024:
        return 0
    if port in range(1024, 49152):
        return port & 7
    return None


@program
def two_servers(ctx: Context) -> Verdict:
    if ctx.family != AF_INET or ctx.protocol != IPPROTO_TCP or ctx.local_port != 80:
        return PASS
    if ctx.local_ip in ip_network("192.0.2.0/24"):
        return servers.redirect(ctx, 0)
    if ctx.local_ip in ip_network("198.51.100.0/24"):
        return servers.redirect(ctx, 1)
    return PASS


@program
def every_slot(ctx: Context) -> Verdict:
    return servers.redirect(ctx, ctx.local_port & 15, otherwise=DROP)


@program
def huge_index(ctx: Context) -> Verdict:
    return servers.redirect(ctx, ctx.local_ip4 << 30, otherwise=DROP, reuseport=False)


@program
def without_group(ctx: Context) -> Verdict:
    return servers.redirect(ctx, ctx.local_port % 8, reuseport=False)


@program
def networks(ctx: Context) -> Verdict:
    if ctx.local_ip in ip_network("2001:db8:0:1::/64"):
        return DROP
    if ctx.local_ip in ip_network("2001:db8::/33") and ctx.remote_ip not in ip_network("::/0"):
        return DROP
    if ctx.remote_ip in ip_network("0.0.0.0/0") and ctx.local_ip in ip_network("192.0.2.64/26"):
        return servers.redirect(ctx, 0, otherwise=DROP)
    if ctx.local_ip == ip_address("2001:db8::1") or ip_address("192.0.2.1") == ctx.local_ip:
        return servers.redirect(ctx, 3)
    if ctx.local_ip != ctx.remote_ip:
        return PASS
    return DROP


@program
def network_sets(ctx: Context) -> Verdict:
    if ctx.local_ip in OFFICES and ctx.remote_ip not in OFFICES:
        return servers.redirect(ctx, 1, otherwise=DROP)
    if ctx.local_ip in MANY:
        return DROP
    return servers.redirect(ctx, 2) if ctx.remote_ip in FRIENDS else PASS


@program
def sets_of_numbers(ctx: Context) -> Verdict:
    port = ctx.local_port
    if port in SPARSE:
        return DROP
    if port in WIDE:
        return servers.redirect(ctx, 0, otherwise=DROP)
    if port in range(8000, 9000, 3) or port in range(20000, 40000, 7):
        return DROP
    if port not in (1, 2, 3, 60000) and port in range(60000, 1, -1):
        return PASS
    return servers.redirect(ctx, 1)


@program
def arithmetic(ctx: Context) -> Verdict:
    a = ctx.local_port
    b = ntohs(ctx.remote_port)
    c = (a * 31 + b * 17 - 5) & 0xFFFF
    d = (~a ^ b) & 0xFF
    e = -(a | b) & MASK32
    f = (a << (b & 31)) >> 3
    g = a // 7 + b % 13 + (a // (b % 5 + 1))
    h = (c ^ d) + (e & f) + g
    h += 3
    h <<= 2
    h |= 1
    h ^= b
    h //= 3
    h %= 1009
    h *= 5
    h -= 0
    h >>= 1
    h &= 0x3FF
    return servers.redirect(ctx, h % 10, otherwise=DROP if h > 500 else PASS)


@program
def byte_order(ctx: Context) -> Verdict:
    if ntohl(ctx.local_ip4) >> 24 == 192 and htons(ctx.local_port) == 0x5000:
        return DROP
    if htonl(ntohl(ctx.remote_ip4)) != ctx.remote_ip4:
        return DROP
    if ntohl(ctx.local_ip6[0]) == 0x20010DB8 and ctx.local_ip6[3] == htonl(1):
        return servers.redirect(ctx, 2, otherwise=DROP)
    return PASS


@program
def chained(ctx: Context) -> Verdict:
    low, high = 1000, 2000
    if low <= ctx.local_port < high != ntohs(ctx.remote_port):
        return DROP
    if 0 < ctx.local_port <= 1 or not (10 > ntohs(ctx.remote_port) >= 5):
        return servers.redirect(ctx, 0)
    return PASS if ctx.protocol == IPPROTO_UDP else DROP


@program
def and_or_values(ctx: Context) -> Verdict:
    port = ctx.local_port or ntohs(ctx.remote_port) or 9
    both = ctx.local_port and ntohs(ctx.remote_port)
    flag = ctx.family == AF_INET6 and port > 100
    other = not flag or both == 0
    total = port + both + flag + other * 2 + True
    if (flag & other) | (flag ^ other):
        total += 5
    verdict = total % 2 == 0 and total > 50 and flag
    return DROP if verdict else PASS


@program
def conditional_expressions(ctx: Context) -> Verdict:
    slot = 0 if ctx.family == AF_INET else 3 if ctx.protocol == IPPROTO_TCP else 5
    limit = 100 if ctx.local_port > 5000 else ctx.local_port
    verdict = DROP if limit == 100 else PASS
    return servers.redirect(ctx, slot, otherwise=verdict)


@program
def matching(ctx: Context) -> Verdict:
    match ctx.local_port:
        case 80 | 443:
            slot = 0
        case 53:
            slot = 4
        case 80:
            slot = 7
        case LIMITS.low | 22:
            slot = 6
        case 8080 if ctx.family == AF_INET6:
            slot = 2
        case port if port > 60000:
            return DROP
        case 1000 | 1001 | 1002 as port:
            slot = port - 1000
        case _:
            slot = 1
    match ctx.protocol, ctx.family:
        case (socket.IPPROTO_TCP, socket.AF_INET):
            return servers.redirect(ctx, slot, otherwise=DROP)
        case (_, socket.AF_INET6):
            return servers.redirect(ctx, slot & 3)
    match slot:
        case 0:
            return DROP
        case 4 | 6:
            return servers.redirect(ctx, 4)
    return PASS


@program
def matching_verdicts(ctx: Context) -> Verdict:
    first = servers.redirect(ctx, 4, otherwise=DROP)
    match first:
        case Verdict.DROP:
            return servers.redirect(ctx, 0, otherwise=DROP)
        case Verdict.PASS:
            return PASS
    return DROP


@program
def loops(ctx: Context) -> Verdict:
    for route in ROUTES:
        if ctx.local_port == route.number:
            return servers.redirect(ctx, route.slot, otherwise=DROP)
    total = 0
    for i in range(0, 16, 3):
        if i == 6:
            continue
        if i > 10:
            break
        total += (ctx.local_port >> i) & 1
    else:
        total += 100
    for position, (number, slot) in enumerate(((1, 2), (3, 4))):
        if total == number and position < 2:
            return servers.redirect(ctx, slot)
    for low, high in zip((0, 1000), (500, 60000)):  # noqa: B905 (keywords are not supported)
        if low <= ctx.local_port < high:
            total += 1
    for bit in reversed(range(4)):
        total = (total * 2 + bit) & 0xFFF
    for port in (ctx.local_port, ntohs(ctx.remote_port)):
        if port == 443:
            total += 1
    return DROP if total % 3 == 0 else PASS


@program
def nested_loops(ctx: Context) -> Verdict:
    found = 0
    for i in range(4):
        for j in range(4):
            if (ctx.local_port >> i) & 3 == j:
                found += i * j
                break
            if i == 3:
                continue
            found += 1
        else:
            found += 1000
        if found > 40:
            break
    return servers.redirect(ctx, found % 8, otherwise=DROP if found > 9 else PASS)


@program
def calls(ctx: Context) -> Verdict:
    if is_web(ctx.local_port) and not is_web(port=ntohs(ctx.remote_port)):
        return servers.redirect(ctx, choose(ctx, 4))
    kind = classify(ctx.local_port)
    if kind is None:
        return DROP
    if mix(kind) % 2:
        return servers.redirect(ctx, kind, otherwise=DROP)
    return PASS


@program
def constants_of_all_kinds(ctx: Context) -> Verdict:
    if LIMITS.low <= ctx.local_port <= LIMITS.high:
        return PASS
    if ctx.local_port == WEB[1] or ctx.local_port in WEB[1:] + (7, 9):  # noqa: RUF005
        return DROP
    if ctx.local_port < len(WEB) + max(WEB) - min(80, 81) - 2**3:
        return servers.redirect(ctx, ROUTES[2].slot)
    if ctx.local_ip in ip_network("10.0.0.0/8") and ctx.local_ip.version == 4:
        return DROP
    return PASS


@program
def built_ins(ctx: Context) -> Verdict:
    least = min(ctx.local_port, ntohs(ctx.remote_port), 5000)
    most = max(ctx.local_port, ntohs(ctx.remote_port))
    span = (most - ctx.local_port) & 0xFFFF
    if bool(span) and int(span > 1000) + abs(least) > 100:
        return servers.redirect(ctx, len((least, most)))
    return DROP if bool(least) == (most > 9000) else PASS


@program
def arrays(ctx: Context) -> Verdict:
    index = ctx.local_port & 15
    numbers.add(index)
    numbers.add((index + 1) % 16, ntohs(ctx.remote_port))
    value = numbers[index]
    numbers[3] = value & 0xFFFF
    far = numbers.get(ctx.local_port, 5)
    near = numbers.get(index)
    if near is not None and near > 40_000:
        return DROP
    if (maybe := numbers.get(ctx.local_port)) is None:
        return PASS
    return servers.redirect(ctx, (maybe + far % 3) & 7 if maybe < 2**62 else 0)


@program
def counting(ctx: Context) -> Verdict:
    hits.add(0)
    if ctx.family == AF_INET6:
        hits.add(1, ctx.local_port)
    if ctx.local_port < 8:
        hits.add(ctx.local_port, 10)
    hits.add(7, 0xFFFF_FFFF_FFFF_FFFF)
    return PASS


@program
def hashes(ctx: Context) -> Verdict:
    slot = ports.get(ctx.local_port)
    if slot is not None:
        ports.add(ctx.local_port)
        return servers.redirect(ctx, slot & 7, otherwise=DROP)
    if ctx.local_port in ports:
        return DROP
    if ctx.local_port % 5 == 0:
        if ports.put(ctx.local_port, ctx.local_port % 11):
            return PASS
        return DROP
    if ctx.local_port % 7 == 0:
        return PASS if ports.remove(ctx.local_port - 7 if ctx.local_port > 7 else 80) else DROP
    return DROP if ports.get(9, 1) else PASS


@program
def hashes_of_addresses(ctx: Context) -> Verdict:
    known = flows.get((ctx.local_ip, ctx.local_port), 0)
    if not flows.add((ctx.local_ip, ctx.local_port), 3):
        flows.remove((ctx.local_ip, ctx.local_port))
        return DROP
    if ctx.remote_ip in peers:
        peers.add(ctx.remote_ip, known & 0xFF)
    elif not peers.put(ctx.remote_ip, 1):
        return servers.redirect(ctx, 1)
    pairs.add((ctx.family, ctx.protocol))
    return DROP if known > 9 and pairs.get((2, 17), 0) % 2 else PASS


@program
def tries(ctx: Context) -> Verdict:
    tenants.add(ctx.local_ip, 2)
    tenant = tenants.get(ctx.local_ip)
    if tenant is None:
        return DROP if ctx.remote_ip in tenants else PASS
    return servers.redirect(ctx, tenant % 8, otherwise=DROP)


@program
def scoped_tries(ctx: Context) -> Verdict:
    found = scoped.get((ctx.local_port & 0x1FF, ctx.remote_ip), 7)
    if (ctx.protocol == IPPROTO_TCP, ctx.local_ip) in scoped:
        scoped.add((1, ctx.local_ip), 3)
        return servers.redirect(ctx, found % 8)
    return DROP if found == 7 else PASS


@program
def errors_of_selecting(ctx: Context) -> Verdict:
    error = servers.select(ctx, ctx.local_port & 7, reuseport=False)
    hits.try_add(error % 9)
    if not numbers.try_add(ctx.local_port, 2):
        return DROP
    match error:
        case 0:
            return PASS
        case 2 | 97:
            return DROP
    return servers.redirect(ctx, 1)


@program
def selections(ctx: Context) -> Verdict:
    if ctx.sk is not None:
        return DROP
    servers.redirect(ctx, 0)
    if ctx.sk is None:
        servers.redirect(ctx, 3)
    if ctx.local_port > 30000:
        return servers.redirect(ctx, 4, otherwise=DROP)
    return PASS


@program
def narrowing(ctx: Context) -> Verdict:
    port = ctx.local_port
    if port < 1024:
        return PASS
    base = port - 1024
    if base in range(512):
        return servers.redirect(ctx, base >> 6)
    if port >= 49152 and (ephemeral := port - 49152) < 16:
        numbers[ephemeral] = ephemeral
        return DROP
    back = 65535 - port
    return PASS if back % 2 else DROP


@program
def typed(ctx: Context) -> Verdict:
    first: int
    first = second = ctx.local_port
    third: int = first
    first, second = second + 1, first
    (a, b), c = (first, second), third
    flag: bool = a == b + 1 and b == c
    if flag is True or not flag:
        pass
    return PASS if flag else DROP


def make(network: str, slot: int):
    prefix = ip_network(network)

    @program
    def of_closure(ctx: Context) -> Verdict:
        if ctx.local_ip in prefix:
            return servers.redirect(ctx, slot, otherwise=DROP)
        return PASS

    return of_closure


closure_v4 = make("192.0.2.0/24", 1)
closure_v6 = make("2001:db8:1::/48", 2)

PROGRAMS = {
    name: value
    for name, value in list(globals().items())
    if type(value).__name__ == "ProgramFunction"
}
MAPS = {
    "numbers": numbers,
    "ports": ports,
    "flows": flows,
    "peers": peers,
    "pairs": pairs,
    "hits": hits,
    "tenants": tenants,
    "scoped": scoped,
}
