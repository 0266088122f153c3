"""Writing rulesets: what is written here is read back as an equal ruleset."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from .entries import RULE_KEYS, SERVICE_KEYS
from .ports import Ports
from .rule import Rule, Service
from .ruleset import Ruleset

Entry = dict[str, str | int | list[str | int]]
"""An entry of a file: its keys and values, as TOML and JSON lines have them."""


def rule_entry(rule: Rule) -> Entry:
    """Return one rule as an entry of a file."""
    return _entry(rule, [rule.ports])


def service_entry(service: Service) -> Entry:
    """Return one service as an entry of a file."""
    return {"name": service.name, "on_miss": service.on_miss}


def rule_entries(rules: Iterable[Rule]) -> Iterator[Entry]:
    """Return rules as entries, one for those that differ in the ports alone."""
    together: dict[tuple[object, ...], list[Rule]] = {}
    for rule in rules:
        rest = (rule.action, rule.protocol, rule.address, rule.source, rule.interface)
        together.setdefault(rest, []).append(rule)
    for same in together.values():
        yield _entry(same[0], [rule.ports for rule in same])


def to_toml(ruleset: Ruleset) -> str:
    """Write a ruleset as TOML."""
    blocks = [_toml_block("service", service_entry(service)) for service in ruleset.services]
    blocks += [_toml_block("rule", entry) for entry in rule_entries(ruleset.rules)]
    return "\n".join(blocks)


def to_json_lines(ruleset: Ruleset) -> str:
    """Write a ruleset as JSON lines."""
    import json

    entries = [service_entry(service) for service in ruleset.services]
    entries += rule_entries(ruleset.rules)
    return "".join(json.dumps(entry, ensure_ascii=False) + "\n" for entry in entries)


def to_csv(ruleset: Ruleset) -> str:
    """Write a ruleset as CSV, with a header."""
    import csv
    from io import StringIO

    out = StringIO(newline="")
    writer = csv.DictWriter(out, RULE_KEYS + SERVICE_KEYS, lineterminator="\n")
    writer.writeheader()
    for service in ruleset.services:
        writer.writerow(service_entry(service))
    for entry in rule_entries(ruleset.rules):
        ports = entry["port"]
        if isinstance(ports, list):
            entry["port"] = ",".join(map(str, ports))
        writer.writerow(entry)
    return out.getvalue()


def _entry(rule: Rule, ports: list[Ports]) -> Entry:
    entry: Entry = {"service" if rule.service is not None else "action": rule.action}
    entry["protocol"] = str(rule.protocol)
    entry["address"] = str(rule.address)
    values = [_port_value(run) for run in ports]
    entry["port"] = values[0] if len(values) == 1 else values
    if rule.source is not None:
        entry["source"] = str(rule.source)
    if rule.interface is not None:
        entry["interface"] = rule.interface
    return entry


def _port_value(ports: Ports) -> str | int:
    return ports.low if ports.width == 1 else str(ports)


def _toml_block(kind: str, entry: Entry) -> str:
    import json

    # Of what JSON writes these values are TOML, too: no control character is among them.
    lines = [f"{key} = {json.dumps(value, ensure_ascii=False)}" for key, value in entry.items()]
    return "\n".join([f"[[{kind}]]", *lines, ""])
