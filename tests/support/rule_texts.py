"""Rules as they are printed."""

from __future__ import annotations

from inet_lookup.rules import Rule, parse_rule


def rule(text: str, **options: str) -> Rule:
    """A rule as it is printed: ``rule("web tcp 127.0.0.0/8 80", interface="eth0")``."""
    service, protocol, address, port = text.split()
    (made,) = parse_rule(service, protocol, address, port, **options)
    return made
