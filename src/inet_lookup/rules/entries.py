"""The entries of a rule file: the keys that every format shares, checked and turned into values."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Set
from functools import lru_cache
from sys import intern

from .ports import Ports, parse_ports
from .prefix import Prefix
from .problems import Problem, RulesError, did_you_mean, shown
from .rule import (
    DROP,
    PASS,
    Protocol,
    Rule,
    Service,
    checked_interface_name,
    checked_on_miss,
    checked_service_name,
    parse_protocol,
)

RULE_KEYS = ("service", "action", "protocol", "address", "port", "source", "interface")
"""The keys of a rule."""

SERVICE_KEYS = ("name", "on_miss")
"""The keys of a service."""

# What people write for a key by habit from other tools; likeness alone would not find these.
_OTHER_WORDS = {
    "label": "service",
    "target": "service",
    "verdict": "action",
    "proto": "protocol",
    "prefix": "address",
    "destination": "address",
    "dest": "address",
    "dst": "address",
    "ip": "address",
    "local": "address",
    "ports": "port",
    "dport": "port",
    "src": "source",
    "from": "source",
    "remote": "source",
    "iface": "interface",
    "ifname": "interface",
    "dev": "interface",
    "device": "interface",
}


def unknown_keys(
    entry: Mapping[str, object], known: tuple[str, ...]
) -> tuple[list[Problem], set[str]]:
    """Return a problem for each key that is not known, and the keys that were probably meant."""
    problems = []
    meant = set()
    for key in entry:
        if key in known:
            continue
        other = _OTHER_WORDS.get(key.lower())
        if other in known:
            hint: str | None = f'did you mean "{other}"?'
        else:
            hint = did_you_mean(key, known)
        if hint is not None:
            meant.add(hint.split('"')[1])
        problems.append(
            Problem(f"unknown key {shown(key)}", hint or f"known are {', '.join(known)}", key=key)
        )
    return problems, meant


def service_of(entry: Mapping[str, object]) -> Service:
    """Make a service of an entry.

    :param entry: ``name`` and, optionally, ``on_miss``.
    :raises RulesError: every problem of the entry, each with its key.
    """
    problems, meant = unknown_keys(entry, SERVICE_KEYS)
    name = ""
    on_miss = DROP
    for key, value in entry.items():
        try:
            if key == "name":
                name = checked_service_name(value)
            elif key == "on_miss":
                on_miss = checked_on_miss(value)
        except RulesError as error:
            problems += [problem.located(key=key) for problem in error.problems]
    if not {"name"} & (entry.keys() | meant):
        problems.append(Problem("a service needs a name", 'such as name = "nginx"'))
    if problems:
        raise RulesError(problems)
    return Service(name, on_miss)


def rules_of(entry: Mapping[str, object]) -> list[Rule]:
    """Make the rules of an entry: one for each of its ports.

    :param entry: the keys of :data:`RULE_KEYS` that it has, with their values.
    :raises RulesError: every problem of the entry, each with its key.
    """
    problems: list[Problem] = []
    given: Set[str] = entry.keys()
    if not given <= _RULE_KEY_SET:
        problems, meant = unknown_keys(entry, RULE_KEYS)
        given = given | meant
    action: str | None = None
    protocol: Protocol | None = None
    address: Prefix | None = None
    ports: tuple[Ports, ...] = ()
    source: Prefix | None = None
    interface: str | None = None
    for key, value in entry.items():
        try:
            if key == "service":
                action = intern(checked_service_name(value))
            elif key == "action":
                action = _checked_action(value)
            elif key == "protocol":
                protocol = parse_protocol(value)
            elif key == "address":
                address = _prefix_of(value)
            elif key == "port":
                ports = _ports_of(value)
            elif key == "source":
                source = _prefix_of(value)
            elif key == "interface":
                interface = intern(checked_interface_name(value))
        except RulesError as error:
            problems += [problem.located(key=key) for problem in error.problems]
    problems += _missing(given)
    if address is not None and source is not None and address.family is not source.family:
        problems.append(
            Problem(
                f"the source {source} is {source.family}, the address {address} {address.family}",
                "write one rule for each family",
                key="source",
            )
        )
    if problems:
        raise RulesError(problems)
    # Had one of these not been found, there would have been a problem.
    assert action is not None
    assert protocol is not None
    assert address is not None
    return [Rule(action, protocol, address, run, source, interface) for run in ports]


_RULE_KEY_SET = frozenset(RULE_KEYS)

_NEEDED = (("protocol", '"tcp"'), ("address", '"192.0.2.0/24"'), ("port", "80"))


def _missing(given: Set[str]) -> Iterator[Problem]:
    if {"service", "action"} <= given:
        yield Problem("a rule has either a service or an action", "remove one", key="action")
    elif not {"service", "action"} & given:
        yield Problem("a rule needs a service or an action", 'such as service = "nginx"')
    for key, example in _NEEDED:
        if key not in given:
            yield Problem(f"a rule needs the key {key}", f"such as {key} = {example}")


def _checked_action(value: object) -> str:
    if value == PASS:
        return PASS
    if value == DROP:
        return DROP
    hint = did_you_mean(value, [PASS, DROP]) if isinstance(value, str) else None
    raise RulesError.of(
        f"{shown(value)} is not an action",
        hint or f'"{PASS}" or "{DROP}"; a service is named by the key service',
    )


def _ports_of(value: object) -> tuple[Ports, ...]:
    # Most rules of a large ruleset share a few ports; let them share the objects too.
    return _ports_once(value) if isinstance(value, int | str) else parse_ports(value)


_ports_once = lru_cache(maxsize=4096, typed=True)(parse_ports)


def _prefix_of(value: object) -> Prefix:
    if not isinstance(value, str):
        raise RulesError.of(f"{shown(value)} is not an address", 'a text, such as "192.0.2.0/24"')
    return Prefix.parse(value)
