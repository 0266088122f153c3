"""``inet-lookup bind``: packets for a service, by one more rule."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from .dispatchers import opened
from .misuse import Misuse
from .obstacles import obstacle_json, tell_obstacles
from .output import show
from .rule_arguments import as_arguments, rule_arguments, rules_given
from .settings import Settings, global_options, pass_settings

if TYPE_CHECKING:
    from ..control import Change
    from ..rules import AmbiguousRulesError, Rule


@click.command(short_help="Give packets to a service.")
@rule_arguments
@click.option(
    "--on-miss",
    type=click.Choice(["drop", "pass"]),
    help="What becomes of packets while the service has no socket for them: drop, unless it was"
    " changed.",
)
@click.option("--anyip", is_flag=True, help="Add the local route that ADDRESS needs, if any.")
@global_options(hidden=True)
@pass_settings
def bind(
    settings: Settings,
    service: str,
    protocol: str,
    address: str,
    port: str,
    source: str | None,
    interface: str | None,
    on_miss: str | None,
    anyip: bool,
) -> None:
    """Give packets to SERVICE, by one more rule.

    They are those of PROTOCOL, tcp or udp, to ADDRESS, which may be a prefix, and PORT: 80,
    8000-8999, any, or several of these parted by commas. SERVICE may also be drop, or pass for the
    regular lookup.

    Of all rules that match a packet the most specific wins: the longest prefix, then the fewest
    ports, then the longest source, then an interface. The dispatcher is loaded where it is not.
    """
    from ..control.obstacles import obstacles_in_force
    from ..rules import DROP, PASS, AmbiguousRulesError, Ruleset, Service, rule_entry

    rules = rules_given(service, protocol, address, port, source, interface)
    services = []
    if on_miss is not None:
        if service in (DROP, PASS):
            raise Misuse(f"--on-miss is for services, and '{service}' is an action")
        services.append(Service(service, on_miss))
    with opened(settings) as dispatcher:
        namespace = dispatcher.namespace
        try:
            change = dispatcher.bind(rules, services=services, anyip=anyip)
        except AmbiguousRulesError as error:
            error.hint = _way_out(error, rules) or error.hint
            raise
        bound = Ruleset(
            rules, [each for each in change.after.services if each.name == rules[0].service]
        )
        obstacles = obstacles_in_force(bound, dispatcher.status(), namespace)
        had = set(change.before.rules)
        result = {
            "namespace": {"given": settings.netns, "inode": namespace.inode},
            "generation": change.generation,
            "rules": [{**rule_entry(rule), "added": rule not in had} for rule in rules],
            "on_miss": bound.services[0].on_miss if bound.services else None,
            "routes_added": [str(prefix) for prefix in change.routes_added],
            "warnings": [obstacle_json(each) for each in obstacles],
        }
        show(settings, result, _lines(rules, change, namespace.label))
    tell_obstacles(settings, obstacles)


def _lines(rules: tuple[Rule, ...], change: Change, label: str) -> list[str]:
    had = set(change.before.rules)
    lines = [
        f'"{rule}" is in force already in {label}' if rule in had else f"bound {rule} in {label}"
        for rule in rules
    ]
    before = {each.name: each.on_miss for each in change.before.services}
    for each in change.after.services:
        if before.get(each.name, each.on_miss) != each.on_miss:
            lines.append(f"on_miss of {each.name} is {each.on_miss} now")
    return [*lines, *(f"{prefix} is local now" for prefix in change.routes_added)]


def _way_out(error: AmbiguousRulesError, rules: tuple[Rule, ...]) -> str | None:
    """Say how to get past a rule that is in force."""
    for pair in error.pairs:
        for one, other in ((pair.first, pair.second), (pair.second, pair.first)):
            if one in rules and other not in rules:
                return (
                    f"make it more specific, or first: inet-lookup unbind {as_arguments(other)};"
                    " plan and apply replace one by the other in one step"
                )
    return None
