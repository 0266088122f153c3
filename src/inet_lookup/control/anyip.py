"""Routes that make the rules' addresses local, and which of them rules still need."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

from ..rules import Family, Prefix, Ruleset

if TYPE_CHECKING:
    from ..net.namespaces import Namespace
    from ..rules import Rule


def not_local(rules: Iterable[Rule], namespace: Namespace) -> list[Prefix]:
    """The outermost prefixes of rules that no local route of the namespace covers.

    Prefixes of length 0 stand for whatever is local, and are left out.
    """
    wanted = _outermost(rule.address for rule in rules if rule.address.length)
    if not wanted:
        return []
    from ..net.local_table import read_local_prefixes

    local = _outermost(
        Prefix(Family(each.family), each.address, each.length)
        for each in namespace.call(read_local_prefixes)
    )
    return [prefix for prefix in wanted if not _covered(prefix, local)]


def still_needed(routes: Sequence[Prefix], ruleset: Ruleset) -> list[Prefix]:
    """Those of the routes in whose prefix a rule's address lies."""
    if not routes:
        return []
    addresses = sorted({rule.address for rule in ruleset.rules})
    needed = []
    for route in routes:
        # A prefix comes right before those in it.
        at = bisect_left(addresses, route)
        if at < len(addresses) and route.covers(addresses[at]):
            needed.append(route)
    return needed


def add_routes(namespace: Namespace, prefixes: Sequence[Prefix]) -> None:
    """Make prefixes local in a namespace.

    :raises KernelError: the kernel refuses one; none is added then.
    """
    if prefixes:
        from ..net.local_routes import add_local_routes

        add_local_routes(namespace, map(str, prefixes))


def remove_routes(namespace: Namespace, prefixes: Sequence[Prefix]) -> None:
    """Take local routes away again; one that is not there any more is no error."""
    if prefixes:
        from ..net.local_routes import remove_local_routes

        remove_local_routes(namespace, map(str, prefixes))


def _outermost(prefixes: Iterable[Prefix]) -> list[Prefix]:
    found: list[Prefix] = []
    for prefix in sorted(set(prefixes)):
        if not found or not found[-1].covers(prefix):
            found.append(prefix)
    return found


def _covered(prefix: Prefix, outermost: Sequence[Prefix]) -> bool:
    at = bisect_right(outermost, prefix)
    return at > 0 and outermost[at - 1].covers(prefix)
