"""Pins of programs that run no more, as commands tell about them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ...control.namespace_home import Stale
from ..output import note


def stale_json(stale: Sequence[Stale]) -> list[dict[str, Any]]:
    """Return them for ``--json``."""
    return [
        {"name": each.name, "namespace_inode": each.namespace, "reason": each.reason}
        for each in stale
    ]


def tell_removed(removed: Sequence[Stale]) -> None:
    """Tell what was removed on the way."""
    for each in removed:
        note(f"removed the pins of '{each.name}': {each.reason}")
