"""Expressions: from Python's syntax to values, conditions and what they prove."""

from __future__ import annotations

import ast
import enum
import socket
from collections.abc import Callable, Sequence
from types import FunctionType
from typing import TYPE_CHECKING, TypeAlias, cast

from ..inline import inline_source
from ..maps.base import ProgramMap
from ..network_set import NetworkSet
from ..verdict import Verdict
from . import arithmetic, constants, map_access
from .context_access import ContextReader, host_order
from .flow import Flow, as_int, as_verdict, int_constant, join
from .ir import FunctionBuilder
from .membership import intervals_of, search
from .refusal import Refused
from .source import FunctionSource
from .values import (
    BIT,
    AddressValue,
    AddressWords,
    Bool,
    Constant,
    ContextValue,
    Int,
    Interval,
    Maybe,
    SelectedSocket,
    Side,
    TupleValue,
    Undefined,
    Value,
    VerdictValue,
)

if TYPE_CHECKING:
    from .map_table import MapTable

Split = tuple[Flow | None, Flow | None]

# Ranges with a step and up to this many numbers are searched like a tuple.
_FEW = 64

_SIDES: dict[str, Side] = {"local": "local", "remote": "remote"}


InlineCall: TypeAlias = Callable[[FunctionSource, dict[str, Value], Flow, ast.Call], Value]
"""Compiles the body of an inlined function in place of its call; the path goes on behind it."""


def _shown(constant: object) -> str:
    text = repr(constant)
    return text if len(text) <= 60 else f"{text[:57]}..."


def kind(value: Value) -> str:
    """Return what a value is, in words for a message."""
    match value:
        case Constant(value=ProgramMap() as table):
            return f"a map of the type {type(table).__name__}"
        case Constant(value=constant):
            return "None" if constant is None else f"{type(constant).__name__} {_shown(constant)}"
        case Int():
            return "an integer"
        case Bool():
            return "a truth value"
        case VerdictValue():
            return "a verdict"
        case Maybe():
            return "an integer or None"
        case AddressValue():
            return "an address"
        case AddressWords():
            return "the four words of an address"
        case ContextValue():
            return "the context"
        case SelectedSocket():
            return "a socket or None"
        case TupleValue():
            return "a tuple"
        case Undefined():
            return "undefined"


class Expressions:
    """Compiles the expressions of one function.

    :param source: the function, for names and places in messages.
    :param builder: where instructions go.
    :param reader: reads of the context.
    :param maps: the maps that the program refers to so far.
    :param inline: compiles calls of inlined functions.
    :param locals_: the names that are local variables.
    """

    def __init__(
        self,
        source: FunctionSource,
        builder: FunctionBuilder,
        reader: ContextReader,
        maps: MapTable,
        inline: InlineCall,
        locate: Callable[[ast.AST], None],
        locals_: frozenset[str],
    ) -> None:
        self._source = source
        self._builder = builder
        self._reader = reader
        self._maps = maps
        self._inline = inline
        self._locate = locate
        self._locals = locals_

    # --- values -------------------------------------------------------------------------------

    def value(self, node: ast.expr, flow: Flow) -> Value:
        """Compile an expression; instructions are appended to ``flow``, which moves on.

        :raises CompileError: the expression is not supported, or could differ from Python.
        """
        self._locate(node)
        try:
            result = self._value(node, flow)
        except Refused as refused:
            raise self._source.refuse(node, refused) from None
        if isinstance(result, Undefined):
            raise self._source.error(node, f"this {result.problem}", result.hint)
        self._locate(node)
        return result

    def integer(self, node: ast.expr, flow: Flow, what: str) -> Int:
        """Compile an expression that must be an integer which 64 bits hold."""
        value = self.value(node, flow)
        try:
            return self._fitting(flow, value, what)
        except Refused as refused:
            raise self._source.refuse(node, refused) from None

    def _fitting(self, flow: Flow, value: Value, what: str) -> Int:
        return arithmetic.fitting(flow, self._int(flow, value, what), what)

    def _int(self, flow: Flow, value: Value, what: str) -> Int:
        number = as_int(self._builder, flow, value)
        if number is not None:
            return number
        if isinstance(value, Maybe):
            raise Refused(
                f"{what} may be None",
                "test it first (if x is not None), or give a default: table.get(key, 0)",
            )
        if isinstance(value, VerdictValue):
            raise Refused(f"{what} is a verdict, not a number", "compare it with PASS or DROP")
        if isinstance(value, AddressValue):
            raise Refused(
                f"{what} is an address, not a number",
                "compare it with ip_address(...), use 'in' with a network, or ctx.local_ip4",
            )
        if isinstance(value, Constant) and isinstance(value.value, enum.Flag):
            flag = value.value
            raise Refused(
                f"{what} is the flag {flag!r}", f"use {type(flag).__name__}.{flag.name}.value"
            )
        raise Refused(f"{what} is {kind(value)}, not an integer", "use an integer here")

    def _value(self, node: ast.expr, flow: Flow) -> Value:
        match node:
            case ast.Constant(value=constant):
                return self._literal(constant)
            case ast.Name(id=name):
                return self._name(name, flow)
            case ast.Attribute(value=base, attr=attr):
                return self._attribute(self.value(base, flow), attr, flow)
            case ast.Subscript():
                return self._subscript(node, flow)
            case ast.BinOp():
                return self._operations(node, flow)
            case ast.UnaryOp(op=ast.Not()):
                return self._materialize(node, flow)
            case ast.UnaryOp(op=op, operand=operand):
                return self._unary(op, self.value(operand, flow), flow)
            case ast.Compare():
                return self._materialize(node, flow)
            case ast.BoolOp():
                return self._bool_op(node, flow)
            case ast.IfExp(test=test, body=body, orelse=orelse):
                return self._conditional(test, body, orelse, flow)
            case ast.NamedExpr(target=ast.Name(id=name), value=inner):
                value = self.value(inner, flow)
                flow.variables[name] = value
                return value
            case ast.Tuple(elts=elements):
                return self._tuple(elements, flow)
            case ast.Call():
                return self._call(node, flow)
        raise Refused(
            *_UNSUPPORTED.get(
                type(node), ("this expression is not supported", "write it in other words")
            )
        )

    def _literal(self, constant: object) -> Value:
        if isinstance(constant, float | complex):
            raise Refused("BPF has integers only", "use an integer")
        if constant is Ellipsis or isinstance(constant, bytes):
            raise Refused(f"{constant!r} has no meaning in a program", "use an integer")
        return Constant(constant)

    def _name(self, name: str, flow: Flow) -> Value:
        if name in self._locals:
            value = flow.variables.get(name)
            if value is None:
                raise Refused(f"{name!r} is not assigned yet here", "assign it first")
            if isinstance(value, Undefined):
                raise Refused(f"{name!r} {value.problem}", value.hint)
            return value
        try:
            found = self._source.lookup(name)
        except KeyError:
            raise Refused(
                f"name {name!r} is not defined", "define it, or correct the name", undefined=True
            ) from None
        return Constant(constants.check(name, found))

    def _attribute(self, base: Value, attr: str, flow: Flow) -> Value:
        match base:
            case ContextValue():
                return self._context_field(attr, flow)
            case AddressValue() if attr == "version":
                return self._reader.version(flow)
            case AddressValue():
                raise Refused(
                    f"address attribute {attr!r} is not supported",
                    "use 'in' with a network, == with an address, or .version",
                )
            case Constant(value=constant) if not isinstance(constant, ProgramMap):
                return Constant(constants.attribute(constant, attr))
        raise Refused(
            f"{kind(base)} has no attribute {attr!r} in a program",
            "call the methods of maps; take anything else into a module constant",
        )

    def _context_field(self, attr: str, flow: Flow) -> Value:
        if attr in ("local_ip", "remote_ip"):
            return AddressValue(_SIDES[attr.removesuffix("_ip")])
        if attr in ("local_ip6", "remote_ip6"):
            return AddressWords(_SIDES[attr.removesuffix("_ip6")])
        if attr == "sk" and self._reader.shows_socket:
            return self._reader.selected_socket(flow)
        if attr in self._reader.fields:
            return self._reader.field(flow, attr)
        from difflib import get_close_matches

        names = [*self._reader.fields, "local_ip", "remote_ip"]
        if self._reader.shows_socket:
            names.append("sk")
        close = get_close_matches(attr, names, 1)
        raise Refused(
            f"the context has no field {attr!r}",
            f"did you mean {close[0]!r}?" if close else f"it has {', '.join(sorted(names))}",
        )

    def _subscript(self, node: ast.Subscript, flow: Flow) -> Value:
        base = self.value(node.value, flow)
        if isinstance(node.slice, ast.Slice):
            if not isinstance(base, Constant):
                raise Refused("only constants can be sliced", "name the elements one by one")
            bounds: list[int | None] = []
            for part in (node.slice.lower, node.slice.upper, node.slice.step):
                index = Constant(None) if part is None else self.value(part, flow)
                if not isinstance(index, Constant) or not isinstance(index.value, int | None):
                    raise Refused("a slice needs constant integers", "write numbers")
                bounds.append(index.value)
            return Constant(constants.item(base.value, slice(*bounds)))
        index = self.value(node.slice, flow)
        self._locate(node)
        match base:
            case Constant(value=ProgramMap() as table):
                return map_access.get_item(self._map_call(flow), table, index)
            case AddressWords(side):
                word = index.value if isinstance(index, Constant) else None
                if not isinstance(word, int) or not 0 <= word <= 3:
                    raise Refused(
                        "the four words of an address need a constant index, 0 to 3",
                        "write the number, or loop over (0, 1, 2, 3)",
                    )
                return self._reader.field(flow, f"{side}_ip6", int(word))
            case TupleValue(items):
                if not isinstance(index, Constant) or not isinstance(index.value, int):
                    raise Refused("a tuple needs a constant index", "use an Array map, or match")
                if not -len(items) <= index.value < len(items):
                    raise Refused(
                        f"index {index.value} is out of range: the tuple has {len(items)} elements",
                        "correct the index",
                    )
                return items[index.value]
            case Constant(value=constant):
                if not isinstance(index, Constant):
                    raise Refused(
                        f"{kind(base)} cannot be indexed by a value known only at run time",
                        "use an Array map, or match",
                    )
                return Constant(constants.item(constant, index.value))
        raise Refused(f"{kind(base)} cannot be indexed", "use a tuple, or an Array map")

    def _operations(self, node: ast.BinOp, flow: Flow) -> Value:
        # A long sum nests on the left, as deep as it is long.
        chain = [node]
        while isinstance(chain[-1].left, ast.BinOp):
            chain.append(chain[-1].left)
        result = self.value(chain[-1].left, flow)
        for operation in reversed(chain):
            right = self.value(operation.right, flow)
            self._locate(operation)
            try:
                result = self._binary(operation.op, result, right, flow)
            except Refused as refused:
                raise self._source.refuse(operation, refused) from None
        return result

    def _binary(self, op: ast.operator, left: Value, right: Value, flow: Flow) -> Value:
        if isinstance(left, Constant) and isinstance(right, Constant):
            return Constant(constants.binary(op, left.value, right.value))
        a = self._int(flow, left, "the left operand")
        b = self._int(flow, right, "the right operand")
        result = arithmetic.binary(self._builder, flow, op, a, b)
        if isinstance(op, ast.BitAnd | ast.BitOr | ast.BitXor) and _is_bool(left, right):
            return self._test_bit(flow, result)
        return result

    def _test_bit(self, flow: Flow, number: Int) -> Bool:
        return Bool(self._builder.value(flow.block, f"icmp ne i64 {number.ref}, 0"))

    def _unary(self, op: ast.unaryop, operand: Value, flow: Flow) -> Value:
        if isinstance(operand, Constant):
            return Constant(constants.unary(op, operand.value))
        number = self._int(flow, operand, "the operand")
        if isinstance(op, ast.USub):
            return arithmetic.negate(self._builder, flow, number)
        if isinstance(op, ast.Invert):
            return arithmetic.invert(self._builder, flow, number)
        return number

    def _tuple(self, elements: Sequence[ast.expr], flow: Flow) -> Value:
        if any(isinstance(element, ast.Starred) for element in elements):
            raise Refused("* in a tuple is not supported", "write the elements out")
        items = tuple(self.value(element, flow) for element in elements)
        plain = [item.value for item in items if isinstance(item, Constant)]
        return Constant(tuple(plain)) if len(plain) == len(items) else TupleValue(items)

    def _materialize(self, node: ast.expr, flow: Flow) -> Value:
        """Compile a condition as a value."""
        # `or` and `and` give back operands and go elsewhere; here the answer is a truth value.
        if_true, if_false = self.branch(node, flow.fork(flow.block))
        flows, results = [], []
        for path, answer in ((if_true, True), (if_false, False)):
            if path is not None:
                flows.append(path)
                results.append([Constant(answer)])
        return self._rejoin(flow, flows, results)

    def _rejoin(
        self, flow: Flow, flows: Sequence[Flow], results: Sequence[Sequence[Value]]
    ) -> Value:
        joined = join(self._builder, flows, results)
        assert joined is not None, "an expression always has a value on some path"
        flow.block = joined[0].block
        flow.variables = joined[0].variables
        flow.facts = joined[0].facts
        flow.loads = joined[0].loads
        return joined[1][0]

    def _conditional(self, test: ast.expr, body: ast.expr, orelse: ast.expr, flow: Flow) -> Value:
        if_true, if_false = self.branch(test, flow.fork(flow.block))
        flows, results = [], []
        for path, node in ((if_true, body), (if_false, orelse)):
            if path is not None:
                results.append([self.value(node, path)])
                flows.append(path)
        return self._rejoin(flow, flows, results)

    def _bool_op(self, node: ast.BoolOp, flow: Flow) -> Value:
        # Python's `and` and `or` give back the operand that decided.
        stops_on = isinstance(node.op, ast.Or)
        flows: list[Flow] = []
        results: list[list[Value]] = []
        current: Flow | None = flow.fork(flow.block)
        for operand in node.values[:-1]:
            assert current is not None
            value = self.value(operand, current)
            yes, no = self._truth(value, current, operand)
            stopped, current = (yes, no) if stops_on else (no, yes)
            if stopped is not None:
                flows.append(stopped)
                results.append([value])
            if current is None:
                break
        if current is not None:
            results.append([self.value(node.values[-1], current)])
            flows.append(current)
        return self._rejoin(flow, flows, results)

    # --- conditions ---------------------------------------------------------------------------

    def branch(self, node: ast.expr, flow: Flow) -> Split:
        """End ``flow`` with a condition: the path on which it holds, and the other.

        A path that is proven never to be taken is None, and what it would hold is not compiled.
        """
        self._locate(node)
        try:
            return self._branch(node, flow)
        except Refused as refused:
            raise self._source.refuse(node, refused) from None

    def compare(self, op: ast.cmpop, left: Value, right: Value, flow: Flow, node: ast.AST) -> Split:
        """End ``flow`` with a comparison of two values; messages point at ``node``."""
        self._locate(node)
        try:
            return self._compare(op, left, right, flow)
        except Refused as refused:
            raise self._source.refuse(node, refused) from None

    def _branch(self, node: ast.expr, flow: Flow) -> Split:
        match node:
            case ast.UnaryOp(op=ast.Not(), operand=operand):
                if_true, if_false = self.branch(operand, flow)
                return if_false, if_true
            case ast.BoolOp(op=op, values=operands):
                return self._branch_bool_op(operands, flow, stops_on=isinstance(op, ast.Or))
            case ast.Compare(left=left, ops=ops, comparators=comparators):
                return self._branch_compare(left, ops, comparators, flow)
        return self._truth(self.value(node, flow), flow, node)

    def _branch_bool_op(self, operands: Sequence[ast.expr], flow: Flow, *, stops_on: bool) -> Split:
        stopped: list[Flow] = []
        current: Flow | None = flow
        for operand in operands:
            if current is None:
                break
            yes, no = self.branch(operand, current)
            stop, current = (yes, no) if stops_on else (no, yes)
            if stop is not None:
                stopped.append(stop)
        joined = join(self._builder, stopped)
        stop = None if joined is None else joined[0]
        return (stop, current) if stops_on else (current, stop)

    def _branch_compare(
        self,
        left: ast.expr,
        ops: Sequence[ast.cmpop],
        comparators: Sequence[ast.expr],
        flow: Flow,
    ) -> Split:
        failed: list[Flow] = []
        current: Flow | None = flow
        before = self.value(left, flow)
        for op, comparator in zip(ops, comparators, strict=True):
            assert current is not None
            after = self.value(comparator, current)
            self._locate(left)
            current, no = self._compare(op, before, after, current)
            if no is not None:
                failed.append(no)
            if current is None:
                break
            before = after
        joined = join(self._builder, failed)
        return current, None if joined is None else joined[0]

    def _compare(self, op: ast.cmpop, left: Value, right: Value, flow: Flow) -> Split:
        if isinstance(op, ast.NotEq | ast.NotIn | ast.IsNot):
            positive = {ast.NotEq: ast.Eq, ast.NotIn: ast.In, ast.IsNot: ast.Is}[type(op)]()
            if_true, if_false = self._compare(positive, left, right, flow)
            return if_false, if_true
        if isinstance(op, ast.In):
            return self._contains(left, right, flow)
        if isinstance(op, ast.Is):
            return self._identical(left, right, flow)
        if isinstance(left, Constant) and isinstance(right, Constant):
            return self._decided(bool(constants.compare(op, left.value, right.value)), flow)
        if isinstance(left, AddressValue) or isinstance(right, AddressValue):
            return self._compare_address(op, left, right, flow)
        if as_verdict(left) is not None and as_verdict(right) is not None:
            if not isinstance(op, ast.Eq):
                raise Refused("verdicts have no order", "use == or !=")
            return self._compare_verdicts(left, right, flow)
        for side in (left, right):
            if isinstance(side, Maybe) and as_int(self._builder, flow, side) is None:
                raise Refused(
                    "the value may be None",
                    "test it first (if x is not None), or give a default: table.get(key, 0)",
                )
        a = self._int(flow, left, "the left side of the comparison")
        b = self._int(flow, right, "the right side of the comparison")
        answer = arithmetic.compare(self._builder, flow, type(op), a, b)
        if isinstance(answer, bool):
            return self._decided(answer, flow)
        if_true, if_false = self._split(answer, flow)
        arithmetic.learn(if_true, type(op), a, b, holds=True)
        arithmetic.learn(if_false, type(op), a, b, holds=False)
        return self._possible(if_true), self._possible(if_false)

    def _compare_address(self, op: ast.cmpop, left: Value, right: Value, flow: Flow) -> Split:
        if not isinstance(op, ast.Eq):
            raise Refused("addresses have no order here", "use ==, !=, or 'in' with a network")
        match left, right:
            case AddressValue(one), AddressValue(other):
                return self._reader.same(flow, one, other)
            case (AddressValue(side), Constant(value=address)) | (
                Constant(value=address),
                AddressValue(side),
            ) if isinstance(address, constants.ADDRESSES):
                if not constants.is_address(address):
                    return self._decided(False, flow)
                return self._reader.equals(flow, side, address)
        other_side = right if isinstance(left, AddressValue) else left
        raise Refused(
            f"an address is compared with {kind(other_side)}",
            'compare it with ip_address("192.0.2.1"), or use in with ip_network("192.0.2.0/24")',
        )

    def _compare_verdicts(self, left: Value, right: Value, flow: Flow) -> Split:
        one, other = as_verdict(left), as_verdict(right)
        condition = self._builder.value(flow.block, f"icmp eq i32 {one}, {other}")
        return self._split(condition, flow)

    def _identical(self, left: Value, right: Value, flow: Flow) -> Split:
        if isinstance(left, Constant) and isinstance(right, Constant):
            return self._decided(bool(constants.compare(ast.Is(), left.value, right.value)), flow)
        if as_verdict(left) is not None and as_verdict(right) is not None:
            return self._compare_verdicts(left, right, flow)
        if isinstance(left, Constant) and left.value is None:
            left, right = right, left
        if isinstance(left, Bool) and isinstance(right, Constant) and isinstance(right.value, bool):
            if_true, if_false = self._truth_bit(left.ref, flow)
            return (if_true, if_false) if right.value else (if_false, if_true)
        if not (isinstance(right, Constant) and right.value is None):
            raise Refused("'is' compares identity, which numbers do not have", "use ==")
        match left:
            case Maybe(present):
                there, missing = self._truth_bit(present, flow)
                return missing, there
            case SelectedSocket(present):
                there, missing = self._truth_bit(present, flow)
                return missing, there
            case Undefined(problem, hint):
                raise Refused(f"this {problem}", hint)
        return self._decided(False, flow)

    def _contains(self, item: Value, container: Value, flow: Flow) -> Split:
        if isinstance(container, TupleValue):
            return self._contains_any(item, container.items, flow)
        if not isinstance(container, Constant):
            raise Refused(
                f"'in' does not work on {kind(container)}",
                "use it on a network, NetworkSet, range, tuple, frozenset, Hash or LpmTrie",
            )
        target = container.value
        if isinstance(target, ProgramMap):
            maybe = map_access.contains(self._map_call(flow), target, item)
            return self._truth_bit(maybe.ref, flow)
        if isinstance(item, Constant):
            return self._decided(bool(constants.compare(ast.In(), item.value, target)), flow)
        if isinstance(item, AddressValue):
            return self._contains_address(item.side, target, flow)
        if isinstance(item, TupleValue) or as_verdict(item) is not None:
            if isinstance(target, tuple):
                return self._contains_any(item, [Constant(element) for element in target], flow)
            raise Refused(f"'in' does not work with {kind(item)} here", "compare with == and or")
        return self._contains_number(self._int(flow, item, "the left side of 'in'"), target, flow)

    def _contains_any(self, item: Value, candidates: Sequence[Value], flow: Flow) -> Split:
        found: list[Flow] = []
        current: Flow | None = flow
        for candidate in candidates:
            if current is None:
                break
            yes, current = self._compare(ast.Eq(), item, candidate, current)
            if yes is not None:
                found.append(yes)
        joined = join(self._builder, found)
        return None if joined is None else joined[0], current

    def _contains_address(self, side: Side, target: object, flow: Flow) -> Split:
        if isinstance(target, constants.NETWORKS):
            return self._reader.in_network(flow, side, target)
        if isinstance(target, NetworkSet):
            return self._reader.in_intervals(flow, side, target.intervals(4), target.intervals(6))
        if isinstance(target, tuple | frozenset):
            if any(isinstance(element, constants.NETWORKS) for element in target):
                raise Refused(
                    f"a {type(target).__name__} holds what is equal, and no address equals a "
                    "network",
                    'use NetworkSet("192.0.2.0/24", ...)',
                )
            if all(isinstance(element, constants.ADDRESSES) for element in target):
                possible = [element for element in target if constants.is_address(element)]
                v4, v6 = (
                    intervals_of(int(a) for a in possible if a.version == version)
                    for version in (4, 6)
                )
                return self._reader.in_intervals(flow, side, v4, v6)
        raise Refused(
            f"an address cannot be looked up in {kind(Constant(target))}",
            "use ip_network(...), NetworkSet(...), or a tuple or frozenset of addresses",
        )

    def _contains_number(self, number: Int, target: object, flow: Flow) -> Split:
        number = arithmetic.fitting(flow, number, "the left side of 'in'")
        if isinstance(target, range):
            # A range may be of any length: len() and min() of it would fail or take for ever.
            if abs(target.step) == 1:
                ends = (target[0], target[-1]) if target else ()
                intervals = [(min(ends), max(ends))] if ends else []
            elif len(target[: _FEW + 1]) > _FEW:
                return self._contains_stepped(number, target, flow)
            else:
                intervals = intervals_of(target)
        elif isinstance(target, tuple | frozenset):
            if not all(constants.is_integer(element) for element in target):
                raise Refused(
                    f"an integer is looked up in {kind(Constant(target))}",
                    "use a tuple or frozenset of integers",
                )
            intervals = intervals_of(int(element) for element in target)
        else:
            raise Refused(
                f"an integer cannot be looked up in {kind(Constant(target))}",
                "use a range, a tuple or a frozenset of integers",
            )
        bounds = number.interval
        clipped = [
            (max(lo, bounds.lo), min(hi, bounds.hi))
            for lo, hi in intervals
            if hi >= bounds.lo and lo <= bounds.hi
        ]
        if not clipped:
            return self._decided(False, flow)
        if clipped == [(bounds.lo, bounds.hi)]:
            return self._decided(True, flow)
        found, missed = search(self._builder, flow, number.ref, 64, clipped)
        found.learn(number.ref, Interval(clipped[0][0], clipped[-1][1]))
        if clipped[0][0] == bounds.lo:
            missed.learn(number.ref, Interval(clipped[0][1] + 1, bounds.hi))
        if clipped[-1][1] == bounds.hi:
            missed.learn(number.ref, Interval(bounds.lo, clipped[-1][0] - 1))
        return self._possible(found), self._possible(missed)

    def _contains_stepped(self, number: Int, target: range, flow: Flow) -> Split:
        step = abs(target.step)
        lo, hi = sorted((target[0], target[-1]))
        if lo < 0:
            lo %= step
        if lo > hi:
            return self._decided(False, flow)
        inside, outside = self._contains_number(number, range(lo, hi + 1), flow)
        if inside is None:
            return None, outside
        offset = arithmetic.binary(self._builder, inside, ast.Sub(), number, int_constant(lo))
        rest = arithmetic.binary(self._builder, inside, ast.Mod(), offset, int_constant(step))
        yes, no = self._compare(ast.Eq(), rest, Constant(0), inside)
        joined = join(self._builder, [path for path in (no, outside) if path is not None])
        return yes, None if joined is None else joined[0]

    def _truth(self, value: Value, flow: Flow, node: ast.expr) -> Split:
        match value:
            case Constant(value=constant):
                return self._decided(constants.truth(constant), flow)
            case Bool(ref):
                return self._truth_bit(ref, flow)
            case VerdictValue():
                return self._compare(ast.NotEq(), value, Constant(Verdict.DROP), flow)
            case TupleValue(items):
                return self._decided(bool(items), flow)
            case Maybe(present) if as_int(self._builder, flow, value) is None:
                there, missing = self._truth_bit(present, flow)
                if there is None:
                    return None, missing
                yes, no = self._truth(value, there, node)
                joined = join(self._builder, [path for path in (no, missing) if path is not None])
                return yes, None if joined is None else joined[0]
            case Int() | Maybe():
                return self._compare(ast.NotEq(), value, Constant(0), flow)
        if isinstance(value, SelectedSocket):
            raise Refused("ctx.sk is not a condition", "write: ctx.sk is not None")
        raise Refused(f"{kind(value)} is not a condition", "compare it with something")

    def _truth_bit(self, ref: str, flow: Flow) -> Split:
        if ref in ("true", "false"):
            return self._decided(ref == "true", flow)
        bounds = flow.interval(ref, BIT)
        if bounds.lo == bounds.hi:
            return self._decided(bool(bounds.lo), flow)
        if_true, if_false = self._split(ref, flow)
        if_true.learn(ref, Interval(1, 1))
        if_false.learn(ref, Interval(0, 0))
        return if_true, if_false

    def _split(self, condition: str, flow: Flow) -> tuple[Flow, Flow]:
        yes, no = self._builder.new_block("true"), self._builder.new_block("false")
        self._builder.branch(flow.block, condition, yes, no)
        return flow.fork(yes), flow.fork(no)

    @staticmethod
    def _decided(answer: bool, flow: Flow) -> Split:
        return (flow, None) if answer else (None, flow)

    def _possible(self, flow: Flow) -> Flow | None:
        if not flow.impossible:
            return flow
        self._builder.unreachable(flow.block)
        return None

    # --- calls --------------------------------------------------------------------------------

    def _map_call(self, flow: Flow) -> map_access.MapCall:
        return map_access.MapCall(self._builder, self._reader, self._maps, flow)

    def _call(self, node: ast.Call, flow: Flow) -> Value:
        if any(isinstance(argument, ast.Starred) for argument in node.args) or any(
            keyword.arg is None for keyword in node.keywords
        ):
            raise Refused("* and ** in a call are not supported", "write the arguments out")
        if isinstance(node.func, ast.Attribute):
            receiver = self.value(node.func.value, flow)
            if isinstance(receiver, Constant) and isinstance(receiver.value, ProgramMap):
                arguments, keywords = self._arguments(node, flow)
                self._locate(node)
                return map_access.call_method(
                    self._map_call(flow), receiver.value, node.func.attr, arguments, keywords
                )
            function = self._attribute(receiver, node.func.attr, flow)
        else:
            function = self.value(node.func, flow)
        if not isinstance(function, Constant):
            raise Refused(
                f"{kind(function)} cannot be called", "call a function marked with @inline"
            )
        target = function.value
        source = inline_source(target)
        arguments, keywords = self._arguments(node, flow)
        self._locate(node)
        if source is not None:
            return self._inline(source, self._bind(source, arguments, keywords), flow, node)
        plain = isinstance(target, constants.CALLABLE)
        if plain and target in constants.PURE:
            values = [*arguments, *keywords.values()]
            if all(isinstance(value, Constant) for value in values):
                result = constants.call(
                    cast("Callable[..., object]", target),
                    [argument.value for argument in arguments if isinstance(argument, Constant)],
                    {k: v.value for k, v in keywords.items() if isinstance(v, Constant)},
                )
                return Constant(result)
        if not keywords and plain:
            if target in _BYTE_ORDER and len(arguments) == 1:
                return self._swap(target, arguments[0], flow)
            if target is bool and len(arguments) == 1:
                return self._as_truth(arguments[0], flow, node)
            if target is int and len(arguments) == 1:
                return self._int(flow, arguments[0], "the argument of int()")
            if target is abs and len(arguments) == 1:
                return self._fitting(flow, arguments[0], "the argument of abs()")
            if target in (min, max) and len(arguments) >= 2:
                return self._extreme(target is min, arguments, flow)
            if target is len and len(arguments) == 1 and isinstance(arguments[0], TupleValue):
                return Constant(len(arguments[0].items))
        raise Refused(*_no_call(target))

    def _arguments(self, node: ast.Call, flow: Flow) -> tuple[list[Value], dict[str, Value]]:
        arguments = [self.value(argument, flow) for argument in node.args]
        keywords = {str(keyword.arg): self.value(keyword.value, flow) for keyword in node.keywords}
        return arguments, keywords

    def _bind(
        self, source: FunctionSource, arguments: list[Value], keywords: dict[str, Value]
    ) -> dict[str, Value]:
        import inspect

        parameters = source.node.args
        if parameters.vararg or parameters.kwarg:
            raise Refused(
                f"{source.name}() takes any number of arguments, which is not supported",
                "name its parameters, or pass a tuple",
            )
        try:
            bound = inspect.signature(source.function).bind(*arguments, **keywords)
        except TypeError as error:
            raise Refused(f"{source.name}(): {error}", "pass what its parameters ask for") from None
        given = dict(bound.arguments)
        bound.apply_defaults()
        return {
            name: given[name] if name in given else Constant(constants.check(name, default))
            for name, default in bound.arguments.items()
        }

    def _swap(self, function: object, argument: Value, flow: Flow) -> Value:
        bits = _BYTE_ORDER[function]
        name = getattr(function, "__name__", "")
        number = self._fitting(flow, argument, f"the argument of {name}()")
        if number.interval.hi >= 1 << bits:
            raise Refused(
                f"the argument of {name}() may exceed {bits} bits, where Python raises an error",
                f"keep it within: {name}(x & 0x{(1 << bits) - 1:X})",
            )
        narrow = self._builder.value(flow.block, f"trunc i64 {number.ref} to i{bits}")
        swapped = host_order(self._builder, flow, narrow, bits)
        ref = self._builder.value(flow.block, f"zext i{bits} {swapped} to i64")
        return Int(ref, Interval(0, (1 << bits) - 1))

    def _as_truth(self, argument: Value, flow: Flow, node: ast.Call) -> Value:
        if_true, if_false = self._truth(argument, flow.fork(flow.block), node)
        flows, results = [], []
        for path, answer in ((if_true, True), (if_false, False)):
            if path is not None:
                flows.append(path)
                results.append([Constant(answer)])
        return self._rejoin(flow, flows, results)

    def _extreme(self, smallest: bool, arguments: Sequence[Value], flow: Flow) -> Value:
        numbers = [
            self._fitting(flow, argument, "an argument of min() or max()") for argument in arguments
        ]
        result = numbers[0]
        for number in numbers[1:]:
            predicate = "ult" if smallest else "ugt"
            condition = self._builder.value(
                flow.block, f"icmp {predicate} i64 {number.ref}, {result.ref}"
            )
            ref = self._builder.value(
                flow.block, f"select i1 {condition}, i64 {number.ref}, i64 {result.ref}"
            )
            choose = min if smallest else max
            result = Int(
                ref,
                Interval(
                    choose(number.interval.lo, result.interval.lo),
                    choose(number.interval.hi, result.interval.hi),
                ),
            )
        return result


_BYTE_ORDER: dict[object, int] = {
    socket.ntohs: 16,
    socket.htons: 16,
    socket.ntohl: 32,
    socket.htonl: 32,
}

_UNSUPPORTED: dict[type[ast.expr], tuple[str, str]] = {
    ast.Lambda: ("lambda is not supported", "define a function and mark it with @inline"),
    ast.List: ("a list is not supported", "use a tuple"),
    ast.Set: ("a set is not supported", "use a tuple, or a frozenset as a module constant"),
    ast.Dict: ("a dict is not supported", "use match, or a Hash map"),
    ast.ListComp: ("a comprehension is not supported", "compute it in a module constant"),
    ast.SetComp: ("a comprehension is not supported", "compute it in a module constant"),
    ast.DictComp: ("a comprehension is not supported", "compute it in a module constant"),
    ast.GeneratorExp: ("a generator is not supported", "compute it in a module constant"),
    ast.JoinedStr: ("strings are not supported", "count or store numbers in a map"),
    ast.Await: ("await is not supported", "a program runs to its end within one lookup"),
    ast.Yield: ("yield is not supported", "a program returns one verdict"),
    ast.YieldFrom: ("yield is not supported", "a program returns one verdict"),
    ast.Starred: ("* is not supported here", "write the elements out"),
}


def _no_call(target: object) -> tuple[str, str]:
    name = getattr(target, "__name__", repr(target))
    if target is print:
        return "a program cannot print", "count in a Counters map and read it from Python"
    if target in (enumerate, zip, reversed):
        return f"{name}() is supported only as what a for loop runs over", "write it in the for"
    if target is range:
        return (
            "range() needs numbers that are known when the program is compiled",
            "loop over the largest range that there can be, and break",
        )
    if target in constants.PURE:
        return (
            f"{name}() works here on constants only",
            "compute it in a module constant, or compare the parts",
        )
    if isinstance(target, FunctionType):
        return f"{name}() is not marked for programs", "decorate it with @inline"
    return f"{name}() cannot be called in a program", "write it with the operators, or a map"


def _is_bool(*values: Value) -> bool:
    return all(
        isinstance(value, Bool) or (isinstance(value, Constant) and isinstance(value.value, bool))
        for value in values
    )
