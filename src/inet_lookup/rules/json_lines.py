"""Where the elements of a JSON array are: what the standard parser does not tell."""

from __future__ import annotations

from collections.abc import Callable


def element_lines(text: str, key: str) -> list[int]:
    """Return the lines, from 1, on which the elements of an array begin.

    :param text: a valid JSON document, an object with this key at its top.
    :param key: the key whose value is the array.
    """
    import json

    decoder = json.JSONDecoder()
    at = _next(text, 0) + 1
    while text[(at := _next(text, at))] != "}":
        name, at = decoder.raw_decode(text, at)
        at = _next(text, _next(text, at) + 1)
        if name == key and text[at] == "[":
            return _elements(text, at, decoder.raw_decode)
        _, at = decoder.raw_decode(text, at)
        at = _next(text, at)
        if text[at] == ",":
            at += 1
    return []


def _elements(
    text: str, at: int, raw_decode: Callable[[str, int], tuple[object, int]]
) -> list[int]:
    lines: list[int] = []
    line, counted = 1, 0
    at = _next(text, at + 1)
    while text[at] != "]":
        line += text.count("\n", counted, at)
        counted = at
        lines.append(line)
        _, at = raw_decode(text, at)
        at = _next(text, at)
        if text[at] == ",":
            at = _next(text, at + 1)
    return lines


def _next(text: str, at: int) -> int:
    while text[at] in " \t\r\n":
        at += 1
    return at
