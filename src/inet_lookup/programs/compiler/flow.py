"""Control flow: what is known at one point of a function, and how paths come together.

A :class:`Flow` is one path: the block that instructions go to, the variables, and what the
branches taken so far prove. Splitting a path copies it; joining paths makes LLVM ``phi`` nodes and
keeps just what every path knows.
"""

from __future__ import annotations

from collections.abc import Sequence
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network

from ..network_set import NetworkSet
from ..verdict import Verdict
from .constants import is_integer
from .ir import Block, FunctionBuilder
from .values import (
    BIT,
    U64_MAX,
    Bool,
    Constant,
    Int,
    Interval,
    Maybe,
    TupleValue,
    Undefined,
    Value,
    VerdictValue,
)


class Flow:
    """One path through the function, at the point where the compiler stands.

    :ivar block: the block that the next instruction goes to.
    :ivar variables: the local variables of the function (or inlined function) being compiled.
    :ivar facts: bounds proven on this path, by the name of the LLVM value.
    :ivar loads: context fields already read on this path.
    :ivar impossible: whether what is proven contradicts itself, so that the path is never taken.
    """

    __slots__ = ("block", "facts", "impossible", "loads", "variables")

    def __init__(
        self,
        block: Block,
        variables: dict[str, Value],
        facts: dict[str, Interval],
        loads: dict[str, Int],
    ) -> None:
        self.block = block
        self.variables = variables
        self.facts = facts
        self.loads = loads
        self.impossible = False

    def fork(self, block: Block) -> Flow:
        """Return a copy of this path that goes on in another block."""
        copy = Flow(block, dict(self.variables), dict(self.facts), dict(self.loads))
        copy.impossible = self.impossible
        return copy

    def interval(self, ref: str, bounds: Interval) -> Interval:
        """Return the bounds of a value on this path."""
        fact = self.facts.get(ref)
        return bounds if fact is None else bounds.intersection(fact)

    def learn(self, ref: str, bounds: Interval) -> None:
        """Note bounds that hold on this path from here on."""
        known = self.facts.get(ref)
        bounds = bounds if known is None else known.intersection(bounds)
        self.facts[ref] = bounds
        self.impossible = self.impossible or bounds.empty


def int_constant(value: int) -> Int:
    """Return a Python integer as a value of the program."""
    wrapped = value & U64_MAX
    return Int(str(wrapped), Interval(value, value).saturated)


def as_int(builder: FunctionBuilder, flow: Flow, value: Value) -> Int | None:
    """Return an integer or truth value as an integer, or None for another kind."""
    match value:
        case Int(ref, interval):
            return Int(ref, flow.interval(ref, interval))
        case Bool(ref):
            bounds = flow.interval(ref, BIT)
            return Int(builder.value(flow.block, f"zext i1 {ref} to i64"), bounds)
        case Constant(value=int() as constant) if is_integer(constant) and not isinstance(
            constant, Verdict
        ):
            return int_constant(int(constant))
        case Maybe(present, ref, interval) if flow.facts.get(present) == Interval(1, 1):
            return Int(ref, flow.interval(ref, interval))
    return None


def _as_bool(value: Value) -> str | None:
    match value:
        case Bool(ref):
            return ref
        case Constant(value=bool() as constant):
            return "true" if constant else "false"
    return None


def as_verdict(value: Value) -> str | None:
    """Return a verdict as an ``i32``, or None for another kind."""
    match value:
        case VerdictValue(ref):
            return ref
        case Constant(value=Verdict() as verdict):
            return str(int(verdict))
    return None


def _as_maybe(builder: FunctionBuilder, flow: Flow, value: Value) -> Maybe | None:
    match value:
        case Maybe():
            return value
        case Constant(value=None):
            return Maybe("false", "0", Interval(0, 0))
    number = as_int(builder, flow, value)
    if number is None or not number.interval.fits:
        return None
    return Maybe("true", number.ref, number.interval)


def _same(first: Value, second: Value) -> bool:
    if isinstance(first, Constant) and isinstance(second, Constant):
        return _same_constant(first.value, second.value)
    return first == second


_COMPARABLE = (
    bytes,
    int,
    range,
    str,
    IPv4Address,
    IPv4Network,
    IPv6Address,
    IPv6Network,
    NetworkSet,
)


def _same_constant(first: object, second: object) -> bool:
    """Whether no program can tell two constants apart, as it can ``1`` and ``True``."""
    if first is second:
        return True
    if type(first) is not type(second):
        return False
    if isinstance(first, tuple) and isinstance(second, tuple):
        return len(first) == len(second) and all(map(_same_constant, first, second))
    return isinstance(first, _COMPARABLE) and first == second


def merge(
    builder: FunctionBuilder, target: Block, flows: Sequence[Flow], values: Sequence[Value]
) -> Value:
    """Return the value that is ``values[i]`` where control comes from ``flows[i]``.

    The flows must not be ended yet: conversions are emitted at their ends, the ``phi`` in
    ``target``.
    """
    first = values[0]
    if all(_same(first, other) for other in values[1:]):
        if isinstance(first, Int):
            bounds = [flow.interval(first.ref, first.interval) for flow in flows]
            return Int(first.ref, _hull(bounds))
        return first
    for value in values:
        if isinstance(value, Undefined):
            return value

    if all(_as_bool(value) is not None for value in values):
        bits = [(str(_as_bool(v)), flow.block) for v, flow in zip(values, flows, strict=True)]
        return Bool(builder.phi(target, "i1", bits))
    if all(as_verdict(value) is not None for value in values):
        verdicts = [(str(as_verdict(v)), flow.block) for v, flow in zip(values, flows, strict=True)]
        return VerdictValue(builder.phi(target, "i32", verdicts))

    ints = [as_int(builder, flow, value) for value, flow in zip(values, flows, strict=True)]
    numbers = [number for number in ints if number is not None]
    if len(numbers) == len(values):
        ref = builder.phi(
            target, "i64", [(n.ref, flow.block) for n, flow in zip(numbers, flows, strict=True)]
        )
        return Int(ref, _hull([number.interval for number in numbers]))

    options = [_as_maybe(builder, flow, value) for value, flow in zip(values, flows, strict=True)]
    maybes = [option for option in options if option is not None]
    if len(maybes) == len(values):
        pairs = list(zip(maybes, flows, strict=True))
        present = builder.phi(target, "i1", [(m.present, flow.block) for m, flow in pairs])
        ref = builder.phi(target, "i64", [(m.ref, flow.block) for m, flow in pairs])
        return Maybe(present, ref, _hull([m.interval for m in maybes]))

    tuples = [_as_tuple(value) for value in values]
    lengths = {None if items is None else len(items) for items in tuples}
    if len(lengths) == 1 and None not in lengths:
        columns = zip(*(items for items in tuples if items is not None), strict=True)
        merged = tuple(merge(builder, target, flows, column) for column in columns)
        return TupleValue(merged)
    return Undefined(
        "has values of different kinds on different paths",
        "use a variable of its own on each path, or decide inside each branch",
    )


def _as_tuple(value: Value) -> tuple[Value, ...] | None:
    match value:
        case TupleValue(items):
            return items
        case Constant(value=tuple() as items):
            return tuple(Constant(item) for item in items)
    return None


def _hull(intervals: Sequence[Interval]) -> Interval:
    return Interval(min(i.lo for i in intervals), max(i.hi for i in intervals))


def _common_facts(flows: Sequence[Flow]) -> dict[str, Interval]:
    first, *others = (flow.facts for flow in flows)
    common = {}
    for ref, fact in first.items():
        bounds = fact
        for facts in others:
            other = facts.get(ref)
            # Most are of before the paths parted: a long function has thousands of them.
            if other is fact:
                continue
            if other is None:
                break
            bounds = _hull([bounds, other])
        else:
            common[ref] = bounds
    return common


def join(
    builder: FunctionBuilder,
    flows: Sequence[Flow],
    results: Sequence[Sequence[Value]] | None = None,
) -> tuple[Flow, list[Value]] | None:
    """Bring paths together into one.

    :param results: for each path the values (an expression's result, say) to merge along.
    :return: the joined path with the merged values, or None where there is no path at all.
    """
    if not flows:
        return None
    rows = [list(row) for row in results] if results is not None else [[] for _ in flows]
    if len(flows) == 1:
        return flows[0], rows[0]
    target = builder.new_block("join")

    names = dict.fromkeys(name for flow in flows for name in flow.variables)
    missing = Undefined("may be unassigned here", "assign it before the branch")
    variables = {
        name: merge(builder, target, flows, [flow.variables.get(name, missing) for flow in flows])
        for name in names
    }
    merged = [merge(builder, target, flows, column) for column in zip(*rows, strict=True)]
    facts = _common_facts(flows)
    loads = {
        key: load
        for key, load in flows[0].loads.items()
        if all(flow.loads.get(key) == load for flow in flows)
    }
    for flow in flows:
        builder.jump(flow.block, target)
    return Flow(target, variables, facts, loads), merged
