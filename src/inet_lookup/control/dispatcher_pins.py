"""How a namespace's dispatcher is pinned, and how a half-made change is told from a whole one.

::

    4026532281/             the namespace's directory, see namespace_home
        dispatcher/
            layout          which layout the maps below have, and which version of us made them
            link            keeps the dispatcher's program attached
            generations/
                7/          a compiled ruleset: its program and all maps that this uses
                    program
                    state   the ruleset itself, and what belongs to it; see state
                    counters, sockets, services, …
                +8/         the next one in the making
        +dispatcher/        the whole in the making

The generation in force is the one whose program the link runs: a change is made in the moment in
which the kernel puts another program into the link (``BPF_LINK_UPDATE``), and in no other. All that
the new generation needs has its name by then; what the old one needs keeps its name until then. So
a writer that is interrupted leaves the old ruleset or the new one, and beside it leftovers that the
next writer removes.

A dispatcher comes into being in the same way: its link first runs a program that passes every
packet, and while it does so there is no generation in force, and for readers no dispatcher. It ends
with this program, too.

Maps that all generations share, such as that of the sockets, are pinned in each generation's
directory again, which makes each complete by itself. Readers take no lock.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Mapping
from typing import TYPE_CHECKING, Final, NamedTuple

from ..bpf.links import NetnsLink
from ..bpf.maps import Map
from ..bpf.programs import Program
from ..bpf.uapi import MapType
from ..errors import KernelError, NewerLayoutError
from .namespace_home import NamespaceHome, Stale
from .pin_directories import GONE, entries, make_directory, pin, remove_tree, reported

if TYPE_CHECKING:
    from ..bpf.kernel_object import KernelObject

LAYOUT: Final = 1
"""Which layout of pins, maps and state this version of the package makes and reads."""

PROGRAM: Final = "program"

_NAME: Final = "dispatcher"
_LAYOUT: Final = "layout"
_LINK: Final = "link"
_GENERATIONS: Final = "generations"
_UNFINISHED: Final = "+"
_LAYOUT_SIZE: Final = 64
_NUMBER_SIZE: Final = 4


class Layout(NamedTuple):
    """What the maps of a dispatcher look like.

    :ivar number: of the layout; a larger one is newer.
    :ivar version: of the package that made it.
    """

    number: int
    version: str


class DispatcherPins:
    """The pins of the dispatcher of one namespace.

    :param home: the directory of the namespace's state; it need not exist.
    """

    def __init__(self, home: NamespaceHome) -> None:
        self.home = home
        self.path = os.path.join(home.path, _NAME)
        self._unfinished = os.path.join(home.path, _UNFINISHED + _NAME)

    # Reading

    def open_link(self) -> NetnsLink:
        """Open the link.

        :raises KernelError: ``ENOENT`` where it is not there.
        :raises PrivilegeError: only the owner of the pins may.
        """
        return NetnsLink.open_pinned(os.path.join(self.path, _LINK))

    def require_known_layout(self) -> None:
        """Refuse what a newer version of the package made; where there is nothing, do nothing.

        :raises NewerLayoutError: this version of the package cannot read it.
        """
        try:
            with Map.open_pinned(os.path.join(self.path, _LAYOUT), read_only=True) as layout:
                found = _read_layout(layout)
        except KernelError as error:
            if error.errno in GONE:
                return
            raise
        if found.number > LAYOUT:
            raise NewerLayoutError(
                f"the dispatcher at {self.path} was made by inet-lookup {found.version}, in a"
                f" layout that this version does not know ({found.number}; it knows {LAYOUT})",
                hint=f"use inet-lookup {found.version} or newer, whose 'unload' also removes it",
            )

    def numbers(self) -> list[int]:
        """The numbers of the generations that are whole, ascending."""
        names = entries(os.path.join(self.path, _GENERATIONS))
        return sorted(int(name) for name in names if name.isdecimal())

    def generation(self, number: int) -> str:
        """The directory of a generation."""
        return os.path.join(self.path, _GENERATIONS, str(number))

    def open_program(self, number: int) -> Program:
        """Open a generation's program.

        :raises KernelError: ``ENOENT`` where it is not there (any more).
        """
        return Program.open_pinned(os.path.join(self.generation(number), PROGRAM), read_only=True)

    def open_map(self, number: int, name: str, *, read_only: bool) -> Map:
        """Open a generation's map; see :meth:`open_program`."""
        return Map.open_pinned(os.path.join(self.generation(number), name), read_only=read_only)

    def number_of(self, program_id: int) -> int | None:
        """The number of the generation with a program, None for none."""
        for number in reversed(self.numbers()):
            try:
                with self.open_program(number) as program:
                    if program.id == program_id:
                        return number
            except KernelError as error:
                if error.errno not in GONE:
                    raise
        return None

    # Writing: the caller holds the lock.

    def create(
        self,
        version: str,
        link: NetnsLink,
        number: int,
        objects: Mapping[str, KernelObject],
        group: int,
    ) -> None:
        """Pin a dispatcher with its first generation, which is not in force yet.

        :param version: of this package.
        :param link: runs a program that passes every packet.
        :param objects: what to pin for the generation, by name.
        :param group: whose members may read; -1 for the group of the process.
        """
        with reported(f"pin {self.path}"):
            remove_tree(self._unfinished, first=_LINK)
            make_directory(self._unfinished, group)
            with _make_layout(version) as layout:
                pin(layout.pin, os.path.join(self._unfinished, _LAYOUT), group)
            generations = os.path.join(self._unfinished, _GENERATIONS)
            make_directory(generations, group)
            _pin_all(os.path.join(generations, str(number)), objects, group)
            pin(link.pin, os.path.join(self._unfinished, _LINK), group)
            os.rename(self._unfinished, self.path)

    def add(self, number: int, objects: Mapping[str, KernelObject]) -> None:
        """Pin a generation, which is not in force yet."""
        with reported(f"pin {self.generation(number)}"):
            directory = os.path.join(self.path, _GENERATIONS)
            unfinished = os.path.join(directory, f"{_UNFINISHED}{number}")
            group = os.stat(self.path).st_gid
            _pin_all(unfinished, objects, -1 if group == os.getegid() else group)
            os.rename(unfinished, os.path.join(directory, str(number)))

    def set_group(self, group: int) -> None:
        """Let the members of a group read."""
        with reported(f"give {self.path} to group {group}"):
            for directory in (os.path.dirname(self.home.path), self.home.path, self.path):
                os.chown(directory, -1, group)
            for directory, names, files in os.walk(self.path):
                for each in (*names, *files):
                    os.chown(os.path.join(directory, each), -1, group)

    def remove_generation(self, number: int) -> None:
        """Remove a generation that is not in force."""
        with reported(f"remove {self.generation(number)}"):
            remove_tree(self.generation(number))

    def remove_unfinished(self) -> None:
        """Remove what was in the making when a writer was interrupted."""
        with reported(f"clean up {self.path}"):
            self._detach(self._unfinished)
            remove_tree(self._unfinished, first=_LINK)
            directory = os.path.join(self.path, _GENERATIONS)
            for each in entries(directory):
                if each.startswith(_UNFINISHED):
                    remove_tree(os.path.join(directory, each))

    def remove(self) -> None:
        """Detach the dispatcher and remove all of its pins."""
        with reported(f"remove {self.path}"):
            self._detach(self.path)
            remove_tree(self.path, first=_LINK)

    def remove_dead(self) -> list[Stale]:
        """Remove what is no longer attached, or never was.

        :return: the dispatcher, where it was that.
        """
        removed = []
        for path in (self.path, self._unfinished):
            reason = self._death(path)
            if reason is not None:
                remove_tree(path, first=_LINK)
                if path == self.path:
                    removed.append(Stale(self.home.namespace, _NAME, reason))
        return removed

    def _death(self, path: str) -> str | None:
        """Why a dispatcher does not run; None where it does, or is not there."""
        if not os.path.isdir(path):
            return None
        try:
            with NetnsLink.open_pinned(os.path.join(path, _LINK)) as link:
                info = link.info()
        except KernelError as error:
            if error.errno in GONE:
                return "its link is not pinned"
            raise
        if not info.attached:
            return "its namespace is gone, or it was detached"
        if info.netns_ino != self.home.namespace:
            return f"it is attached to another namespace (inode {info.netns_ino})"
        return None

    def _detach(self, path: str) -> None:
        # At once: when its last pin goes, a link goes only after an RCU grace period.
        try:
            link = NetnsLink.open_pinned(os.path.join(path, _LINK))
        except KernelError as error:
            if error.errno in GONE:
                return
            raise
        with link:
            link.detach()


def _pin_all(directory: str, objects: Mapping[str, KernelObject], group: int) -> None:
    make_directory(directory, group)
    for name, each in objects.items():
        pin(each.pin, os.path.join(directory, name), group)


def _make_layout(version: str) -> Map:
    made = Map.create(
        MapType.ARRAY, key_size=4, value_size=_LAYOUT_SIZE, max_entries=1, name=_LAYOUT
    )
    with contextlib.ExitStack() as on_failure:
        on_failure.enter_context(made)
        text = version.encode()[: _LAYOUT_SIZE - _NUMBER_SIZE]
        made.update(0, (LAYOUT.to_bytes(_NUMBER_SIZE, "little") + text).ljust(_LAYOUT_SIZE, b"\0"))
        made.freeze()
        on_failure.pop_all()
    return made


def _read_layout(layout: Map) -> Layout:
    raw = layout.lookup(0) or b""
    number = int.from_bytes(raw[:_NUMBER_SIZE], "little")
    return Layout(number, raw[_NUMBER_SIZE:].rstrip(b"\0").decode(errors="replace"))
