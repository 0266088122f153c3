"""The dispatcher: the program that carries out a ruleset, in the package's own language.

A lookup goes from the destination address to the longest prefix that has rules (a binary search
over the prefix lengths in use: Waldvogel, Varghese, Turner and Plattner, "Scalable High Speed IP
Routing Lookups", 1997), from there by the port to a decision, and only where rules have a source
or an interface on to these. Its cost depends on the number of distinct prefix lengths and of port
ranges at one prefix, by their logarithms, and not on the number of rules.

``tables`` computes what the maps hold; ``layout`` has the numbers that both share. The maps without
a size are made anew for each generation, the others live as long as the dispatcher.
"""

from __future__ import annotations

from errno import EAFNOSUPPORT, ENOENT
from socket import AF_INET, AF_INET6, IPPROTO_UDP, ntohl

from ..programs import (
    DROP,
    PASS,
    Address,
    Array,
    Context,
    Counters,
    Hash,
    LpmTrie,
    SockArray,
    Verdict,
    inline,
    program,
)
from .layout import (
    ACTION_DROP,
    ACTION_SERVICE,
    CHAIN,
    COUNTER_SHIFT,
    GROUP_FLAG,
    LIST_FLAG,
    MAX_SERVICES,
    MEMBERS,
    ON_MISS_PASS,
    PORT_STEPS,
    PREFIX_STEPS,
    SERVICE_COUNTERS,
    SERVICE_SHIFT,
    SLOTS_PER_SERVICE,
)

# Of a generation.
shape = Array(4)
lengths = Array(512)
high_masks = Array(256)
low_masks = Array(256)
prefixes = Hash(0, key=(int, int, int))
nodes = Array(0)
parents = Array(0)
intervals = Array(0)
sources = LpmTrie(0, key=(int, Address))
interfaces = Hash(0, key=(int, int))
actions = Array(0)

# Of the dispatcher.
services = Array(MAX_SERVICES)
sockets = SockArray(MAX_SERVICES * SLOTS_PER_SERVICE)
counters = Counters(0)

# Of one question that the explainer is asked.
question = Array(1)
answer = Array(4)


@inline
def longest_prefix(ctx: Context) -> int:
    """Return the node of the longest prefix that holds the local address; 0 for none."""
    v6 = 1 if ctx.family == AF_INET6 else 0
    if ctx.family == AF_INET:
        high = ntohl(ctx.local_ip4) << 32
        low = 0
    else:
        high = ntohl(ctx.local_ip6[0]) << 32 | ntohl(ctx.local_ip6[1])
        low = ntohl(ctx.local_ip6[2]) << 32 | ntohl(ctx.local_ip6[3])
    best = shape[2 + v6]
    first = 0
    behind = shape[v6] & 0xFF
    for _ in range(PREFIX_STEPS):
        if first >= behind:
            break
        middle = (first + behind) >> 1
        length = lengths[v6 * 256 + (middle & 0xFF)] & 0xFF
        found = prefixes.get((v6 << 8 | length, high & high_masks[length], low & low_masks[length]))
        if found is None:
            behind = middle
        else:
            best = found
            first = middle + 1
    return best & 0xFFFF_FFFF


@inline
def decision_of_port(node: int, udp: int, port: int) -> int:
    """Return what a prefix decides for a port; where it says nothing, what those around it do."""
    decision = 0
    for _ in range(CHAIN):
        if node == 0 or decision != 0:
            break
        word = nodes.get(node * 2 + udp, 0)
        first = word >> 32
        behind = first + (word & 0x1_FFFF)
        for _step in range(PORT_STEPS):
            if first >= behind:
                break
            middle = (first + behind) >> 1
            entry = intervals.get(middle, 0)
            if port < entry >> 48:
                behind = middle
            elif port > entry >> 32 & 0xFFFF:
                first = middle + 1
            else:
                decision = entry & 0xFFFF_FFFF
                break
        node = parents.get(node * 2 + udp, 0) & 0xFFFF_FFFF
    return decision


@inline
def conditional(ctx: Context, decision: int, ifindex: int) -> int:
    """Return the action of a decision that depends on the source or the interface; 0 for none."""
    found = sources.get((decision & (GROUP_FLAG - 1), ctx.remote_ip), 0)
    if found & LIST_FLAG == 0:
        return found
    named = interfaces.get((found & (LIST_FLAG - 1), ifindex))
    if named is not None:
        return named
    return interfaces.get((found & (LIST_FLAG - 1), 0), 0)


@inline
def decide(ctx: Context, ifindex: int) -> int:
    """Return the number of the winning rule, counted from 1 in order of precedence; 0 for none."""
    udp = 1 if ctx.protocol == IPPROTO_UDP else 0
    decision = decision_of_port(longest_prefix(ctx), udp, ctx.local_port)
    if decision & GROUP_FLAG:
        return conditional(ctx, decision, ifindex)
    return decision


@inline
def deliver(ctx: Context, service: int, group: bool) -> int:
    """Select a socket of a service: 0, ENOENT where none fits, or what the kernel says.

    An IPv4 packet takes an IPv4 socket or an IPv6 one that is not V6ONLY.
    """
    udp = 1 if ctx.protocol == IPPROTO_UDP else 0
    banks = services.get(service, 0)
    failure = ENOENT
    for ipv6 in (0, 1):
        if ctx.family == AF_INET6 and ipv6 == 0:
            continue
        kind = udp * 2 + ipv6
        first = ((service * 4 + kind) * 2 + (banks >> kind & 1)) * MEMBERS
        for member in range(MEMBERS):
            error = sockets.select(ctx, first + member, reuseport=group)
            if error == 0:
                return 0
            if error != ENOENT and error != EAFNOSUPPORT:
                failure = error
    return failure


@program
def dispatcher(ctx: Context) -> Verdict:
    """Carry out the rules: redirect to a service, pass or drop; pass where no rule matches."""
    rule = decide(ctx, ctx.ingress_ifindex)
    if rule == 0:
        return PASS
    action = actions.get(rule, 0)
    counters.try_add(action >> COUNTER_SHIFT)
    if action & 3 == ACTION_DROP:
        return DROP
    if action & 3 != ACTION_SERVICE:
        return PASS
    service = action >> SERVICE_SHIFT & 0xFFFF
    counters.try_add(service * SERVICE_COUNTERS)
    error = deliver(ctx, service, group=True)
    if error == 0:
        return PASS
    counters.try_add(service * SERVICE_COUNTERS + 1)
    if error != ENOENT:
        counters.try_add(service * SERVICE_COUNTERS + 2)
    return PASS if action & ON_MISS_PASS else DROP


@program
def explainer(ctx: Context) -> Verdict:
    """Answer what the dispatcher would do with a packet, without counting.

    It is never attached. It takes the interface from ``question``, since a test run cannot set it,
    and selects the very socket that stands for a reuseport group, since a test run cannot choose
    within one.
    """
    rule = decide(ctx, question[0] & 0x7FFF_FFFF)
    action = actions.get(rule, 0) if rule != 0 else 0
    answer[0] = rule
    answer[1] = action
    answer[2] = 0
    if rule == 0:
        return PASS
    if action & 3 == ACTION_DROP:
        return DROP
    if action & 3 != ACTION_SERVICE:
        return PASS
    error = deliver(ctx, action >> SERVICE_SHIFT & 0xFFFF, group=False)
    answer[2] = error
    if error == 0:
        return PASS
    return PASS if action & ON_MISS_PASS else DROP
