"""What a dispatcher is and does at one moment."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING

from .counters import Counts
from .interfaces import InterfaceIndex, indexes_now
from .known_sockets import KnownSockets
from .service_sockets import KINDS, Kind, ServiceSockets

if TYPE_CHECKING:
    from ..net.namespaces import Namespace
    from ..net.processes import Process
    from ..net.sock_diag import ListedSocket
    from ..rules import Prefix
    from .pinned_generation import PinnedGeneration


@dataclass(frozen=True, slots=True)
class ServiceSocket:
    """A socket of a service.

    :ivar kind: its protocol and family.
    :ivar cookie: its cookie.
    :ivar socket: what it is; None where this process cannot see the namespace's sockets.
    :ivar processes: who has it open, as far as this process may see.
    """

    kind: Kind
    cookie: int
    socket: ListedSocket | None
    processes: tuple[Process, ...]


@dataclass(frozen=True, slots=True)
class ServiceStatus:
    """A service.

    :ivar name: its name.
    :ivar on_miss: what becomes of its packets when it has no usable socket: ``drop`` or ``pass``;
        None for a service that the ruleset has no more and whose sockets are kept: a ruleset that
        names it again finds them.
    :ivar rules: how many rules name it.
    :ivar lookups: how many look-ups rules decided for it.
    :ivar misses: how many of them found no socket that could take them.
    :ivar errors: how many of the misses were refusals by the kernel.
    :ivar sockets: its sockets, by kind.
    """

    name: str
    on_miss: str | None
    rules: int
    lookups: int
    misses: int
    errors: int
    sockets: tuple[ServiceSocket, ...]


@dataclass(frozen=True, slots=True)
class DispatcherStatus:
    """A dispatcher.

    :ivar path: the directory of its pins.
    :ivar namespace_inode: the inode number of its namespace.
    :ivar generation: the number of the generation in force, counted from 1.
    :ivar program_id: the kernel's number of the program that runs.
    :ivar version: of the package that made the generation.
    :ivar loaded_at: when the dispatcher was loaded: seconds since the epoch.
    :ivar changed_at: when the generation in force was made, likewise.
    :ivar rules: how many rules there are.
    :ivar lookups: how many look-ups they decided, pass and drop rules included.
    :ivar services: by name; those that the ruleset has no more come last.
    :ivar interfaces: those that rules name.
    :ivar routes: the prefixes that are local by routes of ours.
    """

    path: str
    namespace_inode: int
    generation: int
    program_id: int
    version: str
    loaded_at: float
    changed_at: float
    rules: int
    lookups: int
    services: tuple[ServiceStatus, ...]
    interfaces: tuple[InterfaceIndex, ...]
    routes: tuple[Prefix, ...]


def read_status(path: str, current: PinnedGeneration, namespace: Namespace) -> DispatcherStatus:
    """Read what a dispatcher is and does now."""
    state = current.state
    counts = Counts.read(current.maps["counters"], current.maps["bases"])
    return DispatcherStatus(
        path=path,
        namespace_inode=namespace.inode,
        generation=current.number,
        program_id=current.program.id,
        version=state.version,
        loaded_at=state.loaded_at,
        changed_at=state.made_at,
        rules=len(state.ruleset.rules),
        lookups=sum(map(counts.of, state.counters)),
        services=_services(current, counts, namespace),
        interfaces=indexes_now(state.interfaces, namespace),
        routes=state.routes,
    )


def _services(
    current: PinnedGeneration, counts: Counts, namespace: Namespace
) -> tuple[ServiceStatus, ...]:
    state = current.state
    sockets = ServiceSockets(current.maps["services"], current.maps["sockets"])
    named = {service.name: service for service in state.ruleset.services}
    rules = Counter(rule.action for rule in state.ruleset.rules)
    cookies = {
        (name, kind): sockets.cookies(number, kind)
        for name, number in state.numbers.items()
        for kind in KINDS
    }
    known = KnownSockets({cookie for each in cookies.values() for cookie in each}, namespace)
    found = []
    for name, number in state.numbers.items():
        its = tuple(
            ServiceSocket(kind, cookie, known.socket(cookie), tuple(known.processes(cookie)))
            for kind in KINDS
            for cookie in cookies[name, kind]
        )
        on_miss = named[name].on_miss if name in named else None
        counted = counts.of_service(number)
        found.append(ServiceStatus(name, on_miss, rules[name], *counted, its))
    return tuple(sorted(found, key=lambda each: (each.on_miss is None, each.name)))
