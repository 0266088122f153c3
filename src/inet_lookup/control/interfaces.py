"""Interfaces that rules name: by name in a ruleset, by index in the kernel."""

from __future__ import annotations

import socket
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, NamedTuple

from ..errors import NamespaceError

if TYPE_CHECKING:
    from ..net.namespaces import Namespace
    from ..rules import Ruleset


class InterfaceIndex(NamedTuple):
    """An interface that rules name.

    :ivar name: its name.
    :ivar in_force: the index that the rules are in force for; 0 for none.
    :ivar now: the index that it has now; 0 where it does not exist, None where this process cannot
        look. Where it differs, the rules have to be applied again.
    """

    name: str
    in_force: int
    now: int | None

    @property
    def changed(self) -> bool:
        """Whether the rules are in force for another interface than the one of this name."""
        return self.now is not None and self.now != self.in_force


def named_in(ruleset: Ruleset) -> set[str]:
    """The interfaces that rules name."""
    return {rule.interface for rule in ruleset.rules if rule.interface is not None}


def resolve(names: Iterable[str], namespace: Namespace) -> dict[str, int]:
    """The index of each interface in a namespace, 0 for one that does not exist."""
    wanted = sorted(names)
    return namespace.call(lambda: {name: _index(name) for name in wanted}) if wanted else {}


def indexes_now(in_force: Mapping[str, int], namespace: Namespace) -> tuple[InterfaceIndex, ...]:
    """Compare the indexes in force with those of now."""
    now: Mapping[str, int | None]
    try:
        now = resolve(in_force, namespace)
    except NamespaceError:
        now = dict.fromkeys(in_force)
    return tuple(InterfaceIndex(name, in_force[name], now[name]) for name in sorted(in_force))


def _index(name: str) -> int:
    try:
        return socket.if_nametoindex(name)
    except OSError:
        return 0
