"""Reading the context: its fields, and its addresses in comparisons and networks.

Reads go through LLVM's ``llvm.preserve.static.offset``, which keeps each one a load at a constant
offset from the context pointer. Without it LLVM may merge two loads into one at a computed offset,
which the verifier refuses ("dereference of modified ctx ptr").
"""

from __future__ import annotations

import socket
import sys
from collections.abc import Mapping, Sequence
from ipaddress import IPv4Address, IPv4Network, IPv6Network

from ..context import Address, Field
from .flow import Flow, join
from .ir import FunctionBuilder
from .membership import search
from .values import Int, Interval, SelectedSocket, Side

_SK_OFFSET = 0


class ContextReader:
    """Emits reads of the context; a field is read once on each path.

    :ivar fields: the fields that the context has.
    :ivar shows_socket: whether it shows the selected socket.
    """

    def __init__(
        self, builder: FunctionBuilder, fields: Mapping[str, Field], *, shows_socket: bool
    ) -> None:
        self._builder = builder
        self.fields = fields
        self.shows_socket = shows_socket

    def field(self, flow: Flow, name: str, word: int = 0) -> Int:
        """Return a field's value, zero-extended, in the byte order in which it is stored."""
        key = f"{name}[{word}]"
        known = flow.loads.get(key)
        if known is None:
            field = self.fields[name]
            bits = field.size * 8
            pointer = self._pointer(flow, field.offset + word * field.size)
            raw = self._builder.value(
                flow.block, f"load i{bits}, ptr {pointer}, align {field.size}"
            )
            ref = self._builder.value(flow.block, f"zext i{bits} {raw} to i64")
            known = flow.loads[key] = Int(ref, Interval(field.lo, field.hi))
        return known

    def selected_socket(self, flow: Flow) -> SelectedSocket:
        """Return whether a socket is selected; read anew, since a redirect changes it."""
        pointer = self._pointer(flow, _SK_OFFSET)
        sk = self._builder.value(flow.block, f"load volatile ptr, ptr {pointer}, align 8")
        return SelectedSocket(self._builder.is_set(flow.block, sk))

    def _pointer(self, flow: Flow, offset: int) -> str:
        name = "llvm.preserve.static.offset"
        self._builder.declare(name, "ptr {}(ptr readnone)")
        base = self._builder.value(flow.block, f"call ptr @{name}(ptr %ctx)")
        return self._builder.value(
            flow.block, f"getelementptr inbounds i8, ptr {base}, i64 {offset}"
        )

    def by_family(self, flow: Flow) -> tuple[Flow | None, Flow | None]:
        """End ``flow`` with a split by family: the IPv4 path and the IPv6 path.

        A path that is already known not to be taken is None.
        """
        family = self.field(flow, "family")
        v4 = Interval(int(socket.AF_INET), int(socket.AF_INET))
        v6 = Interval(int(socket.AF_INET6), int(socket.AF_INET6))
        bounds = flow.interval(family.ref, family.interval)
        if bounds == v4:
            return flow, None
        if bounds.lo > v4.hi:
            return None, flow
        builder = self._builder
        first, second = builder.new_block("ipv4_"), builder.new_block("ipv6_")
        condition = builder.value(flow.block, f"icmp eq i64 {family.ref}, {v4.lo}")
        builder.branch(flow.block, condition, first, second)
        four, six = flow.fork(first), flow.fork(second)
        four.learn(family.ref, v4)
        six.learn(family.ref, v6)
        return four, six

    def version(self, flow: Flow) -> Int:
        """Return 4 or 6."""
        family = self.field(flow, "family")
        is_v4 = self._builder.value(flow.block, f"icmp eq i64 {family.ref}, {int(socket.AF_INET)}")
        ref = self._builder.value(flow.block, f"select i1 {is_v4}, i64 4, i64 6")
        return Int(ref, Interval(4, 6))

    def equals(self, flow: Flow, side: Side, address: Address) -> tuple[Flow | None, Flow | None]:
        """End ``flow`` with a test for one address."""
        return self.in_network(flow, side, _host(address))

    def same(self, flow: Flow, one: Side, other: Side) -> tuple[Flow | None, Flow | None]:
        """End ``flow`` with a test whether two addresses of the packet are the same."""
        yes: list[Flow] = []
        no: list[Flow] = []
        for path, name, words in zip(self.by_family(flow), ("ip4", "ip6"), (1, 4), strict=True):
            current = path
            for word in range(words):
                if current is None:
                    break
                left = self.field(current, f"{one}_{name}", word)
                right = self.field(current, f"{other}_{name}", word)
                current = self._test(current, f"icmp eq i64 {left.ref}, {right.ref}", no)
            if current is not None:
                yes.append(current)
        return self._joined(yes), self._joined(no)

    def in_network(
        self, flow: Flow, side: Side, network: IPv4Network | IPv6Network
    ) -> tuple[Flow | None, Flow | None]:
        """End ``flow`` with a test whether a network holds an address of the packet."""
        four, six = self.by_family(flow)
        current, other = (four, six) if network.version == 4 else (six, four)
        no = [] if other is None else [other]
        for word, (mask, value) in enumerate(_words(network)):
            if current is None or mask == 0:
                break
            field = self.field(current, f"{side}_ip{network.version}", word)
            ref = field.ref
            if mask != 2**32 - 1:
                ref = self._builder.value(current.block, f"and i64 {ref}, {mask}")
            current = self._test(current, f"icmp eq i64 {ref}, {value}", no)
        return current, self._joined(no)

    def in_intervals(
        self,
        flow: Flow,
        side: Side,
        v4: Sequence[tuple[int, int]],
        v6: Sequence[tuple[int, int]],
    ) -> tuple[Flow | None, Flow | None]:
        """End ``flow`` with a search of an address in sorted, disjoint intervals of addresses."""
        yes: list[Flow] = []
        no: list[Flow] = []
        four, six = self.by_family(flow)
        for path, intervals, bits in ((four, v4, 32), (six, v6, 128)):
            if path is None:
                continue
            if not intervals:
                no.append(path)
                continue
            ref = self._number(path, side, bits)
            found, missed = search(self._builder, path, ref, bits, intervals)
            yes.append(found)
            no.append(missed)
        return self._joined(yes), self._joined(no)

    def _number(self, flow: Flow, side: Side, bits: int) -> str:
        """Return an address as one unsigned number in host byte order."""
        builder = self._builder
        if bits == 32:
            word = self.field(flow, f"{side}_ip4").ref
            narrow = builder.value(flow.block, f"trunc i64 {word} to i32")
            return host_order(builder, flow, narrow, 32)
        halves = []
        for first in (0, 2):
            words = [self.field(flow, f"{side}_ip6", first + i).ref for i in (0, 1)]
            if sys.byteorder == "little":
                words.reverse()
            high = builder.value(flow.block, f"shl i64 {words[0]}, 32")
            both = builder.value(flow.block, f"or i64 {high}, {words[1]}")
            ordered = host_order(builder, flow, both, 64)
            halves.append(builder.value(flow.block, f"zext i64 {ordered} to i128"))
        upper = builder.value(flow.block, f"shl i128 {halves[0]}, 64")
        return builder.value(flow.block, f"or i128 {upper}, {halves[1]}")

    def _test(self, flow: Flow, comparison: str, no: list[Flow]) -> Flow:
        builder = self._builder
        condition = builder.value(flow.block, comparison)
        match, differ = builder.new_block("match"), builder.new_block("differ")
        builder.branch(flow.block, condition, match, differ)
        no.append(flow.fork(differ))
        return flow.fork(match)

    def _joined(self, flows: list[Flow]) -> Flow | None:
        joined = join(self._builder, flows)
        return None if joined is None else joined[0]


def host_order(builder: FunctionBuilder, flow: Flow, ref: str, bits: int) -> str:
    """Return a number that was read in network byte order as the host's."""
    if sys.byteorder == "big":
        return ref
    name = f"llvm.bswap.i{bits}"
    builder.declare(name, f"i{bits} {{}}(i{bits})")
    return builder.value(flow.block, f"call i{bits} @{name}(i{bits} {ref})")


def _host(address: Address) -> IPv4Network | IPv6Network:
    if isinstance(address, IPv4Address):
        return IPv4Network((address, 32))
    return IPv6Network((address, 128))


def _words(network: IPv4Network | IPv6Network) -> list[tuple[int, int]]:
    """Return (mask, value) of each 32-bit word, as the machine reads them from the packet."""
    mask, value = network.netmask.packed, network.network_address.packed
    return [
        (
            int.from_bytes(mask[i : i + 4], sys.byteorder),
            int.from_bytes(value[i : i + 4], sys.byteorder),
        )
        for i in range(0, len(mask), 4)
    ]
