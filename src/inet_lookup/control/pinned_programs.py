"""Programs that stay attached to a namespace without a process: attach, replace, detach."""

from __future__ import annotations

import difflib
import os
from collections.abc import Sequence
from contextlib import ExitStack
from typing import TYPE_CHECKING, NamedTuple

from ..bpf.links import NetnsLink
from ..bpf.programs import ProgramInfo
from ..bpf.uapi import AttachType
from ..errors import InetLookupError
from ..rfc.exclusive import attach_exclusively, require_unoccupied
from .namespace_home import Stale
from .program_image import SOCKET_MAPS, LoadedImage, ProgramImage, same_shape
from .program_store import ProgramStore, require_name
from .socket_placement import (
    Placed,
    SlotJournal,
    SocketPlacement,
    check_fit,
    check_targets,
    try_placements,
)

if TYPE_CHECKING:
    from collections.abc import Callable

    from ..bpf.maps import Map
    from ..bpf.programs import Program
    from ..net.namespaces import Namespace
    from ..programs.function import ProgramFunction


class NameTakenError(InetLookupError):
    """Another program is pinned under the name."""


class SocketsLostError(InetLookupError):
    """A sock array would be replaced by one of another shape, without the sockets in it."""


class Attached(NamedTuple):
    """What attaching or replacing a program did.

    :ivar name: its pin name.
    :ivar path: the directory of its pins.
    :ivar program: the program as the kernel has it.
    :ivar replaced: the id of the program that ran under this name before, or None.
    :ivar sockets: what was put into its sock arrays.
    :ivar kept: the names of the maps that it goes on with.
    :ivar removed: what was found pinned and dead, and is removed.
    """

    name: str
    path: str
    program: ProgramInfo
    replaced: int | None
    sockets: Sequence[Placed]
    kept: Sequence[str]
    removed: Sequence[Stale]


class Detached(NamedTuple):
    """What detaching a program did.

    :ivar name: its pin name.
    :ivar program_id: the id of the program that ran; None where it did not run any more.
    :ivar removed: what else was found pinned and dead, and is removed.
    """

    name: str
    program_id: int | None
    removed: Sequence[Stale]


class PinnedPrograms:
    """The programs of a namespace that are pinned under names.

    ::

        with Namespace.open("edge") as edge:
            pinned = PinnedPrograms(edge)
            pinned.attach(two_http_servers, sockets=[SocketPlacement("servers", 0, listener)])

    :param namespace: the network namespace; it stays the caller's to close.
    :param bpffs: a directory in a BPF file system; None for the machine's.
    :raises BpffsError: there is no such BPF file system.
    """

    def __init__(self, namespace: Namespace, *, bpffs: str | os.PathLike[str] | None = None):
        self._namespace = namespace
        self._store = ProgramStore.at(bpffs, namespace.inode)

    def names(self) -> list[str]:
        """The names in use, sorted."""
        return self._store.names()

    def attach(
        self,
        program: ProgramImage | ProgramFunction,
        *,
        name: str | None = None,
        sockets: Sequence[SocketPlacement] = (),
        replace: bool = False,
        exclusive: bool = False,
    ) -> Attached:
        """Attach a program behind those already there, and pin it.

        Its sock arrays are filled before it sees the first packet. When anything fails, nothing
        stays.

        :param name: the pin name; the program's own by default.
        :param sockets: what to put into its sock arrays.
        :param replace: where the name is in use, put the program in place of the one that runs, in
            one step. Maps of the same name and shape (type, sizes, number of entries, flags) go on
            with what they hold; sockets for slots of such a map are put there just before.
        :param exclusive: attach it only if the namespace has no program, as the RFC has it; not
            together with ``replace``.
        :raises KernelError: ``EEXIST`` where it is to be the only program, and is not.
        :raises NameTakenError: the name is in use, and ``replace`` is not set.
        :raises SocketsLostError: a sock array that is replaced would lose its sockets.
        :raises InetLookupError: the name cannot be one, or a slot is not the program's.
        :raises SocketError: a socket is closed, or traffic cannot be steered to it.
        :raises VerifierError: the kernel's verifier rejects the program.
        :raises PrivilegeError: ``CAP_BPF`` and ``CAP_NET_ADMIN`` are missing.
        :raises CapacityError: the namespace has 64 programs already, or a sock array is full.
        """
        image = program if isinstance(program, ProgramImage) else ProgramImage.of_function(program)
        name = image.name if name is None else name
        require_name(name)
        check_targets(((each.map, each.index) for each in sockets), image.maps, image.name)
        check_fit(sockets)
        with ExitStack() as stack:
            # Outside of the lock, since the verifier may take its time.
            loaded = stack.enter_context(image.load())
            removed = stack.enter_context(self._store.writing())
            if exclusive:
                require_unoccupied(loaded.program, self._namespace.fileno(), AttachType.SK_LOOKUP)
            if name not in self._store.names():
                attach = attach_exclusively if exclusive else NetnsLink.create
                return self._attach_new(name, loaded, sockets, removed, attach)
            if not replace:
                raise NameTakenError(
                    f"a program is attached as '{name}' already",
                    hint="replace it, or take another name",
                )
            return self._replace(name, image, loaded, sockets, removed, stack)

    def _attach_new(
        self,
        name: str,
        loaded: LoadedImage,
        sockets: Sequence[SocketPlacement],
        removed: Sequence[Stale],
        attach: Callable[[Program, int, AttachType], NetnsLink],
    ) -> Attached:
        placed = SlotJournal().put(loaded.maps, sockets)
        with self._store.staging(name, loaded.program, loaded.maps) as staged:
            netns = self._namespace.fileno()
            with attach(loaded.program, netns, AttachType.SK_LOOKUP) as link:
                staged.commit_new(link)
        return self._attached(name, loaded, None, placed, (), removed)

    def _replace(
        self,
        name: str,
        image: ProgramImage,
        loaded: LoadedImage,
        sockets: Sequence[SocketPlacement],
        removed: Sequence[Stale],
        stack: ExitStack,
    ) -> Attached:
        old_maps = self._store.open_maps(name, stack)
        kept = {
            each: old_maps[each]
            for each, spec in image.maps.items()
            if each in old_maps and same_shape(spec, old_maps[each])
        }
        _require_no_socket_lost(image, old_maps, kept, sockets)
        if kept:
            loaded.close()
            loaded = stack.enter_context(image.load(kept))
        link = stack.enter_context(self._store.open_link(name))
        old = stack.enter_context(self._store.open_program(name))
        with self._store.staging(name, loaded.program, loaded.maps) as staged:
            try_placements(sockets)
            journal = SlotJournal()
            try:
                placed = journal.put(loaded.maps, sockets)
                link.update(loaded.program, expected=old)
            except BaseException:
                journal.undo()
                raise
            staged.move_over()
        return self._attached(name, loaded, old.id, placed, tuple(kept), removed)

    def detach(self, name: str) -> Detached:
        """Detach a program, whoever else holds its link, and remove its pins.

        :raises InetLookupError: no program is attached by that name.
        :raises PrivilegeError: the pins may not be opened or removed.
        """
        known = self._store.names()
        if name not in known:
            raise _no_such(name, known, self._namespace.label)
        with self._store.writing() as removed:
            if name not in self._store.names():
                # It was there as a shell, or somebody was faster: either way it is gone.
                for each in removed:
                    if (each.namespace, each.name) == (self._store.namespace, name):
                        others = [other for other in removed if other is not each]
                        return Detached(name, None, others)
                raise _no_such(name, self._store.names(), self._namespace.label)
            with self._store.open_link(name) as link:
                program_id = link.info().program_id
                link.detach()
                self._store.remove(name)
        return Detached(name, program_id, removed)

    def _attached(
        self,
        name: str,
        loaded: LoadedImage,
        replaced: int | None,
        placed: Sequence[Placed],
        kept: Sequence[str],
        removed: Sequence[Stale],
    ) -> Attached:
        path = self._store.path(name)
        return Attached(name, path, loaded.program.info(), replaced, placed, kept, removed)


def _require_no_socket_lost(
    image: ProgramImage,
    old_maps: dict[str, Map],
    kept: dict[str, Map],
    sockets: Sequence[SocketPlacement],
) -> None:
    """Refuse a sock array of another shape that would be empty where its predecessor was not."""
    given = {each.map for each in sockets}
    for name, spec in image.maps.items():
        old = old_maps.get(name)
        if old is None or name in kept or name in given or old.type not in SOCKET_MAPS:
            continue
        count = sum(1 for _ in old.items())
        if count:
            raise SocketsLostError(
                f"'{name}' has another shape than before ({spec.type.label} of {spec.max_entries}"
                f" entries, not {old.type.label} of {old.max_entries}), and the sockets in it"
                f" ({count}) cannot be carried over",
                hint="name sockets for it anew",
            )


def _no_such(name: str, known: Sequence[str], label: str) -> InetLookupError:
    close = difflib.get_close_matches(name, known, n=1)
    if close:
        hint = f"did you mean '{close[0]}'?"
    elif known:
        hint = f"attached are {', '.join(known)}"
    else:
        hint = "no program is pinned there"
    return InetLookupError(f"no program is attached as '{name}' to {label}", hint=hint)
