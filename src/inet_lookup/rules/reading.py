"""Reading rulesets from files and from the command line."""

from __future__ import annotations

import re
from array import array
from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import cache
from itertools import chain
from os import PathLike, fspath
from sys import intern
from typing import TYPE_CHECKING

from .entries import RULE_KEYS, SERVICE_KEYS, rules_of, service_of, unknown_keys
from .ports import ANY_PORT, Ports, parse_ports
from .prefix import Prefix
from .problems import Problem, RulesError, did_you_mean, shown
from .rule import (
    DROP,
    PASS,
    Protocol,
    Rule,
    Service,
    checked_service_name,
    parse_protocol,
)
from .ruleset import AMBIGUITY_HINT, AmbiguousRulesError, Ruleset

if TYPE_CHECKING:
    from json import JSONDecoder

FORMATS = ("toml", "jsonl", "csv", "tubular")
"""The formats of :func:`parse`."""

_SUFFIXES = {
    ".toml": "toml",
    ".jsonl": "jsonl",
    ".ndjson": "jsonl",
    ".csv": "csv",
    ".json": "tubular",
}


def read(path: str | PathLike[str], format: str | None = None) -> Ruleset:
    """Read a ruleset from a file.

    :param path: the file.
    :param format: one of :data:`FORMATS`; told by the file's suffix where it is not given:
        ``.toml``, ``.jsonl`` or ``.ndjson``, ``.csv``, and ``.json`` for tubular's bindings.
    :raises RulesError: the file cannot be read, or is not a ruleset: every problem with its line.
    """
    name = fspath(path)
    if format is not None:
        _check_format(format)
    else:
        suffix = name[name.rfind(".") :].lower() if "." in name else ""
        format = _SUFFIXES.get(suffix)
        if format is None:
            raise RulesError.of(
                f"cannot tell the format of {shown(name)}",
                f"name it with one of the suffixes {', '.join(_SUFFIXES)}, or give the format",
            )
    try:
        with open(name, "rb") as file:
            data = file.read()
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else str(error)
        raise RulesError([Problem(f"cannot read {shown(name)}: {reason}")]) from None
    try:
        text = data.decode()
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        problem = Problem("the file is not UTF-8 text", file=name, line=line)
        raise RulesError([problem]) from None
    return parse(text, format, name=name)


def parse(text: str, format: str, *, name: str | None = None) -> Ruleset:
    """Make a ruleset of a text.

    A service that a rule names must be declared if the text declares any service.

    :param text: the text.
    :param format: one of :data:`FORMATS`.
    :param name: what messages call the text; a file's name.
    :raises RulesError: every problem, with name and line, in the order of the text.
    """
    _check_format(format)
    try:
        document = _PARSERS[format](text.removeprefix("\ufeff"))
    except RulesError as error:
        raise RulesError(problem.located(file=name) for problem in error.problems) from None
    return document.ruleset(name)


def _check_format(format: str) -> None:
    if format not in FORMATS:
        raise RulesError.of(
            f"{shown(format)} is not a format",
            did_you_mean(format, FORMATS) or f"one of {', '.join(FORMATS)}",
        )


def parse_rule(
    action: str,
    protocol: str,
    address: str,
    port: str | int,
    *,
    source: str | None = None,
    interface: str | None = None,
) -> tuple[Rule, ...]:
    """Make rules of the arguments of ``bind``.

    :param action: the service, or ``pass`` or ``drop``.
    :param protocol: ``tcp`` or ``udp``.
    :param address: the destination prefix or address.
    :param port: ``80``, ``8000-8999``, ``any``, or several, parted by commas.
    :param source: the source prefix.
    :param interface: the interface.
    :return: one rule for each port or range.
    :raises RulesError: every problem, each with its key.
    """
    entry: dict[str, object] = {
        "action" if action in (PASS, DROP) else "service": action,
        "protocol": protocol,
        "address": address,
        "port": port,
    }
    if source is not None:
        entry["source"] = source
    if interface is not None:
        entry["interface"] = interface
    return tuple(rules_of(entry))


def parse_rule_text(text: str) -> tuple[Rule, ...]:
    """Read ``SERVICE PROTOCOL ADDRESS PORT [from SOURCE] [on INTERFACE]``, as rules are printed.

    :raises RulesError: it cannot be read.
    """
    words = text.split()
    options: dict[str, str] = {}
    rest = words[4:]
    while len(rest) >= 2 and rest[0] in ("from", "on") and rest[0] not in options:
        options[rest[0]] = rest[1]
        rest = rest[2:]
    if len(words) < 4 or rest:
        raise RulesError.of(
            f"{shown(text)} is not a rule",
            "SERVICE PROTOCOL ADDRESS PORT [from SOURCE] [on INTERFACE]",
        )
    return parse_rule(*words[:4], source=options.get("from"), interface=options.get("on"))


class _Document:
    """Collects the entries of a text, and all that is wrong with them.

    :param locate: tells the line of the n-th entry of a kind, or of a key in it; asked only where
        the entry came without its line.
    """

    def __init__(self, locate: Callable[[str, int, str | None], int | None] | None = None) -> None:
        self.problems: list[Problem] = []
        self._locate = locate
        self._lines: dict[str, array[int]] = {}
        self._counts: dict[str, int] = {}
        self._rules: list[Rule] = []
        # For each rule the number of its entry.
        self._origins = array("Q")
        self._rule_kind = "rule"
        # Entries with problems, too, declare services, and name some that nothing declares.
        self._declared: set[str] = set()
        self._broken: list[tuple[str, int]] = []
        self._services: dict[str, tuple[Service, int]] = {}

    def add(self, kind: str, values: Mapping[str, object], line: int | None = None) -> None:
        """Take an entry.

        :param kind: ``rule``, ``service`` or ``binding``, as messages call it.
        :param values: its keys.
        :param line: its line, where the format knows it at once.
        """
        number = self._counts[kind] = self._counts.get(kind, 0) + 1
        if line is not None:
            self._lines.setdefault(kind, array("Q")).append(line)
        try:
            if kind == "service":
                self._declare(service_of(values), number)
                return
            self._rule_kind = kind
            rules = _rules_of_binding(values) if kind == "binding" else rules_of(values)
        except RulesError as error:
            for problem in error.problems:
                self._complain(problem, kind, number)
            name = values.get("name" if kind == "service" else "service")
            if isinstance(name, str) and kind == "service":
                self._declared.add(name)
            elif isinstance(name, str) and all(bad.key != "service" for bad in error.problems):
                self._broken.append((name, number))
            return
        self._rules += rules
        self._origins.extend([number] * len(rules))

    def ruleset(self, name: str | None) -> Ruleset:
        """Return the ruleset, or raise all problems."""
        self._require_declared_services()
        services = [service for service, _ in self._services.values()]
        try:
            ruleset = Ruleset(self._rules, services)
        except AmbiguousRulesError as error:
            self._complain_of_ambiguities(error)
        if self.problems:
            self.problems.sort(key=lambda problem: problem.line or 1 << 62)
            raise RulesError(problem.located(file=name) for problem in self.problems)
        return ruleset

    def _line(self, kind: str, number: int, key: str | None = None) -> int | None:
        if kind in self._lines:
            return self._lines[kind][number - 1]
        return self._locate(kind, number, key) if self._locate is not None else None

    def _complain(self, problem: Problem, kind: str, number: int) -> None:
        line = self._line(kind, number, problem.key)
        self.problems.append(problem.located(entry=f"{kind} {number}", line=line))

    def _declare(self, service: Service, number: int) -> None:
        self._declared.add(service.name)
        _, first = self._services.setdefault(service.name, (service, number))
        if first != number:
            line = self._line("service", first)
            where = f"service {first}" + (f" (line {line})" if line is not None else "")
            raise RulesError([Problem(f"{shown(service.name)} is declared by {where}", key="name")])

    def _require_declared_services(self) -> None:
        if "service" not in self._counts:
            return
        complained = 0
        named = zip((rule.action for rule in self._rules), self._origins, strict=True)
        for name, number in chain(named, self._broken):
            # The rules of one entry are neighbours; once is enough for them.
            if name in self._declared or name in (PASS, DROP) or number == complained:
                continue
            complained = number
            hint = did_you_mean(name, self._declared) or "declare it as the other services are"
            problem = Problem(f"the service {shown(name)} is not declared", hint, key="service")
            self._complain(problem, self._rule_kind, number)

    def _complain_of_ambiguities(self, error: AmbiguousRulesError) -> None:
        origins: dict[Rule, int] = {}
        for rule, number in zip(self._rules, self._origins, strict=True):
            origins.setdefault(rule, number)
        kind = self._rule_kind
        for pair in error.pairs:
            earlier, later = sorted((pair.first, pair.second), key=origins.__getitem__)
            first, number = origins[earlier], origins[later]
            where = "in the same entry"
            if first != number:
                line = self._line(kind, first)
                where = f"{kind} {first}" + (f" (line {line})" if line is not None else "")
            problem = Problem(
                f'"{later}" is ambiguous with "{earlier}", {where}: both match {pair.witness}',
                AMBIGUITY_HINT,
            )
            self._complain(problem, kind, number)


# Each of the functions below makes a document of a text in one format.


def _parse_toml(text: str) -> _Document:
    import tomllib

    from .toml_lines import TomlLines

    try:
        tables = tomllib.loads(text)
    except (ValueError, RecursionError) as error:
        raise _not_valid("TOML", error, text) from None
    # Only a document with problems is searched for its lines.
    lines = cache(lambda: TomlLines(text))
    document = _Document(lambda kind, number, key: lines().entry(kind, number, key))
    problems, _ = unknown_keys(tables, ("rule", "service"))
    for problem in problems:
        document.problems.append(problem.located(line=lines().top(problem.key or "")))
    for kind in ("service", "rule"):
        entries = tables.get(kind, [])
        if not isinstance(entries, list) or not all(isinstance(entry, dict) for entry in entries):
            problem = Problem(f"{kind} is not an array of tables", f"write [[{kind}]]")
            document.problems.append(problem.located(line=lines().top(kind)))
            continue
        for entry in entries:
            document.add(kind, entry)
    return document


def _parse_json_lines(text: str) -> _Document:
    document = _Document()
    # str.splitlines would also split at signs that may stand in a JSON string.
    for number, line in enumerate(text.split("\n"), 1):
        if not line or line.isspace():
            continue
        try:
            values = _load_json(line)
            if not isinstance(values, dict):
                raise RulesError.of("this is not a JSON object", "one rule or service a line")
        except RulesError as error:
            document.problems += [replace(problem, line=number) for problem in error.problems]
            continue
        document.add(_kind_of(values), values, number)
    return document


def _parse_csv(text: str) -> _Document:
    import csv
    from io import StringIO

    document = _Document()
    rows = csv.reader(StringIO(text, newline=""), strict=True)
    line = 1
    try:
        header = [column.strip() for column in next(rows, [])]
        document.problems += _header_problems(header)
        if document.problems:
            return document
        line = rows.line_num + 1
        for row in rows:
            cells = [cell.strip() for cell in row]
            if len(cells) > len(header):
                document.problems.append(
                    Problem(
                        f"the row has {len(cells)} cells, the header {len(header)}",
                        'a list of ports is quoted: "80,443"',
                        line=line,
                    )
                )
            elif any(cells):
                # An empty cell is a key that is not given.
                pairs = zip(header, cells, strict=False)
                values: dict[str, object] = {key: cell for key, cell in pairs if cell}
                document.add(_kind_of(values), values, line)
            line = rows.line_num + 1
    except csv.Error as error:
        document.problems.append(Problem(f"not valid CSV: {error}", line=line))
    return document


def _header_problems(header: list[str]) -> list[Problem]:
    problems, _ = unknown_keys(dict.fromkeys(header), RULE_KEYS + SERVICE_KEYS)
    problems += [
        Problem(f"the column {shown(column)} is there twice")
        for column in dict.fromkeys(header)
        if header.count(column) > 1
    ]
    return [problem.located(entry="header", line=1) for problem in problems]


def _kind_of(values: Mapping[str, object]) -> str:
    """Tell a service from a rule where the format has no tables."""
    return "service" if "name" in values or "on_miss" in values else "rule"


def _parse_tubular(text: str) -> _Document:
    """Read what tubular's ``load-bindings`` reads (cmd/tubectl/binding.go in its source)."""
    from .json_lines import element_lines

    content = _load_json(text)
    if not isinstance(content, dict) or "bindings" not in content:
        raise RulesError.of(
            'this is not a bindings file of tubular: an object with the key "bindings"',
            "rules in JSON are one object a line, in a file named .jsonl",
        )
    lines = cache(lambda: element_lines(text, "bindings"))
    document = _Document(lambda kind, number, key: lines()[number - 1])
    document.problems, _ = unknown_keys(content, ("bindings",))
    bindings = content["bindings"]
    if not isinstance(bindings, list) or not all(isinstance(one, dict) for one in bindings):
        document.problems.append(Problem("bindings is not a list of objects"))
        return document
    for binding in bindings:
        document.add("binding", binding)
    return document


_BINDING_KEYS = ("label", "protocol", "prefix", "port")


def _rules_of_binding(binding: Mapping[str, object]) -> list[Rule]:
    """Make rules of one of tubular's bindings.

    Without a protocol it means both; port 0 means any; set host bits are cleared, and a mapped
    IPv4 prefix means the IPv4 one, as tubular has it.
    """
    problems, meant = unknown_keys(binding, _BINDING_KEYS)
    protocols: tuple[Protocol, ...] = (Protocol.TCP, Protocol.UDP)
    label = ""
    prefix: Prefix | None = None
    ports: tuple[Ports, ...] = ()
    for key, value in binding.items():
        try:
            if key == "label":
                label = intern(checked_service_name(value))
            elif key == "protocol":
                protocols = (parse_protocol(value),)
            elif key == "prefix":
                if not isinstance(value, str):
                    raise RulesError.of(f"{shown(value)} is not a prefix")
                prefix = Prefix.parse(value, mask=True)
            elif key == "port":
                if isinstance(value, bool) or not isinstance(value, int):
                    raise RulesError.of(f"{shown(value)} is not a port", "a number; 0 means any")
                ports = (ANY_PORT,) if value == 0 else parse_ports(value)
        except RulesError as error:
            problems += [problem.located(key=key) for problem in error.problems]
    for key in ("label", "prefix", "port"):
        if key not in binding and key not in meant:
            hint = "0 means any" if key == "port" else None
            problems.append(Problem(f"a binding needs a {key}", hint))
    if problems:
        raise RulesError(problems)
    assert prefix is not None
    return [Rule(label, protocol, prefix, run) for protocol in protocols for run in ports]


_PARSERS: dict[str, Callable[[str], _Document]] = {
    "toml": _parse_toml,
    "jsonl": _parse_json_lines,
    "csv": _parse_csv,
    "tubular": _parse_tubular,
}


class _RepeatedKeyError(ValueError):
    pass


def _object_of(pairs: list[tuple[str, object]]) -> dict[str, object]:
    # json takes the last of repeated keys in silence; a port would be lost.
    found = dict(pairs)
    if len(found) != len(pairs):
        names = [name for name, _ in pairs]
        repeated = next(name for name in names if names.count(name) > 1)
        raise _RepeatedKeyError(f"the key {shown(repeated)} is there twice")
    return found


@cache
def _json_decoder() -> JSONDecoder:
    from json import JSONDecoder

    return JSONDecoder(object_pairs_hook=_object_of)


def _load_json(text: str) -> object:
    try:
        value: object = _json_decoder().decode(text)
    except _RepeatedKeyError as error:
        raise RulesError.of(str(error)) from None
    except (ValueError, RecursionError) as error:
        raise _not_valid("JSON", error, text) from None
    return value


_PLACE = re.compile(
    r" \(at (?:line (?P<toml>\d+), column \d+|(?P<end>end of document))\)$"
    r"|: line (?P<json>\d+) column \d+ \(char \d+\)$"
)


def _not_valid(format: str, error: Exception, text: str) -> RulesError:
    """Make an error of a parser's own, with the line taken out of its words."""
    if isinstance(error, RecursionError):
        return RulesError([Problem(f"not valid {format}: nested too deeply", line=1)])
    words = str(error)
    place = _PLACE.search(words)
    if place is None:
        return RulesError.of(f"not valid {format}: {words}")
    line = text.count("\n") + 1 if place["end"] else int(place["toml"] or place["json"])
    return RulesError([Problem(f"not valid {format}: {words[: place.start()]}", line=line)])
