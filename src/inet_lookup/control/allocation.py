"""What a ruleset is given in the kernel: numbers for its services, counters for its rules.

Who had one keeps it. New ones come from those that nothing in force uses, so that nothing has to
be stopped while they are prepared.
"""

from __future__ import annotations

import errno
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

from ..dispatch.layout import FIRST_RULE_COUNTER, MAX_SERVICES
from ..errors import CapacityError
from ..rules import Rule, Ruleset


@dataclass(frozen=True, slots=True)
class Numbers:
    """The numbers of services.

    :ivar all: of the ruleset's services, and of those it has no more that still hold sockets.
    :ivar new: the numbers in it that were not given to anyone before.
    """

    all: Mapping[str, int]
    new: Sequence[int]


@dataclass(frozen=True, slots=True)
class RuleCounters:
    """The counters of rules.

    :ivar indexes: one a rule, in the order of precedence.
    :ivar kept: those of them that counted for the same rule before.
    :ivar new: the others.
    :ivar room: None where the map of counters has room for them; else they are for a new map, with
        room for so many.
    """

    indexes: Sequence[int]
    kept: Sequence[int]
    new: Sequence[int]
    room: int | None


def number_services(
    before: Mapping[str, int], ruleset: Ruleset, holds_sockets: Callable[[int], bool]
) -> Numbers:
    """Give numbers to a ruleset's services.

    A service that a ruleset has no more keeps its number as long as it holds sockets: a later
    ruleset that names it again finds them there.

    :param before: the numbers so far.
    :param holds_sockets: whether any socket is left in the slots of a number.
    :raises CapacityError: there are more services than numbers.
    """
    names = [service.name for service in ruleset.services]
    wanted = set(names)
    numbers = {
        name: number for name, number in before.items() if name in wanted or holds_sockets(number)
    }
    taken = set(before.values())
    free = (number for number in range(MAX_SERVICES) if number not in taken)
    new = []
    for name in names:
        if name not in numbers:
            number = next(free, None)
            if number is None:
                raise CapacityError(
                    f"give a number to the service {name!r}",
                    errno.E2BIG,
                    f"a namespace has {MAX_SERVICES} of them, and all are taken",
                    hint="services that no rule names count as long as they hold sockets:"
                    " 'inet-lookup unregister' lets go of these",
                )
            numbers[name] = number
            new.append(number)
    return Numbers(numbers, new)


def count_rules(
    before: Iterable[tuple[Rule, int]], ruleset: Ruleset, room: int, room_for: Callable[[int], int]
) -> RuleCounters:
    """Give counters to a ruleset's rules.

    :param before: the rules in force with the indexes of their counters.
    :param room: how many rules the map of counters has room for.
    :param room_for: how many a new map for some rules would have room for.
    """
    known = dict(before)
    indexes = [known.get(rule) for rule in ruleset.rules]
    kept = [index for index in indexes if index is not None]
    missing = len(indexes) - len(kept)
    if len(known) + missing <= room:
        new_room = None
        taken = set(known.values())
    else:
        # In a new map only those that are kept are taken.
        room = new_room = max(room, room_for(len(indexes)))
        taken = set(kept)
    every = range(FIRST_RULE_COUNTER, FIRST_RULE_COUNTER + room)
    free = (index for index in every if index not in taken)
    given = [next(free) if index is None else index for index in indexes]
    new = [index for index, had in zip(given, indexes, strict=True) if had is None]
    return RuleCounters(given, kept, new, new_room)
