"""Where the entries and keys of a TOML document are: what the standard parser does not tell.

The document is known to be valid, so this only has to tell strings, comments, brackets and line
ends apart (https://toml.io/en/v1.0.0).
"""

from __future__ import annotations

import re

_KEY_PART = r"""(?:[A-Za-z0-9_-]+|"(?:[^"\\\n]|\\.)*"|'[^'\n]*')"""
_KEY = re.compile(rf"{_KEY_PART}(?:[ \t]*\.[ \t]*{_KEY_PART})*")
_SPLIT_KEY = re.compile(_KEY_PART)
# One piece of a value. Three quotes in a row end a multi-line string, up to two before them
# belonging to it.
_PIECE = re.compile(
    r'''
      """(?:\\.|[^\\])*?"{3,5}
    | \'\'\'.*?'{3,5}
    | "(?:[^"\\\n]|\\.)*"
    | '[^'\n]*'
    | \#[^\n]*
    | [\[\]{}\n]
    | [^"'#\[\]{}\n]+
    ''',
    re.DOTALL | re.VERBOSE,
)


class TomlLines:
    """The lines of a TOML document's entries and keys, all counted from 1.

    :param text: a valid document.
    """

    def __init__(self, text: str) -> None:
        self._entries: dict[tuple[str, int], int] = {}
        self._keys: dict[tuple[str, int, str], int] = {}
        self._top: dict[str, int] = {}
        self._scan(text)

    def top(self, name: str) -> int | None:
        """Return the line on which a key or table of the top level is first seen."""
        return self._top.get(name)

    def entry(self, table: str, number: int, key: str | None = None) -> int | None:
        """Return the line of a key in the n-th entry of an array of tables, or of the entry."""
        line = self._keys.get((table, number, key)) if key is not None else None
        return line if line is not None else self._entries.get((table, number), self.top(table))

    def _scan(self, text: str) -> None:
        line, at = 1, 0
        counts: dict[str, int] = {}
        current: tuple[str, ...] = ()
        while at < len(text):
            sign = text[at]
            if sign == "\n":
                line += 1
                at += 1
            elif sign == "#":
                at = _line_end(text, at)
            elif sign == "[":
                array = text.startswith("[[", at)
                match = _KEY.search(text, at)
                if match is None:
                    return
                current = _parts(match.group())
                self._top.setdefault(current[0], line)
                if array and len(current) == 1:
                    counts[current[0]] = counts.get(current[0], 0) + 1
                    self._entries[current[0], counts[current[0]]] = line
                elif len(current) > 1 and current[0] in counts:
                    self._keys.setdefault((current[0], counts[current[0]], current[1]), line)
                at = _line_end(text, match.end())
            elif match := _KEY.match(text, at):
                path = current + _parts(match.group())
                if not current:
                    self._top.setdefault(path[0], line)
                elif current[0] in counts:
                    self._keys.setdefault((path[0], counts[path[0]], path[1]), line)
                at = text.find("=", match.end()) + 1
                if at == 0:
                    return
                line, at = self._skip_value(text, line, at, path)
            else:
                at += 1

    def _skip_value(self, text: str, line: int, at: int, path: tuple[str, ...]) -> tuple[int, int]:
        """Go to the end of a value; note the inline tables of an array at the top level."""
        depth = number = 0
        while match := _PIECE.match(text, at):
            piece = match.group()
            if piece == "\n" and depth == 0:
                break
            if piece in ("[", "{"):
                if piece == "{" and depth == 1 and len(path) == 1:
                    number += 1
                    self._entries[path[0], number] = line
                depth += 1
            elif piece in ("]", "}"):
                depth -= 1
            line += piece.count("\n")
            at = match.end()
        return line, at


def _line_end(text: str, at: int) -> int:
    end = text.find("\n", at)
    return len(text) if end < 0 else end


def _parts(key: str) -> tuple[str, ...]:
    """Split ``a."b.c"`` into its parts."""
    import tomllib

    return tuple(
        tomllib.loads(f"part = {part}")["part"] if part[0] in "\"'" else part
        for part in _SPLIT_KEY.findall(key)
    )
