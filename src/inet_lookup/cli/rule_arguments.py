"""Rules on the command line: ``SERVICE PROTOCOL ADDRESS PORT [--source …] [--interface …]``."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeVar

import click

from .misuse import Misuse, misuse

if TYPE_CHECKING:
    from ..rules import Rule

F = TypeVar("F", bound=Callable[..., Any])


def rule_arguments(function: F) -> F:
    """Give a command the arguments of a rule, which :func:`rules_given` makes rules of."""
    for add in (
        click.option("--interface", metavar="IF", help="Only packets that come in by it."),
        click.option("--source", metavar="PREFIX", help="Only packets from these addresses."),
        click.argument("port"),
        click.argument("address"),
        click.argument("protocol"),
        click.argument("service"),
    ):
        function = add(function)
    return function


def rules_given(
    service: str,
    protocol: str,
    address: str,
    port: str,
    source: str | None,
    interface: str | None,
) -> tuple[Rule, ...]:
    """Make rules of the arguments: one for each port or range.

    :raises Misuse: something cannot be read; all that cannot is named.
    """
    from ..rules import DROP, PASS, RulesError, parse_rule

    if service.lower() in (DROP, PASS) and not service.islower():
        raise Misuse(f"'{service}' is not a service name", f"did you mean '{service.lower()}'?")
    with misuse(RulesError):
        return parse_rule(service, protocol, address, port, source=source, interface=interface)


def as_arguments(rule: Rule) -> str:
    """Return a rule as the arguments of ``bind`` and ``unbind``."""
    text = f"{rule.action} {rule.protocol} {rule.address} {rule.ports}"
    if rule.source is not None:
        text += f" --source {rule.source}"
    if rule.interface is not None:
        text += f" --interface {rule.interface}"
    return text
