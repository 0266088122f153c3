"""Statements: assignments, branches, and loops, which are unrolled."""

from __future__ import annotations

import ast
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import cast

from ..maps import ProgramMap
from . import map_access
from .constants import is_integer
from .context_access import ContextReader
from .expressions import Expressions, InlineCall, kind
from .flow import Flow, as_int, join
from .ir import Block, FunctionBuilder
from .map_table import MapTable
from .refusal import Refused
from .source import FunctionSource
from .values import Constant, Int, TupleValue, Value

# This stops an unrolled loop before compiling it takes minutes.
_LIMIT = 50_000


@dataclass(slots=True)
class _Loop:
    """The paths that left an iteration by ``break`` and ``continue``."""

    breaks: list[Flow] = field(default_factory=list)
    continues: list[Flow] = field(default_factory=list)


class Statements:
    """Compiles the body of one function, inlined or not.

    :param source: the function.
    :param locate: notes the place in the source that instructions come from.
    :ivar returns: the paths that returned, each with its value and where.
    """

    def __init__(
        self,
        source: FunctionSource,
        builder: FunctionBuilder,
        reader: ContextReader,
        maps: MapTable,
        inline: InlineCall,
        locate: Callable[[ast.AST], None],
    ) -> None:
        self._source = source
        self._builder = builder
        self._reader = reader
        self._maps = maps
        self._locate = locate
        self._loops: list[_Loop] = []
        self._expressions = Expressions(
            source, builder, reader, maps, inline, locate, source.local_names
        )
        self.returns: list[tuple[Flow, Value, ast.AST]] = []

    def run(self, flow: Flow) -> Flow | None:
        """Compile the whole body; return the path that falls off its end, if there is one."""
        self._source.require_plain_scope()
        return self._block(self._source.node.body, flow)

    def _block(self, statements: Sequence[ast.stmt], flow: Flow) -> Flow | None:
        current: Flow | None = flow
        for statement in statements:
            if current is None:
                break
            self._locate(statement)
            self._builder.size += 1
            if self._builder.size > _LIMIT:
                raise self._source.error(
                    statement,
                    f"the program has grown beyond {_LIMIT} operations here",
                    "loops are unrolled and calls inlined: make them shorter, or use a map",
                )
            try:
                current = self._statement(statement, current)
            except Refused as refused:
                raise self._source.refuse(statement, refused) from None
            except RecursionError:
                raise self._source.error(
                    statement,
                    "this is nested too deeply",
                    "give parts of it names, or move them into functions marked with @inline",
                ) from None
        return current

    def _statement(self, node: ast.stmt, flow: Flow) -> Flow | None:
        match node:
            case ast.Return(value=value):
                self._return(node, value, flow)
                return None
            case ast.If():
                return self._if(node, flow)
            case ast.Assign(targets=targets, value=value):
                result = self._expressions.value(value, flow)
                for target in targets:
                    self._assign(target, result, flow)
                return flow
            case ast.AnnAssign(target=target, value=value):
                if value is not None:
                    self._assign(target, self._expressions.value(value, flow), flow)
                return flow
            case ast.AugAssign():
                return self._augmented(node, flow)
            case ast.For():
                return self._for(node, flow)
            case ast.Match():
                return self._match(node, flow)
            case ast.Expr(value=value):
                return self._expression(value, flow)
            case ast.Pass():
                return flow
            case ast.Break():
                self._loops[-1].breaks.append(flow)
                return None
            case ast.Continue():
                self._loops[-1].continues.append(flow)
                return None
        raise Refused(
            *_UNSUPPORTED.get(
                type(node), (f"{type(node).__name__} is not supported", "write it in other words")
            )
        )

    def _return(self, node: ast.Return, value: ast.expr | None, flow: Flow) -> None:
        result = Constant(None) if value is None else self._expressions.value(value, flow)
        self.returns.append((flow, result, node))

    def _if(self, node: ast.If, flow: Flow) -> Flow | None:
        ends: list[Flow] = []
        current: Flow | None = flow
        while current is not None:
            if_true, current = self._expressions.branch(node.test, current)
            if if_true is not None:
                self._end(node.body, if_true, ends)
            match node.orelse:
                # A chain of elif nests as deep as it is long.
                case [ast.If() as following]:
                    node = following
                    self._locate(node)
                case orelse:
                    if current is not None:
                        self._end(orelse, current, ends)
                    break
        return self._joined(ends)

    def _end(self, statements: Sequence[ast.stmt], flow: Flow, ends: list[Flow]) -> None:
        """Compile a block, and add the path that falls off its end to ``ends``."""
        end = self._block(statements, flow)
        if end is not None:
            ends.append(end)

    def _joined(self, flows: list[Flow]) -> Flow | None:
        joined = join(self._builder, flows)
        return None if joined is None else joined[0]

    def _assign(self, target: ast.expr, value: Value, flow: Flow) -> None:
        match target:
            case ast.Name(id=name):
                flow.variables[name] = value
                return
            case ast.Tuple(elts=elements) | ast.List(elts=elements):
                items = _items(value)
                if items is None:
                    raise self._source.error(
                        target, f"{kind(value)} cannot be unpacked", "unpack a tuple"
                    )
                if any(isinstance(element, ast.Starred) for element in elements):
                    raise self._source.error(
                        target, "* in an assignment is not supported", "name every element"
                    )
                if len(items) != len(elements):
                    raise self._source.error(
                        target,
                        f"{len(items)} values are unpacked into {len(elements)} names",
                        "name every element",
                    )
                for element, item in zip(elements, items, strict=True):
                    self._assign(element, item, flow)
                return
            case ast.Subscript(value=base, slice=index):
                table = self._expressions.value(base, flow)
                if isinstance(table, Constant) and isinstance(table.value, ProgramMap):
                    key = self._expressions.value(index, flow)
                    call = map_access.MapCall(self._builder, self._reader, self._maps, flow)
                    try:
                        map_access.set_item(call, table.value, key, value)
                    except Refused as refused:
                        raise self._source.refuse(target, refused) from None
                    return
        raise self._source.error(
            target,
            "only local variables and elements of an Array can be assigned",
            "the context is read-only; keep state in a map",
        )

    def _augmented(self, node: ast.AugAssign, flow: Flow) -> Flow:
        if not isinstance(node.target, ast.Name):
            raise self._source.error(
                node.target,
                "an augmented assignment needs a local variable",
                "use table.add(index, amount), which is atomic and wraps at 2**64",
            )
        load = ast.copy_location(ast.Name(node.target.id, ast.Load()), node.target)
        combined = ast.copy_location(ast.BinOp(load, node.op, node.value), node)
        flow.variables[node.target.id] = self._expressions.value(combined, flow)
        return flow

    def _expression(self, node: ast.expr, flow: Flow) -> Flow:
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            return flow
        if not isinstance(node, ast.Call | ast.NamedExpr):
            raise self._source.error(node, "this expression has no effect", "remove it")
        self._expressions.value(node, flow)
        return flow

    # --- loops --------------------------------------------------------------------------------

    def _for(self, node: ast.For, flow: Flow) -> Flow | None:
        items = self._iterate(node.iter, flow)
        loop = _Loop()
        self._loops.append(loop)
        current: Flow | None = flow
        for item in items:
            if current is None:
                break
            self._locate(node)
            self._assign(node.target, item, current)
            end = self._block(node.body, current)
            ends = loop.continues + ([end] if end is not None else [])
            loop.continues = []
            current = self._joined(ends)
        self._loops.pop()
        if current is not None:
            current = self._block(node.orelse, current)
        return self._joined(loop.breaks + ([current] if current is not None else []))

    def _iterate(self, node: ast.expr, flow: Flow) -> list[Value]:
        """Return what a loop runs over, known when the program is compiled."""
        if isinstance(node, ast.Call):
            function = self._expressions.value(node.func, flow)
            target = function.value if isinstance(function, Constant) else None
            if target in (enumerate, reversed, zip):
                return self._iterator(target, node, flow)
        value = self._expressions.value(node, flow)
        items = _items(value)
        if items is not None:
            return list(items)
        if isinstance(value, Constant) and isinstance(value.value, range):
            # len() fails on a range of more than 2**63 numbers.
            if len(value.value[: _LIMIT + 1]) > _LIMIT:
                raise self._source.error(
                    node,
                    f"a loop of more than {_LIMIT} rounds cannot be unrolled",
                    "use a map, or arithmetic",
                )
            return [Constant(number) for number in value.value]
        if isinstance(value, Constant) and isinstance(value.value, frozenset):
            raise self._source.error(node, "the order of a frozenset is not defined", "use a tuple")
        raise self._source.error(
            node,
            f"a loop over {kind(value)} is not supported",
            "loops run over constant ranges and tuples; enumerate(), zip() and reversed() of them",
        )

    def _iterator(self, function: object, node: ast.Call, flow: Flow) -> list[Value]:
        """Return what a loop over ``enumerate()``, ``reversed()`` or ``zip()`` runs over."""
        if function is zip and not node.keywords:
            columns = [self._iterate(argument, flow) for argument in node.args]
            return [TupleValue(row) for row in zip(*columns, strict=False)]
        if len(node.args) != 1 or node.keywords:
            raise self._source.error(
                node,
                "the loop over these arguments is not supported",
                "write enumerate(t), reversed(t), or zip(t, u) without keywords",
            )
        if function is reversed and self._is_iterator(node.args[0], flow):
            raise self._source.error(
                node,
                "reversed() takes a range or a tuple, not an iterator",
                "reverse the inner one",
            )
        items = self._iterate(node.args[0], flow)
        if function is reversed:
            return items[::-1]
        return [TupleValue((Constant(number), item)) for number, item in enumerate(items)]

    def _is_iterator(self, node: ast.expr, flow: Flow) -> bool:
        if not isinstance(node, ast.Call):
            return False
        function = self._expressions.value(node.func, flow)
        return isinstance(function, Constant) and function.value in (enumerate, reversed, zip)

    # --- match --------------------------------------------------------------------------------

    def _match(self, node: ast.Match, flow: Flow) -> Flow | None:
        subject = self._expressions.value(node.subject, flow)
        number = as_int(self._builder, flow, subject)
        ends: list[Flow] = []
        current: Flow | None = flow
        cases = list(node.cases)
        if number is not None and not isinstance(subject, Constant):
            current = self._switch(cases, number, flow, ends)
        for case in cases:
            if current is None:
                break
            matched, current = self._pattern(case.pattern, subject, current)
            if current is not None:
                _take_captures(current)
            if matched is None:
                continue
            matched.variables.update(_take_captures(matched))
            if case.guard is not None:
                matched, unguarded = self._expressions.branch(case.guard, matched)
                rest = [path for path in (current, unguarded) if path is not None]
                current = self._joined(rest)
                if matched is None:
                    continue
            self._end(case.body, matched, ends)
        return self._joined(ends + ([current] if current is not None else []))

    def _switch(
        self, cases: list[ast.match_case], number: Int, flow: Flow, ends: list[Flow]
    ) -> Flow:
        """Compile the leading cases of plain numbers as one jump; take them off ``cases``."""
        arms: list[tuple[ast.match_case, list[int]]] = []
        seen: set[int] = set()
        for case in cases:
            values = self._literals(case.pattern, flow) if case.guard is None else None
            if values is None:
                break
            fresh = [value for value in dict.fromkeys(values) if value not in seen]
            seen.update(fresh)
            arms.append((case, fresh))
        bounds = flow.interval(number.ref, number.interval)
        if len(arms) < 2 or not bounds.fits:
            return flow
        del cases[: len(arms)]
        targets: list[tuple[int, Block]] = []
        bodies: list[tuple[ast.match_case, Block]] = []
        for case, values in arms:
            reachable = [value for value in values if bounds.lo <= value <= bounds.hi]
            if reachable:
                block = self._builder.new_block("case")
                bodies.append((case, block))
                targets.extend((value, block) for value in reachable)
        default = self._builder.new_block("default")
        self._builder.switch(flow.block, number.ref, targets, default)
        for case, block in bodies:
            self._end(case.body, flow.fork(block), ends)
        return flow.fork(default)

    def _literals(self, pattern: ast.pattern, flow: Flow) -> list[int] | None:
        """Return the numbers that a pattern consists of, or None where it is another pattern."""
        if isinstance(pattern, ast.MatchOr):
            parts = [self._literals(part, flow) for part in pattern.patterns]
            if any(part is None for part in parts):
                return None
            return [value for part in parts if part is not None for value in part]
        if isinstance(pattern, ast.MatchValue):
            value = self._expressions.value(pattern.value, flow)
            if isinstance(value, Constant) and is_integer(value.value):
                return [int(cast("int", value.value))]
        return None

    def _pattern(
        self, pattern: ast.pattern, subject: Value, flow: Flow
    ) -> tuple[Flow | None, Flow | None]:
        match pattern:
            case ast.MatchValue(value=value):
                expected = self._expressions.value(value, flow)
                return self._expressions.compare(ast.Eq(), subject, expected, flow, pattern)
            case ast.MatchSingleton(value=singleton):
                return self._expressions.compare(
                    ast.Is(), subject, Constant(singleton), flow, pattern
                )
            case ast.MatchAs(pattern=None, name=name):
                if name is not None:
                    flow.variables[_CAPTURE + name] = subject
                return flow, None
            case ast.MatchAs(pattern=ast.pattern() as inner, name=str() as name):
                matched, rest = self._pattern(inner, subject, flow)
                if matched is not None:
                    matched.variables[_CAPTURE + name] = subject
                return matched, rest
            case ast.MatchOr(patterns=patterns):
                matched_paths: list[Flow] = []
                current: Flow | None = flow
                for alternative in patterns:
                    if current is None:
                        break
                    matched, current = self._pattern(alternative, subject, current)
                    if matched is not None:
                        matched_paths.append(matched)
                return self._joined(matched_paths), current
            case ast.MatchSequence(patterns=patterns):
                return self._sequence(pattern, patterns, subject, flow)
        raise self._source.error(
            pattern,
            "this pattern is not supported",
            "match integers, verdicts and tuples of them, with |, _ and guards",
        )

    def _sequence(
        self,
        pattern: ast.pattern,
        patterns: Sequence[ast.pattern],
        subject: Value,
        flow: Flow,
    ) -> tuple[Flow | None, Flow | None]:
        items = _items(subject)
        if items is None:
            raise self._source.error(
                pattern, f"{kind(subject)} is not a tuple", "match a tuple, or an integer"
            )
        if any(isinstance(part, ast.MatchStar) for part in patterns):
            raise self._source.error(
                pattern, "* in a pattern is not supported", "name every element, or write _"
            )
        if len(items) != len(patterns):
            return None, flow
        missed: list[Flow] = []
        current: Flow | None = flow
        for part, item in zip(patterns, items, strict=True):
            if current is None:
                break
            current, no = self._pattern(part, item, current)
            if no is not None:
                missed.append(no)
        return current, self._joined(missed)


# Python binds the names of a pattern when all of it has matched, and none where it has not; until
# then they are kept under what no variable is called.
_CAPTURE = "case "


def _take_captures(flow: Flow) -> dict[str, Value]:
    """Take what a pattern has captured off a path's variables."""
    captured = [name for name in flow.variables if name.startswith(_CAPTURE)]
    return {name.removeprefix(_CAPTURE): flow.variables.pop(name) for name in captured}


def _items(value: Value) -> tuple[Value, ...] | None:
    match value:
        case TupleValue(items):
            return items
        case Constant(value=tuple() as items):
            return tuple(Constant(item) for item in items)
    return None


_UNSUPPORTED: dict[type[ast.stmt], tuple[str, str]] = {
    ast.While: ("while is not supported", "use for over a range, with break"),
    ast.Try: ("try is not supported", "a program raises no exceptions: test first"),
    ast.Raise: ("raise is not supported", "return DROP or PASS"),
    ast.With: ("with is not supported", "a program holds nothing that needs closing"),
    ast.FunctionDef: ("a nested function is not supported", "define it outside with @inline"),
    ast.AsyncFunctionDef: ("async is not supported", "define a plain function with @inline"),
    ast.ClassDef: ("a class is not supported", "define it outside"),
    ast.Import: ("import is not supported here", "import at the top of the module"),
    ast.ImportFrom: ("import is not supported here", "import at the top of the module"),
    ast.Global: ("global is not supported", "keep state in a map"),
    ast.Nonlocal: ("nonlocal is not supported", "keep state in a map"),
    ast.Delete: ("del is not supported", "use table.remove(key) to remove an entry of a map"),
    ast.TryStar: ("try is not supported", "a program raises no exceptions: test first"),
    ast.Assert: ("assert is not supported", "return DROP, or count in a Counters map"),
    ast.AsyncFor: ("async is not supported", "use for"),
    ast.AsyncWith: ("async is not supported", "a program holds nothing that needs closing"),
}
