"""Which socket goes into which slot of a program's sock arrays."""

from __future__ import annotations

import difflib
import errno
import re
import sys
from collections.abc import Iterable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from ..bpf.uapi import MapType
from ..errors import CapacityError, InetLookupError, SocketError
from ..net.selectors import SocketSelector
from ..net.sockets import HasFileno, SocketInfo, describe, require_fit
from .program_image import SOCKET_MAPS

if TYPE_CHECKING:
    from ..bpf.map_definitions import MapSpec
    from ..bpf.maps import Map
    from ..net.namespaces import Namespace
    from ..net.processes import TakenSocket

_FORM: Final = (
    "write ARRAY[INDEX]=PID/PROTOCOL/ADDRESS:PORT, such as servers[0]=1234/tcp/0.0.0.0:8080,"
    " or ARRAY=… for the next empty slots"
)
_TARGET: Final = re.compile(r"(?P<map>\w+)(?:\[(?P<index>[^\]]*)\])?", re.ASCII)
_MAX_INDEX: Final = 2**64 - 1
_BYTE_ORDER: Final = sys.byteorder


@dataclass(frozen=True, slots=True)
class SocketPlacement:
    """A socket for a slot of a sock array.

    :ivar map: the name of the sock array (or sock hash).
    :ivar index: the slot, or a sock hash's key as an integer; None for the next empty slot.
    :ivar socket: a socket or its descriptor's owner; it stays the caller's to close.
    """

    map: str
    index: int | None
    socket: HasFileno


@dataclass(frozen=True, slots=True)
class Placed:
    """A socket that was put into a slot.

    :ivar map: the name of the sock array.
    :ivar index: the slot.
    :ivar info: what the socket is.
    """

    map: str
    index: int
    info: SocketInfo


@dataclass(frozen=True, slots=True)
class SocketRequest:
    """A placement in words: ``servers[0]=1234/tcp/0.0.0.0:8080``.

    :ivar map: the name of the sock array.
    :ivar index: the slot; None for the next empty ones.
    :ivar selector: the sockets of a process.
    """

    map: str
    index: int | None
    selector: SocketSelector

    @classmethod
    def parse(cls, text: str) -> SocketRequest:
        """Read ``ARRAY[INDEX]=PID/PROTOCOL/ADDRESS:PORT`` or ``ARRAY=PID/…``.

        :raises SocketError: it is malformed; the message says which part.
        """
        target, equals, selector = text.partition("=")
        found = _TARGET.fullmatch(target.strip())
        if not equals or found is None:
            raise SocketError(f"'{text}' does not say which socket goes where", hint=_FORM)
        index = found["index"]
        if index is not None and not (index.isascii() and index.isdigit()):
            raise SocketError(f"'{index}' in '{text}' is not an index", hint=_FORM)
        if index is not None and int(index) > _MAX_INDEX:
            raise SocketError(f"index {index} in '{text}' has more than 64 bits")
        return cls(
            found["map"],
            None if index is None else int(index),
            SocketSelector.parse(selector.strip()),
        )


def take_sockets(
    requests: Iterable[SocketRequest], namespace: Namespace, stack: ExitStack
) -> list[tuple[SocketPlacement, TakenSocket]]:
    """Take the sockets that are asked for out of their processes.

    With an index one socket is taken: the first member of a reuseport group. Without, all that
    match are, so that a group stays reachable when its first member closes.

    :param namespace: the network namespace that the sockets must be in.
    :param stack: closes the copies of the descriptors.
    :raises SocketError: a process or socket does not exist, is not fit, or is in another namespace.
    :raises PrivilegeError: sockets of a process may not be taken.
    """
    from ..net.processes import take_all, take_one

    placements = []
    for request in requests:
        if request.index is None:
            taken = take_all(request.selector, namespace=namespace)
        else:
            taken = [take_one(request.selector, namespace=namespace)]
        for each in taken:
            stack.enter_context(each)
        placements += [(SocketPlacement(request.map, request.index, each), each) for each in taken]
    return placements


def check_targets(
    targets: Iterable[tuple[str, int | None]], maps: Mapping[str, MapSpec], program: str
) -> None:
    """Refuse slots that a program does not have, before anything is made or changed.

    :param targets: names of sock arrays with an index, or None for the next empty slot.
    :param maps: the maps that the program uses.
    :raises InetLookupError: there is no such map, or it does not hold sockets.
    :raises CapacityError: the index is out of range, or there are more sockets than slots.
    """
    seen: set[tuple[str, int]] = set()
    counts: dict[str, int] = {}
    for name, index in targets:
        spec = maps.get(name)
        if spec is None or spec.type not in SOCKET_MAPS:
            raise _no_sock_array(name, spec, maps, program)
        if index is None:
            if spec.type == MapType.SOCKHASH:
                raise InetLookupError(
                    f"'{name}' is a sock hash, whose keys have no order",
                    hint=f"name the key: {name}[KEY]=…",
                )
        else:
            _check_index(name, index, spec)
            if (name, index) in seen:
                raise InetLookupError(f"{name}[{index}] is given two sockets")
            seen.add((name, index))
        counts[name] = counts.get(name, 0) + 1
        if counts[name] > spec.max_entries:
            raise CapacityError(
                f"put {counts[name]} sockets into '{name}'",
                errno.E2BIG,
                f"it has room for {spec.max_entries}",
                hint="declare it with a larger max_entries",
            )


def check_fit(placements: Iterable[SocketPlacement]) -> list[SocketInfo]:
    """Describe the sockets.

    :raises SocketError: one is closed, or traffic cannot be steered to it.
    """
    infos = []
    for each in placements:
        info = describe(each.socket)
        require_fit(info)
        infos.append(info)
    return infos


class SlotJournal:
    """Puts sockets into slots, and empties again those that it filled when that has to be undone.

    A slot that held another socket before cannot be given it back: of that one user space knows
    the cookie only. So what can fail is to be tried before.
    """

    def __init__(self) -> None:
        self._filled: list[tuple[Map, bytes]] = []

    def put(self, maps: Mapping[str, Map], placements: Sequence[SocketPlacement]) -> list[Placed]:
        """Fill the slots; those without an index come last, into what is still empty.

        :raises CapacityError: no slot is empty, or a sock hash is full.
        :raises SocketRefusedError: the kernel does not take a socket.
        """
        done: dict[int, Placed] = {}
        numbered = list(enumerate(placements))
        for position, each in sorted(numbered, key=lambda item: item[1].index is None):
            sockets = maps[each.map]
            info = describe(each.socket)
            index = _empty_slot(each.map, sockets) if each.index is None else each.index
            key = index.to_bytes(sockets.key_size, _BYTE_ORDER)
            was_empty = sockets.lookup(key) is None
            sockets.update(key, each.socket.fileno())
            if was_empty:
                self._filled.append((sockets, key))
            done[position] = Placed(each.map, index, info)
        return [done[position] for position, _ in numbered]

    def undo(self) -> None:
        """Empty what was empty before."""
        for sockets, key in reversed(self._filled):
            sockets.delete(key)
        self._filled.clear()


def try_placements(placements: Sequence[SocketPlacement]) -> None:
    """Let the kernel say whether it takes the sockets, in a map that is thrown away.

    :raises SocketRefusedError: it does not.
    """
    from ..bpf.maps import Map

    if not placements:
        return
    with Map.create(
        MapType.SOCKMAP, key_size=4, value_size=8, max_entries=1, name="trial"
    ) as trial:
        for each in placements:
            trial.update(0, each.socket.fileno())


def _check_index(name: str, index: int, spec: MapSpec) -> None:
    if spec.type == MapType.SOCKMAP:
        if not 0 <= index < spec.max_entries:
            raise CapacityError(
                f"put a socket into {name}[{index}]",
                errno.E2BIG,
                f"the index is out of range: '{name}' has {spec.max_entries} slots",
                hint=f"use an index from 0 to {spec.max_entries - 1}",
            )
    elif spec.key_size not in (1, 2, 4, 8):
        raise InetLookupError(
            f"the keys of '{name}' have {spec.key_size} bytes, and an integer has no such size",
            hint="fill it from a program",
        )
    elif not 0 <= index < 1 << 8 * spec.key_size:
        raise InetLookupError(
            f"{index} does not fit into the {spec.key_size} bytes of a key of '{name}'"
        )


def _no_sock_array(
    name: str, spec: MapSpec | None, maps: Mapping[str, MapSpec], program: str
) -> InetLookupError:
    arrays = [each for each, of in maps.items() if of.type in SOCKET_MAPS]
    if spec is not None:
        message = f"'{name}' of program '{program}' is a map of the type {spec.type.label}"
    else:
        message = f"program '{program}' uses no sock array '{name}'"
    close = difflib.get_close_matches(name, arrays, n=1)
    if close:
        hint = f"did you mean '{close[0]}'?"
    elif arrays:
        hint = f"it uses {', '.join(arrays)}"
    else:
        hint = "it uses no sock array at all"
    return InetLookupError(message, hint=hint)


def _empty_slot(name: str, sockets: Map) -> int:
    for index in range(sockets.max_entries):
        if sockets.lookup(index) is None:
            return index
    raise CapacityError(
        f"put a socket into '{name}'",
        errno.E2BIG,
        f"all of its {sockets.max_entries} slots hold a socket",
        hint="name the slot to replace, or declare it with a larger max_entries",
    )
