"""``inet-lookup unbind``: undo ``bind``."""

from __future__ import annotations

import heapq
from collections.abc import Iterable
from typing import TYPE_CHECKING

import click

from ..errors import InetLookupError
from .dispatchers import opened
from .output import show
from .rule_arguments import as_arguments, rule_arguments, rules_given
from .settings import Settings, global_options, pass_settings

if TYPE_CHECKING:
    from ..rules import Rule, Ruleset

_NEAR = 3
"""How many rules are shown that may have been meant."""


@click.command(short_help="Undo a bind.")
@rule_arguments
@global_options(hidden=True)
@pass_settings
def unbind(
    settings: Settings,
    service: str,
    protocol: str,
    address: str,
    port: str,
    source: str | None,
    interface: str | None,
) -> None:
    """Remove a rule from those in force: the very one that bind was given.

    The service stays, and its sockets stay registered. A local route that bind --anyip added goes
    when no rule needs it any more. Connections that were accepted stay.
    """
    from ..rules import RulesError, rule_entry

    rules = rules_given(service, protocol, address, port, source, interface)
    with opened(settings) as dispatcher:
        namespace = dispatcher.namespace
        try:
            change = dispatcher.unbind(rules)
        except RulesError as error:
            missing = [rule for rule in rules if rule not in dispatcher.ruleset.rules]
            if not missing:
                raise
            raise _not_in_force(missing, dispatcher.ruleset, namespace.label) from error
        result = {
            "namespace": {"given": settings.netns, "inode": namespace.inode},
            "generation": change.generation,
            "rules": [rule_entry(rule) for rule in rules],
            "routes_removed": [str(prefix) for prefix in change.routes_removed],
        }
        lines = [f"unbound {rule} in {namespace.label}" for rule in rules]
        lines += [f"{prefix} is no longer local" for prefix in change.routes_removed]
        show(settings, result, lines)


def _not_in_force(missing: list[Rule], ruleset: Ruleset, label: str) -> InetLookupError:
    names = ", ".join(f'"{rule}"' for rule in missing)
    verb = "is" if len(missing) == 1 else "are"
    near = nearest(missing[0], ruleset.rules)
    if near:
        hint = "there is " + ", ".join(f'"{as_arguments(rule)}"' for rule in near)
    elif ruleset.rules:
        hint = "inet-lookup rules shows those that are"
    else:
        hint = "no rule is"
    return InetLookupError(f"{names} {verb} not in force in {label}", hint=hint)


def nearest(wanted: Rule, rules: Iterable[Rule]) -> list[Rule]:
    """Return the rules that may have been meant by one that is not there, the likeliest first."""

    def likeness(rule: Rule) -> int:
        same = rule.address == wanted.address
        return (
            4 * same
            + 3 * (not same and rule.address.overlaps(wanted.address))
            + 3 * (rule.ports == wanted.ports)
            + 2 * (rule.action == wanted.action)
            + (rule.protocol is wanted.protocol)
            + (rule.source == wanted.source)
            + (rule.interface == wanted.interface)
        )

    # Below this they have nothing more in common than any two rules.
    likely = ((likeness(rule), rule) for rule in rules if rule.address.overlaps(wanted.address))
    found = heapq.nlargest(_NEAR, likely, key=lambda pair: pair[0])
    return [rule for _, rule in found]
