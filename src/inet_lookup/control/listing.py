"""What is attached to a namespace: ours and others', with their sockets and processes.

It imports no more than it needs: the command that prints it is to start and end in a moment.
"""

from __future__ import annotations

import errno
import os
import sys
import time
from contextlib import ExitStack
from typing import TYPE_CHECKING, Final, NamedTuple

from ..bpf.links import query
from ..bpf.maps import Map
from ..bpf.programs import Program, ProgramInfo
from ..bpf.uapi import AttachType, MapType
from ..errors import BpffsError, KernelError, PrivilegeError
from .known_sockets import KnownSockets
from .namespace_home import Stale
from .program_image import SOCKET_MAPS
from .program_store import ProgramStore

if TYPE_CHECKING:
    from collections.abc import Collection

    from ..net.namespaces import Namespace
    from ..net.processes import Process
    from ..net.sock_diag import ListedSocket

_COOKIE_SIZE: Final = 8


class ListedSlot(NamedTuple):
    """A slot of a sock array that holds a socket.

    :ivar slot: its index; of a sock hash the key, as an integer or else in hex.
    :ivar cookie: the socket's cookie.
    :ivar socket: the socket; None where the namespace has none (any more) of that cookie.
    :ivar processes: who has it open, as far as this process may see.
    """

    slot: int | str
    cookie: int
    socket: ListedSocket | None
    processes: list[Process]


class ListedMap(NamedTuple):
    """A map of a program.

    :ivar name: its name in the source; the kernel's name, of 15 characters, where it is not pinned.
    :ivar slots: of a map of sockets those that hold one; None where they cannot be read, and for
        other maps.
    """

    name: str
    id: int
    type: MapType
    max_entries: int
    holds_sockets: bool
    slots: list[ListedSlot] | None


class ListedProgram(NamedTuple):
    """A program that is attached.

    :ivar position: its place in the order of running, from 0.
    :ivar id: the kernel's number of it.
    :ivar pin: its pin name; None where something else attached it.
    :ivar info: what the kernel tells about it; None without the privilege to ask.
    :ivar age_seconds: since it was loaded; None without the privilege to ask.
    :ivar maps: those of its maps that could be opened.
    """

    position: int
    id: int
    pin: str | None
    info: ProgramInfo | None
    age_seconds: float | None
    maps: list[ListedMap]


class Listing(NamedTuple):
    """The programs of a namespace.

    :ivar programs: in the order of running.
    :ivar stale: what is pinned and runs no more; the next change removes it.
    :ivar runs_counted: whether the kernel counts runs of programs (``kernel.bpf_stats_enabled``);
        None where it does not say.
    """

    programs: list[ListedProgram]
    stale: list[Stale]
    runs_counted: bool | None


def list_programs(namespace: Namespace, *, bpffs: str | os.PathLike[str] | None = None) -> Listing:
    """List the socket lookup programs of a namespace.

    :param bpffs: where pins are; None for the machine's BPF file system, if there is one.
    :raises PrivilegeError: ``CAP_NET_ADMIN`` is missing. Without ``CAP_SYS_ADMIN``, less is told.
    :raises BpffsError: ``bpffs`` is not in a BPF file system.
    """
    ids = query(namespace.fileno(), AttachType.SK_LOOKUP)
    with ExitStack() as stack:
        store = _store(bpffs, namespace.inode)
        stale = store.stale() if store is not None else []
        ours: dict[int, list[str]] = {}
        if store is not None:
            for name in store.names():
                program_id = _program_of(store, name)
                if program_id is not None:
                    ours.setdefault(program_id, []).append(name)
        now = time.clock_gettime_ns(time.CLOCK_BOOTTIME)
        found = []
        for position, id in enumerate(ids):
            pins = ours.get(id)
            pin = pins.pop(0) if pins else None
            program = _open_program(id, store, pin, stack)
            info = program.info() if program is not None else None
            age = max(now - info.load_time, 0) / 1e9 if info is not None else None
            maps = _open_maps(info, store, pin, stack) if info is not None else {}
            found.append((ListedProgram(position, id, pin, info, age, []), maps))
        table = _SocketTable([each for _, maps in found for each in maps.values()], namespace)
        programs = [
            program._replace(
                maps=[
                    ListedMap(
                        name,
                        each.id,
                        each.type,
                        each.max_entries,
                        each.type in SOCKET_MAPS,
                        table.slots(each.id),
                    )
                    for name, each in maps.items()
                ]
            )
            for program, maps in found
        ]
        return Listing(programs, stale, _runs_counted())


def _store(bpffs: str | os.PathLike[str] | None, namespace: int) -> ProgramStore | None:
    try:
        return ProgramStore.at(bpffs, namespace)
    except BpffsError:
        if bpffs is None:
            return None
        raise


def _program_of(store: ProgramStore, name: str) -> int | None:
    try:
        with store.open_link(name) as link:
            info = link.info()
    except KernelError as error:
        if isinstance(error, PrivilegeError):
            raise
        return None  # it is stale, or just gone
    return info.program_id if info.netns_ino == store.namespace else None


def _open_program(
    id: int, store: ProgramStore | None, pin: str | None, stack: ExitStack
) -> Program | None:
    try:
        return stack.enter_context(Program.from_id(id))
    except PrivilegeError:
        pass  # only CAP_SYS_ADMIN opens what others have not pinned
    except KernelError as error:
        if error.errno == errno.ENOENT:
            return None
        raise
    if store is None or pin is None:
        return None
    try:
        program = stack.enter_context(store.open_program(pin))
    except KernelError:
        return None
    return program if program.id == id else None


def _open_maps(
    info: ProgramInfo, store: ProgramStore | None, pin: str | None, stack: ExitStack
) -> dict[str, Map]:
    """A program's maps by name, those that are pinned under a name first."""
    found: dict[str, Map] = {}
    if store is not None and pin is not None:
        opened = store.open_maps(pin, stack)
        found = {name: each for name, each in opened.items() if each.id in info.map_ids}
    known = {each.id for each in found.values()}
    for id in info.map_ids:
        if id in known:
            continue
        try:
            each = stack.enter_context(Map.from_id(id))
        except KernelError:
            continue
        name = each.name or f"map {id}"
        found[name if name not in found else f"{name} ({id})"] = each
    return found


class _SocketTable:
    """From the cookies in sock arrays to sockets and processes, each looked up once.

    :param maps: the maps that will be asked for.
    """

    def __init__(self, maps: Collection[Map], namespace: Namespace) -> None:
        self._cookies = {each.id: _cookies(each) for each in maps if each.type in SOCKET_MAPS}
        wanted = {cookie for found in self._cookies.values() for _, cookie in found or ()}
        self._known = KnownSockets(wanted, namespace)

    def slots(self, map_id: int) -> list[ListedSlot] | None:
        found = self._cookies.get(map_id)
        return None if found is None else [self._slot(key, cookie) for key, cookie in found]

    def _slot(self, key: int | str, cookie: int) -> ListedSlot:
        return ListedSlot(key, cookie, self._known.socket(cookie), self._known.processes(cookie))


def _cookies(sockets: Map) -> list[tuple[int | str, int]] | None:
    """Keys and cookies of a map of sockets; None where it cannot be read."""
    if sockets.value_size != _COOKIE_SIZE:
        return None
    return sorted(
        (_key(key, sockets), int.from_bytes(cookie, sys.byteorder))
        for key, cookie in sockets.lookup_batch()
    )


def _key(key: bytes, sockets: Map) -> int | str:
    return int.from_bytes(key, sys.byteorder) if sockets.key_size in (1, 2, 4, 8) else key.hex()


def _runs_counted() -> bool | None:
    try:
        with open("/proc/sys/kernel/bpf_stats_enabled", encoding="ascii") as setting:
            return setting.read().strip() != "0"
    except OSError:
        return None
