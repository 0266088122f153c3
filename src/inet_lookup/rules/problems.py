"""What is wrong with rules, found all at once and said with its place."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace

from ..errors import InetLookupError

_SHOWN = 50


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing that is wrong.

    :param message: what is wrong and which value it is, without a full stop.
    :param hint: what to write instead, where that is known.
    :param file: the file, as it was named.
    :param line: the line in it, from 1.
    :param entry: the entry, counted from 1 within its kind, such as ``rule 3`` or ``service 1``.
    :param key: the key within the entry.
    """

    message: str
    hint: str | None = None
    file: str | None = None
    line: int | None = None
    entry: str | None = None
    key: str | None = None

    def located(self, **places: str | int | None) -> Problem:
        """Return the same problem with those of its places filled in that were not known yet."""
        missing = {name: value for name, value in places.items() if getattr(self, name) is None}
        return replace(self, **missing)  # type: ignore[arg-type]

    @property
    def place(self) -> str:
        """``edge.toml:12: rule 3: port``, as far as it is known."""
        file = self.file
        if self.line is not None:
            file = f"{file}:{self.line}" if file else f"line {self.line}"
        return ": ".join(part for part in (file, self.entry, self.key) if part)

    def __str__(self) -> str:
        text = f"{self.place}: {self.message}" if self.place else self.message
        return f"{text} ({self.hint})" if self.hint else text


class RulesError(InetLookupError):
    """Rules cannot be used as they are; nothing was changed.

    :param problems: every problem that was found, at least one, in the order of the file.
    """

    def __init__(self, problems: Iterable[Problem]) -> None:
        self.problems = tuple(problems)
        if len(self.problems) == 1:
            (problem,) = self.problems
            super().__init__(str(replace(problem, hint=None)), hint=problem.hint)
            return
        lines = [f"\n  {problem}" for problem in self.problems[:_SHOWN]]
        if len(self.problems) > _SHOWN:
            lines.append(f"\n  and {len(self.problems) - _SHOWN} more")
        super().__init__(f"{len(self.problems)} problems:" + "".join(lines))

    @classmethod
    def of(cls, message: str, hint: str | None = None) -> RulesError:
        """Make an error of one problem whose place is not known here."""
        return cls([Problem(message, hint)])


def did_you_mean(word: str, known: Iterable[str]) -> str | None:
    """Return ``did you mean "…"?`` for the known word most like this one, if any is like it."""
    from difflib import get_close_matches

    # difflib's cost grows with the square of the length, and nobody mistypes a whole page.
    close = get_close_matches(word.lower()[:64], list(known), n=1, cutoff=0.6)
    return f'did you mean "{close[0]}"?' if close else None


def shown(value: object) -> str:
    """Return a value as an error message quotes it: on one line and not too long."""
    text = f'"{value}"' if isinstance(value, str) and value.isprintable() else repr_of(value)
    return text if len(text) <= 80 else text[:76] + " ..."


def repr_of(value: object) -> str:
    """Return ``repr(value)``, or the type's name for an integer too long for Python to print."""
    try:
        return repr(value)
    except ValueError:
        return f"a huge {type(value).__name__}"
