"""Port ranges."""

from __future__ import annotations

from dataclasses import dataclass

from .problems import Problem, RulesError, shown

MAX_PORT = 65535


@dataclass(frozen=True, slots=True, order=True)
class Ports:
    """A run of ports, both ends included; one port is a run of one.

    *Any* is 0 to 65535: it also takes packets to port 0, which no rule can name by itself.

    :param low: the first port, 0 to 65535.
    :param high: the last port, ``low`` to 65535.
    :raises RulesError: an end is out of range, or they are the wrong way round.
    """

    low: int
    high: int

    def __post_init__(self) -> None:
        if not 0 <= self.low <= self.high <= MAX_PORT:
            raise RulesError.of(
                f"{self.low}-{self.high} is not a port range",
                f"ports are 1 to {MAX_PORT}, the lower one first",
            )

    @classmethod
    def one(cls, port: int) -> Ports:
        """Return the run of one port."""
        return cls(port, port)

    @property
    def width(self) -> int:
        """How many ports: 1 for one port, 65536 for any."""
        return self.high - self.low + 1

    @property
    def is_any(self) -> bool:
        """Whether this is every port."""
        return self.width == MAX_PORT + 1

    def holds(self, port: int) -> bool:
        """Whether a port is one of these."""
        return self.low <= port <= self.high

    def overlaps(self, other: Ports) -> bool:
        """Whether they have a port in common."""
        return self.low <= other.high and other.low <= self.high

    def __str__(self) -> str:
        if self.is_any:
            return "any"
        return str(self.low) if self.low == self.high else f"{self.low}-{self.high}"


ANY_PORT = Ports(0, MAX_PORT)


def parse_ports(value: object) -> tuple[Ports, ...]:
    """Read the ports of a rule: ``80``, ``"8000-8999"``, ``"any"``, or several of these.

    :param value: a number, a text (which may hold several entries, parted by commas), or a list of
        these.
    :return: one :class:`Ports` an entry, in the order given, each once. Entries are never joined:
        how wide an entry is counts in the precedence of rules.
    :raises RulesError: an entry cannot be read; all that cannot are named.
    """
    entries: list[object] = list(value) if isinstance(value, list | tuple) else [value]
    if not entries:
        raise RulesError.of("the list of ports is empty", 'for all ports write "any"')
    found: dict[Ports, None] = {}
    problems: list[Problem] = []
    for entry in entries:
        parts = entry.split(",") if isinstance(entry, str) else [entry]
        for part in parts:
            try:
                found[_parse_entry(part)] = None
            except RulesError as error:
                problems += error.problems
    if problems:
        raise RulesError(problems)
    return tuple(found)


def _parse_entry(entry: object) -> Ports:
    if isinstance(entry, int) and not isinstance(entry, bool):
        return Ports.one(_checked(entry, shown(entry)))
    if not isinstance(entry, str):
        raise RulesError.of(f"{shown(entry)} is not a port", 'such as 80, "8000-8999" or "any"')
    text = entry.strip()
    if text == "any":
        return ANY_PORT
    first, dash, second = text.partition("-")
    low = _parse_number(first.strip(), text)
    if not dash:
        return Ports.one(low)
    high = _parse_number(second.strip(), text)
    if low > high:
        raise RulesError.of(f"the range {shown(text)} is reversed", f'write "{high}-{low}"')
    return Ports(low, high)


def _parse_number(number: str, text: str) -> int:
    # The length keeps out digits without end, which int would refuse in its own words.
    if number.isascii() and number.isdecimal() and len(number) <= 20:
        return _checked(int(number), shown(text))
    hint = 'such as 80, "8000-8999" or "any"'
    lowered = text.lower()
    if lowered in ("any", "all", "*"):
        hint = 'write "any"'
    elif text[:1].isalpha():
        hint = "service names are not resolved, give the number"
    else:
        for separator in ("..", ":", "–", "—", "/", " "):
            ends = text.split(separator)
            if len(ends) == 2 and all(end.strip().isdecimal() for end in ends):
                hint = f'a range is written "{ends[0].strip()}-{ends[1].strip()}"'
    raise RulesError.of(f"{shown(text)} is not a port", hint)


def _checked(port: int, text: str) -> int:
    if port == 0:
        raise RulesError.of(
            f"port {text} is out of range", 'ports start at 1; all of them are "any"'
        )
    if not 0 < port <= MAX_PORT:
        raise RulesError.of(f"port {text} is out of range", f"ports are 1 to {MAX_PORT}")
    return port
