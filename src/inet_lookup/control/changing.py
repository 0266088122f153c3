"""Changing the ruleset of a namespace: from one generation to the next, or to the first.

All of this is done under the lock of the namespace's directory. The change itself is one
``BPF_LINK_UPDATE``; what goes before prepares it where nobody looks, what comes after tidies up,
and :func:`settle` tidies up for a writer that did not come so far.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import ExitStack
from typing import TYPE_CHECKING, Final

from .._version import __version__
from ..bpf.grace_period import wait_for_running_programs
from ..bpf.links import NetnsLink
from ..bpf.uapi import AttachType
from ..dispatch import generation, tables
from ..dispatch.layout import SERVICE_COUNTERS
from ..errors import InetLookupError, KernelError, UnreadableStateError
from . import allocation, counters, state_map
from .anyip import add_routes, remove_routes
from .inert import load_inert
from .pin_directories import GONE
from .pinned_generation import BASES, STATE, PinnedGeneration
from .service_sockets import ServiceSockets
from .state import State, decode_routes, encode

if TYPE_CHECKING:
    from ..bpf.maps import Map
    from ..net.namespaces import Namespace
    from ..rules import Prefix, Ruleset
    from .dispatcher_pins import DispatcherPins

Progress = Callable[[str, int, int], None]
"""Told how far long work is: what is being done, how much of it, of how much (0: not known)."""

_FIRST: Final = 1


def settle(pins: DispatcherPins, namespace: Namespace) -> int | None:
    """Remove what an interrupted writer left; return the number of the generation in force.

    :return: None where no dispatcher is loaded; then nothing of one is left.
    :raises NewerLayoutError: a newer version of the package made what is there.
    """
    pins.require_known_layout()
    pins.remove_unfinished()
    try:
        with pins.open_link() as link:
            current = pins.number_of(link.info().program_id)
    except KernelError as error:
        if error.errno in GONE:
            return None
        raise
    left = [number for number in pins.numbers() if number != current]
    kept = set(_routes_of(pins, current)) if left and current is not None else set()
    for number in left:
        # Routes are added after a generation has its name, and removed before it loses it.
        routes = _routes_of(pins, number)
        remove_routes(namespace, [prefix for prefix in routes if prefix not in kept])
        if current is not None:
            pins.remove_generation(number)
    if current is None:
        pins.remove()
    return current


def _routes_of(pins: DispatcherPins, number: int) -> tuple[Prefix, ...]:
    try:
        with pins.open_map(number, STATE, read_only=True) as held:
            return decode_routes(state_map.read(held))
    except KernelError as error:
        if error.errno in GONE:  # its removal was interrupted
            return ()
        raise
    except UnreadableStateError:
        return ()


def change(
    pins: DispatcherPins,
    namespace: Namespace,
    current: PinnedGeneration | None,
    ruleset: Ruleset,
    *,
    interfaces: Mapping[str, int],
    routes: tuple[Prefix, ...],
    group: int = -1,
    progress: Progress | None = None,
) -> PinnedGeneration:
    """Put a ruleset into force.

    :param current: the generation in force; None to load the dispatcher.
    :param interfaces: the index of each interface that rules name, 0 for one that does not exist.
    :param routes: the prefixes that shall be local for these rules, by routes of ours.
    :param group: of the pins of a dispatcher that is loaded; -1 for that of the process.
    :return: the new generation, the caller's to close.
    :raises CapacityError: there are too many services, or rules overlap too much.
    :raises KernelError: the kernel refuses a map, the program or a route. All is as before then.
    """
    tell = progress or (lambda what, done, total: None)
    tell(f"compiling {len(ruleset.rules):,} rules", 0, 0)
    compiled = tables.build(ruleset)
    with ExitStack() as stack:
        tell("making the maps", 0, 0)
        shared = _shared_maps(current, len(ruleset.rules), stack)
        given = _allocate(current, ruleset, shared, stack)
        words = tables.action_words(
            ruleset, given.numbers, dict(zip(ruleset.rules, given.counters, strict=True))
        )
        made = stack.enter_context(
            generation.load(
                compiled,
                words,
                {name: each for name, each in shared.items() if name != BASES},
                {name: index for name, index in interfaces.items() if index},
            )
        )
        now = time.time()
        state = State(
            version=__version__,
            loaded_at=now if current is None else current.state.loaded_at,
            made_at=now,
            ruleset=ruleset,
            numbers=given.numbers,
            counters=given.counters,
            interfaces=dict(interfaces),
            routes=routes,
            namespace_cookie=namespace.cookie
            if current is None
            else current.state.namespace_cookie,
        )
        maps = {
            **made.maps,
            **shared,
            STATE: stack.enter_context(state_map.write(encode(state), STATE)),
        }
        number = _FIRST if current is None else current.number + 1
        new = PinnedGeneration(number, made.program, maps, state, stack.pop_all())
    with _closed_on_failure(new):
        tell("putting them into force", 0, 0)
        _commit(pins, namespace, current, new, group)
        if given.carried and current is not None:
            # What was counted since it was carried over for the first time.
            wait_for_running_programs()
            counters.carry_over(given.carried, _pair(current.maps), _pair(new.maps))
        tell("tidying up", 0, 0)
        if current is not None:
            gone = set(current.state.routes).difference(routes)
            remove_routes(namespace, sorted(gone))
            pins.remove_generation(current.number)
    return new


def end(pins: DispatcherPins, namespace: Namespace) -> None:
    """Take the dispatcher out of a namespace, with all that belongs to it."""
    with pins.open_link() as link, load_inert() as inert:
        link.update(inert)
    settle(pins, namespace)


class _Given:
    """What a ruleset was given."""

    def __init__(self, numbers: Mapping[str, int], indexes: list[int], carried: list[int]) -> None:
        self.numbers = numbers
        self.counters = indexes
        self.carried = carried


def _shared_maps(current: PinnedGeneration | None, rules: int, stack: ExitStack) -> dict[str, Map]:
    """The maps that go from generation to generation."""
    if current is not None:
        # The new generation closes them, and the old one its own.
        return {
            name: stack.enter_context(current.maps[name].dup())
            for name in (*generation.SHARED_MAPS, BASES)
        }
    made: dict[str, Map] = {}
    for name, each in generation.make_shared(counters.room_for(rules)).items():
        made[name] = stack.enter_context(each)
    made[BASES] = stack.enter_context(counters.make_bases(made["counters"]))
    return made


def _allocate(
    current: PinnedGeneration | None,
    ruleset: Ruleset,
    shared: dict[str, Map],
    stack: ExitStack,
) -> _Given:
    """Give numbers and counters; a map of counters that is too small is replaced in ``shared``."""
    before = current.state if current is not None else None
    sockets = ServiceSockets(shared["services"], shared["sockets"])
    numbers = allocation.number_services(
        before.numbers if before is not None else {}, ruleset, sockets.any_left
    )
    given = allocation.count_rules(
        zip(before.ruleset.rules, before.counters, strict=True) if before is not None else (),
        ruleset,
        counters.room_in(shared["counters"]),
        counters.room_for,
    )
    kept_services = [number for number in numbers.all.values() if number not in numbers.new]
    carried: list[int] = []
    if given.room is not None and current is not None:
        shared["counters"] = stack.enter_context(generation.make_counters(given.room))
        shared[BASES] = stack.enter_context(counters.make_bases(shared["counters"]))
        carried = [*_service_counters(kept_services), *given.kept]
        counters.carry_over(carried, _pair(current.maps), _pair(shared))
    elif current is not None:
        counters.begin([*_service_counters(numbers.new), *given.new], *_pair(shared))
        for number in numbers.new:
            sockets.clear(number)
    return _Given(numbers.all, list(given.indexes), carried)


def _service_counters(numbers: Iterable[int]) -> Iterator[int]:
    for number in numbers:
        yield from range(number * SERVICE_COUNTERS, (number + 1) * SERVICE_COUNTERS)


def _pair(maps: Mapping[str, Map]) -> tuple[Map, Map]:
    return maps["counters"], maps[BASES]


def _commit(
    pins: DispatcherPins,
    namespace: Namespace,
    current: PinnedGeneration | None,
    new: PinnedGeneration,
    group: int,
) -> None:
    try:
        if current is None:
            with load_inert() as inert:
                link = NetnsLink.create(inert, namespace.fileno(), AttachType.SK_LOOKUP)
                with link:
                    pins.create(__version__, link, new.number, new.objects, group)
                    add_routes(namespace, new.state.routes)
                    link.update(new.program, expected=inert)
            return
        pins.add(new.number, new.objects)
        had = set(current.state.routes)
        add_routes(namespace, [prefix for prefix in new.state.routes if prefix not in had])
        with pins.open_link() as link:
            link.update(new.program, expected=current.program)
    except BaseException:
        # What has failed is the error to tell, whatever becomes of this.
        with contextlib.suppress(InetLookupError):
            settle(pins, namespace)
        raise


@contextlib.contextmanager
def _closed_on_failure(new: PinnedGeneration) -> Iterator[None]:
    try:
        yield
    except BaseException:
        new.close()
        raise
