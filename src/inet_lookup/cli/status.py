"""``inet-lookup status``: services, their sockets and processes, and what came to them."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

import click

from .dispatchers import reading
from .obstacles import obstacle_json, obstacle_lines
from .output import duration, show
from .settings import Settings, global_options, pass_settings
from .sockets import socket_json, socket_row
from .tables import table

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ..control import DispatcherStatus, ServiceStatus
    from ..control.obstacles import Obstacle


@click.command(short_help="Services, sockets, processes, counters.")
@global_options(hidden=True)
@pass_settings
def status(settings: Settings) -> None:
    """Show the services of a network namespace, with their sockets, processes and counters.

    A look-up is a new connection or a datagram that a rule decides. A miss is one for which the
    service had no socket; an error is a miss because the kernel refused the socket that it had.
    """
    from ..control.obstacles import obstacles_in_force

    with reading(settings) as dispatcher:
        namespace = dispatcher.namespace
        found = dispatcher.status()
        obstacles = obstacles_in_force(dispatcher.ruleset, found, namespace)
        result = _json(found, obstacles, settings.netns)
        show(settings, result, _lines(found, obstacles, namespace.label))


def _json(
    found: DispatcherStatus, obstacles: Sequence[Obstacle], netns: str | None
) -> dict[str, Any]:
    return {
        "namespace": {"given": netns, "inode": found.namespace_inode},
        "path": found.path,
        "version": found.version,
        "generation": found.generation,
        "program_id": found.program_id,
        "loaded_at": found.loaded_at,
        "changed_at": found.changed_at,
        "rules": found.rules,
        "lookups": found.lookups,
        "services": [_service_json(each) for each in found.services],
        "interfaces": [each._asdict() for each in found.interfaces],
        "routes": [str(prefix) for prefix in found.routes],
        "warnings": [obstacle_json(each) for each in obstacles],
    }


def _service_json(service: ServiceStatus) -> dict[str, Any]:
    return {
        "name": service.name,
        "on_miss": service.on_miss,
        "rules": service.rules,
        "lookups": service.lookups,
        "misses": service.misses,
        "errors": service.errors,
        "sockets": [socket_json(each) for each in service.sockets],
    }


def _lines(found: DispatcherStatus, obstacles: Sequence[Obstacle], label: str) -> list[str]:
    now = time.time()
    lines = [
        f"dispatcher of {label}: generation {found.generation}, program {found.program_id},"
        f" loaded {duration(now - found.loaded_at)} ago,"
        f" changed {duration(now - found.changed_at)} ago",
        f"{_count(found.rules, 'rule')}, {_count(found.lookups, 'look-up')} decided",
        "",
    ]
    rows = [["service", "on_miss", "rules", "look-ups", "misses", "errors"]]
    for each in found.services:
        counts = (each.rules, each.lookups, each.misses, each.errors)
        rows.append([each.name, each.on_miss or "-", *map(str, counts)])
    heading, *services = table(rows, right=(2, 3, 4, 5))
    lines.append(heading if services else "no services")
    for line, service in zip(services, found.services, strict=True):
        lines.append(line)
        sockets = [socket_row(each) for each in service.sockets]
        lines += ["  " + row for row in table(sockets)]
    if found.routes:
        lines += ["", f"local by routes of ours: {', '.join(map(str, found.routes))}"]
    if obstacles:
        lines += ["", "warnings:", *(f"  {line}" for line in obstacle_lines(obstacles))]
    return lines


def _count(number: int, what: str) -> str:
    return f"{number:,} {what}" + ("" if number == 1 else "s")
