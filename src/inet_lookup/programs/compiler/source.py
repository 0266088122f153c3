"""The Python source of a function that is to be compiled, and the names it refers to."""

from __future__ import annotations

import ast
import functools
import linecache
from collections.abc import Callable
from types import CellType, CodeType, FunctionType
from typing import Any, TypeAlias, cast

from ...errors import CompileError, InetLookupError
from .refusal import Refused

Definition: TypeAlias = ast.FunctionDef | ast.AsyncFunctionDef


class FunctionSource:
    """A function's syntax tree with its places in the file.

    :param function: a plain function defined with ``def``.
    :raises InetLookupError: it is something else, or its source text cannot be read.
    """

    def __init__(self, function: Callable[..., Any]) -> None:
        if not isinstance(function, FunctionType):
            raise InetLookupError(
                f"{function!r} is not a function", hint="decorate a function defined with def"
            )
        self.function = function
        self.name = function.__name__
        self.filename = function.__code__.co_filename
        linecache.checkcache(self.filename)
        self.lines = linecache.getlines(self.filename, function.__globals__)
        node = _definition(function, "".join(self.lines))
        self.node = cast("ast.FunctionDef", node)
        if isinstance(node, ast.AsyncFunctionDef):
            raise self.error(node, "async is not supported", "define it with def")

    @property
    def local_names(self) -> frozenset[str]:
        """The names that are local variables, as Python decided when it compiled the function."""
        code = self.function.__code__
        return frozenset(code.co_varnames + code.co_cellvars)

    def require_plain_scope(self) -> None:
        """Refuse what changes the meaning of the whole function, even where it is never reached.

        :raises CompileError: with the place.
        """
        in_class = "." in self.function.__qualname__
        for node in ast.walk(self.node):
            match node:
                case ast.Global() | ast.Nonlocal():
                    word = type(node).__name__.lower()
                    raise self.error(node, f"{word} is not supported", "keep state in a map")
                case ast.Yield() | ast.YieldFrom():
                    raise self.error(
                        node, "yield is not supported", "a program returns one verdict"
                    )
                case ast.Name(id=name) if in_class and _is_private(name):
                    raise self.error(
                        node, f"{name!r} means another name in a class", "use one underscore"
                    )

    @property
    def text(self) -> str:
        """The text of the whole file."""
        return "".join(self.lines)

    def error(self, node: ast.AST, problem: str, hint: str | None = None) -> CompileError:
        """Return an error that points at a node of this function."""
        line = getattr(node, "lineno", self.node.lineno)
        text = self.lines[line - 1] if line <= len(self.lines) else ""
        # The tree counts bytes of UTF-8; a person counts characters.
        offset = getattr(node, "col_offset", self.node.col_offset)
        column = len(text.encode()[:offset].decode(errors="replace")) + 1
        return CompileError(
            problem, filename=self.filename, line=line, column=column, source=text, hint=hint
        )

    def refuse(self, node: ast.AST, refused: Refused) -> CompileError:
        """Return the error for a refusal that happened at a node of this function."""
        error = self.error(node, refused.problem, refused.hint)
        error.undefined = refused.undefined
        return error

    def lookup(self, name: str) -> object:
        """Return what a name that is not a local variable means: closure, global or built-in.

        :raises KeyError: it means nothing yet.
        """
        cells: tuple[CellType, ...] = self.function.__closure__ or ()
        for free, cell in zip(self.function.__code__.co_freevars, cells, strict=True):
            if free == name:
                try:
                    return cell.cell_contents
                except ValueError:
                    raise KeyError(name) from None
        if name in self.function.__globals__:
            return self.function.__globals__[name]
        return getattr(self.function, "__builtins__")[name]  # noqa: B009 (not in typeshed)

    def name_of(self, value: object) -> str | None:
        """Return the name under which the function's surroundings know an object."""
        cells: tuple[CellType, ...] = self.function.__closure__ or ()
        for free, cell in zip(self.function.__code__.co_freevars, cells, strict=True):
            try:
                if cell.cell_contents is value:
                    return free
            except ValueError:
                continue
        for name, candidate in self.function.__globals__.items():
            if candidate is value:
                return name
        return None


def _is_private(name: str) -> bool:
    return name.startswith("__") and not name.endswith("__")


def _definition(function: FunctionType, text: str) -> Definition:
    code = function.__code__
    if not text:
        raise InetLookupError(
            f"the source of {function.__qualname__}() is not available",
            hint="define it in a file; what is typed or made by exec() has no source to compile",
        )
    for node in _functions(text, code.co_filename):
        first = min([node.lineno, *(decorator.lineno for decorator in node.decorator_list)])
        if first == code.co_firstlineno and node.name == code.co_name:
            if not _is_compiled_from(code, text):
                break
            return node
    raise InetLookupError(
        f"the source of {function.__qualname__}() is not at {code.co_filename}:"
        f"{code.co_firstlineno}",
        hint="the file has changed since it was imported, or this is a lambda: use def",
    )


def _is_compiled_from(code: CodeType, text: str) -> bool:
    """Whether Python runs what the text says, and not what it said before it was edited."""
    fresh = _codes(text, code.co_filename).get((code.co_name, code.co_firstlineno))
    return fresh is not None and _behaviour(fresh) == _behaviour(code)


def _behaviour(code: CodeType) -> tuple[object, ...]:
    constants = tuple(c for c in code.co_consts if not isinstance(c, CodeType))
    return code.co_code, constants, code.co_names, code.co_varnames, code.co_freevars


@functools.lru_cache(maxsize=8)
def _codes(text: str, filename: str) -> dict[tuple[str, int], CodeType]:
    found = {}
    pending = [compile(text, filename, "exec", dont_inherit=True)]
    while pending:
        code = pending.pop()
        found[code.co_name, code.co_firstlineno] = code
        pending += [each for each in code.co_consts if isinstance(each, CodeType)]
    return found


@functools.lru_cache(maxsize=8)
def _functions(text: str, filename: str) -> tuple[Definition, ...]:
    try:
        tree = ast.parse(text, filename)
    except SyntaxError as error:
        raise InetLookupError(f"{filename}:{error.lineno}: {error.msg}") from None
    return tuple(node for node in ast.walk(tree) if isinstance(node, Definition))
