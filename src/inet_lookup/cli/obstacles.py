"""What keeps rules from taking effect, as commands tell about it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import groupby
from typing import Any

from ..control.obstacles import Obstacle
from .output import note
from .settings import Settings

_SHOWN = 5
"""How many of a kind are shown to people."""


def obstacle_json(obstacle: Obstacle) -> dict[str, Any]:
    """Return one for ``--json``."""
    return {**obstacle._asdict(), "kind": obstacle.kind.value}


def obstacle_lines(obstacles: Iterable[Obstacle]) -> list[str]:
    """Return some for people: a few of each kind."""
    lines = []
    for _, group in groupby(obstacles, key=lambda each: each.kind):
        same = list(group)
        for each in same[:_SHOWN]:
            lines.append(f"{each.message}; {each.mend}" if each.mend else each.message)
        if len(same) > _SHOWN:
            lines.append(f"and {len(same) - _SHOWN} more like this; --json shows all")
    return lines


def tell_obstacles(settings: Settings, obstacles: Sequence[Obstacle]) -> None:
    """Tell people, beside the result."""
    if not settings.json:
        for line in obstacle_lines(obstacles):
            note(line)
