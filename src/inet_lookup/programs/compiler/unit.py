"""One program from its function to LLVM IR."""

from __future__ import annotations

import ast
import re
from dataclasses import dataclass
from pathlib import Path

from ..maps import ProgramMap
from .context_access import ContextReader
from .debug_info import DebugInfo, quoted
from .flow import Flow, join
from .interface import SK_LOOKUP, Interface
from .ir import FunctionBuilder
from .map_table import MapTable
from .refusal import Refused
from .source import FunctionSource
from .statements import Statements
from .values import Constant, ContextValue, Value

_LICENSE = "_license"

_ROOT = Path(__file__).resolve().parents[3]


@dataclass(frozen=True, slots=True)
class Unit:
    """A program checked and translated, not yet assembled.

    :ivar name: the name of the function, and of the symbol in the object.
    :ivar ir: the module as LLVM IR.
    :ivar size: how many operations it has.
    :ivar maps: the maps that it uses, by their symbols.
    """

    name: str
    ir: str
    size: int
    maps: dict[str, ProgramMap]


def translate(
    source: FunctionSource, *, license: str = "", interface: Interface = SK_LOOKUP
) -> Unit:
    """Check a function and translate it to LLVM IR.

    :param license: the licence that the object states; the helpers that programs use need none.
    :param interface: what the function is written against.
    :raises CompileError: the function uses something that cannot be compiled, with the place.
    """
    return _Translation(source, interface).run(license)


class _Translation:
    def __init__(self, source: FunctionSource, interface: Interface) -> None:
        self._source = source
        self._interface = interface
        self._debug = DebugInfo(interface.context)
        self._maps = MapTable({source.name, _LICENSE})
        self._files: dict[str, int] = {}
        file = self._file(source)
        self._subprogram = self._debug.subprogram(source.name, file, source.node.lineno)
        self._builder = FunctionBuilder(source.name, interface.section(source.name), self._debug)
        self._reader = ContextReader(
            self._builder, interface.fields, shows_socket=interface.shows_socket
        )
        self._calls: list[FunctionSource] = []

    def run(self, license: str) -> Unit:
        source = self._source
        if not re.fullmatch("[A-Za-z_][A-Za-z0-9_]*", source.name) or source.name == _LICENSE:
            raise source.error(
                source.node,
                f"a program cannot be named {source.name!r} in the kernel",
                "use the letters a to z, digits and underscores",
            )
        parameters = source.node.args
        names = [argument.arg for argument in (*parameters.posonlyargs, *parameters.args)]
        if len(names) != 1 or parameters.vararg or parameters.kwarg or parameters.kwonlyargs:
            raise source.error(
                source.node,
                "a program takes one argument, the context: "
                f"not {source.name}({ast.unparse(parameters)})",
                "define it as: def name(ctx: Context) -> Verdict",
            )
        flow = Flow(self._builder.entry, {names[0]: ContextValue()}, {}, {})
        value = self._function(source, flow, self._subprogram, None)
        self._place(source.node, self._subprogram, None)
        result = self._interface.result(
            self._builder, flow, self._returned(source.node, flow, value)
        )
        self._builder.emit(flow.block, f"ret i32 {result}")
        flow.block.ended = True

        maps = self._maps.text(self._debug)
        text = [f"source_filename = {quoted(_shown(source.filename))}", maps]
        if license:
            text.append(
                f"@{_LICENSE} = dso_local constant [{len(license.encode()) + 1} x i8] "
                f'c{quoted(license + chr(0))}, section "license", align 1'
            )
        text.append(self._builder.text(self._subprogram))
        text.append(self._debug.text("inet-lookup"))
        return Unit(source.name, "\n".join(text), self._builder.size, self._maps.by_name())

    def _returned(self, node: ast.AST, flow: Flow, value: Value) -> Value:
        try:
            return self._interface.returned(self._builder, flow, value)
        except Refused as refused:
            raise self._source.refuse(node, refused) from None

    def _function(
        self, source: FunctionSource, flow: Flow, scope: int, inlined_at: int | None
    ) -> Value:
        """Compile a function's body; ``flow`` goes on behind it with the value it returns."""
        self._maps.sources.append(source)

        def locate(node: ast.AST) -> None:
            self._place(node, scope, inlined_at)

        def call(
            callee: FunctionSource, arguments: dict[str, Value], path: Flow, node: ast.Call
        ) -> Value:
            return self._inline(callee, arguments, path, node, scope, inlined_at)

        body = Statements(source, self._builder, self._reader, self._maps, call, locate)
        self._calls.append(source)
        end = body.run(flow.fork(flow.block))
        self._calls.pop()
        outcomes = [(path, value, node) for path, value, node in body.returns]
        if end is not None:
            if inlined_at is None:
                raise source.error(
                    source.node.body[-1],
                    f"{source.name}() may end without a verdict",
                    f"return {self._interface.default} at its end",
                )
            outcomes.append((end, Constant(None), source.node))
        if inlined_at is None:
            outcomes = [
                (path, self._returned(node, path, value), node) for path, value, node in outcomes
            ]
        joined = join(
            self._builder, [path for path, _, _ in outcomes], [[value] for _, value, _ in outcomes]
        )
        if joined is None:
            raise source.error(source.node, f"{source.name}() never returns")
        after, (result,) = joined
        flow.block, flow.facts, flow.loads = after.block, after.facts, after.loads
        return result

    def _inline(
        self,
        callee: FunctionSource,
        arguments: dict[str, Value],
        flow: Flow,
        node: ast.Call,
        scope: int,
        inlined_at: int | None,
    ) -> Value:
        if any(callee.function is caller.function for caller in self._calls):
            raise Refused(f"{callee.name}() calls itself", "use a loop")
        inner_scope = self._debug.subprogram(callee.name, self._file(callee), callee.node.lineno)
        site = self._debug.call_site(node.lineno, node.col_offset + 1, scope, inlined_at)
        outer = flow.variables
        flow.variables = dict(arguments)
        result = self._function(callee, flow, inner_scope, site)
        flow.variables = outer
        return result

    def _place(self, node: ast.AST, scope: int, inlined_at: int | None) -> None:
        line = getattr(node, "lineno", None)
        if line is not None:
            column = int(getattr(node, "col_offset", 0)) + 1
            self._builder.location = self._debug.location(line, column, scope, inlined_at)

    def _file(self, source: FunctionSource) -> int:
        if source.filename not in self._files:
            self._files[source.filename] = self._debug.file(_shown(source.filename), source.text)
        return self._files[source.filename]


def _shown(filename: str) -> str:
    """Return a file's name for an object; the package's own files are named from its root."""
    path = Path(filename)
    return str(path.relative_to(_ROOT)) if path.is_relative_to(_ROOT) else filename
