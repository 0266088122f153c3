"""How attached programs are pinned, and how a half-made pinning is told from a whole one.

::

    BPFFS/inet-lookup/             0750, owned by root or by who runs this
        4026532281/                inode number of the namespace; writers lock this directory
            programs/
                two_http_servers/  one attached program, by its pin name
                    link           keeps it attached
                    program        the program that the link runs
                    maps/servers   what it works with, by their names in the source
                +two_http_servers/ the same in the making

What is made is made under a name with a plus sign, and renamed into place when it is whole. A
program that is replaced keeps its directory and its link; ``+NAME`` then holds the new program and
maps until the kernel has put the program into the link, and only then moves over, pin by pin. A
writer that is interrupted leaves one of these states, which the next one tells apart:

* ``+NAME`` has the program that the link of ``NAME`` runs: replacing succeeded, the rest is moved.
* Any other ``+NAME``: nothing came of it, it is removed, which detaches what it had attached.
* ``NAME`` whose link is gone, detached, or attached to a namespace that no longer exists: removed,
  so that a later namespace with the same inode number does not inherit it.

Readers take no lock. Names in a BPF file system cannot hold dots.
"""

from __future__ import annotations

import contextlib
import os
import re
from collections.abc import Generator, Iterator, Mapping
from typing import Final

from ..bpf.links import NetnsLink
from ..bpf.maps import Map
from ..bpf.programs import Program
from ..errors import InetLookupError, KernelError, PrivilegeError
from .directory_lock import PATIENCE_SECONDS
from .namespace_home import NamespaceHome, Stale
from .pin_directories import GONE, entries, make_directory, pin, remove_tree, reported

_PROGRAMS: Final = "programs"
_LINK: Final = "link"
_PROGRAM: Final = "program"
_MAPS: Final = "maps"
_UNFINISHED: Final = "+"

_NAME: Final = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_-]*")
_MAX_NAME: Final = 128


class ProgramStore:
    """The pins of the programs attached to one namespace.

    :param home: the directory of the namespace's state; it need not exist.
    """

    def __init__(self, home: NamespaceHome) -> None:
        self.namespace = home.namespace
        self._home = home
        self._programs = os.path.join(home.path, _PROGRAMS)

    @classmethod
    def at(cls, bpffs: str | os.PathLike[str] | None, namespace: int) -> ProgramStore:
        """Use a BPF file system; see :meth:`NamespaceHome.at`."""
        return cls(NamespaceHome.at(bpffs, namespace))

    def path(self, name: str) -> str:
        """Where a program is pinned."""
        return os.path.join(self._programs, name)

    # Reading

    def names(self) -> list[str]:
        """The pin names in use, sorted.

        :raises PrivilegeError: the directory may not be read.
        """
        return [each for each in entries(self._programs) if not each.startswith(_UNFINISHED)]

    def open_link(self, name: str) -> NetnsLink:
        """Open a program's link.

        :raises KernelError: ``ENOENT`` where it is not there (any more).
        """
        return NetnsLink.open_pinned(os.path.join(self.path(name), _LINK))

    def open_program(self, name: str) -> Program:
        """Open the program that is pinned with a link; see :meth:`open_link`."""
        return Program.open_pinned(os.path.join(self.path(name), _PROGRAM))

    def open_maps(self, name: str, stack: contextlib.ExitStack) -> dict[str, Map]:
        """Open a program's maps, by their names in the source.

        :param stack: closes them.
        """
        directory = os.path.join(self.path(name), _MAPS)
        found = {}
        for each in entries(directory):
            try:
                found[each] = stack.enter_context(Map.open_pinned(os.path.join(directory, each)))
            except KernelError as error:
                if error.errno not in GONE:  # it was replaced meanwhile
                    raise
        return found

    def stale(self) -> list[Stale]:
        """The programs that are pinned and run no more."""
        found = []
        for name in self.names():
            reason = self._staleness(name)
            if reason is not None:
                found.append(Stale(self.namespace, name, reason))
        return found

    # Writing

    @contextlib.contextmanager
    def writing(self, *, patience: float = PATIENCE_SECONDS) -> Generator[list[Stale], None, None]:
        """Lock the namespace's directory; see :meth:`NamespaceHome.writing`."""
        with self._home.writing(patience=patience) as removed:
            with reported(f"change {self._home.path}"):
                make_directory(self._programs)
            try:
                yield removed
            finally:
                self._remove_if_empty()

    @contextlib.contextmanager
    def staging(self, name: str, program: Program, maps: Mapping[str, Map]) -> Iterator[Staged]:
        """Pin a program and its maps under an unfinished name; see :class:`Staged`.

        What is still unfinished at the end is removed. The caller holds the lock.
        """
        staged = Staged(self.path(name), self.path(_UNFINISHED + name))
        try:
            with reported(f"pin {self.path(name)}"):
                staged.fill(program, maps)
            yield staged
        finally:
            _discard(staged.unfinished)

    def remove(self, name: str) -> None:
        """Remove a program's pins, the link's first. The caller holds the lock."""
        with reported(f"remove {self.path(name)}"):
            _remove(self.path(name))

    def recover(self) -> list[Stale]:
        """Complete or remove what interrupted writers left, and remove what runs no more.

        The caller holds the lock.

        :return: what ran no more.
        """
        for entry in entries(self._programs):
            if entry.startswith(_UNFINISHED):
                name = entry.removeprefix(_UNFINISHED)
                staged = Staged(self.path(name), self.path(entry))
                if self._was_put_into_link(staged, name):
                    staged.move_over()
                _discard(staged.unfinished)
        removed = self.stale()
        for each in removed:
            _remove(self.path(each.name))
        self._remove_if_empty()
        return removed

    def _was_put_into_link(self, staged: Staged, name: str) -> bool:
        try:
            with self.open_link(name) as link, staged.open_program() as program:
                return link.info().program_id == program.id
        except KernelError as error:
            if error.errno in GONE:
                return False
            raise

    def _staleness(self, name: str) -> str | None:
        try:
            with self.open_link(name) as link:
                info = link.info()
        except KernelError as error:
            if isinstance(error, PrivilegeError):
                raise
            if error.errno in GONE:
                return "its link is not pinned"
            return error.message
        if not info.attached:
            return "its namespace is gone, or it was detached"
        if info.netns_ino != self.namespace:
            return f"it is attached to another namespace (inode {info.netns_ino})"
        return None

    def _remove_if_empty(self) -> None:
        with contextlib.suppress(OSError):
            os.rmdir(self._programs)


class Staged:
    """A program and maps, pinned under an unfinished name.

    :ivar final: the directory that they shall be in.
    :ivar unfinished: the directory that they are in.
    """

    def __init__(self, final: str, unfinished: str) -> None:
        self.final = final
        self.unfinished = unfinished

    def fill(self, program: Program, maps: Mapping[str, Map]) -> None:
        """Pin them; maps whose names cannot be in a BPF file system stay unpinned."""
        make_directory(self.unfinished)
        make_directory(os.path.join(self.unfinished, _MAPS))
        pin(program.pin, os.path.join(self.unfinished, _PROGRAM))
        for name, each in maps.items():
            if "." not in name:
                pin(each.pin, os.path.join(self.unfinished, _MAPS, name))

    def open_program(self) -> Program:
        """Open the program."""
        return Program.open_pinned(os.path.join(self.unfinished, _PROGRAM))

    def commit_new(self, link: NetnsLink) -> None:
        """Add the link of a program that was attached, and move all to the final name."""
        with reported(f"pin {self.final}"):
            pin(link.pin, os.path.join(self.unfinished, _LINK))
            os.rename(self.unfinished, self.final)

    def move_over(self) -> None:
        """Move all into the directory of the program that was replaced, and drop its old maps.

        May be begun anew when it was interrupted.
        """
        with reported(f"pin {self.final}"):
            source = os.path.join(self.unfinished, _MAPS)
            target = os.path.join(self.final, _MAPS)
            wanted = self._map_ids()
            for name in entries(source):
                os.rename(os.path.join(source, name), os.path.join(target, name))
            for name in entries(target):
                with Map.open_pinned(os.path.join(target, name)) as each:
                    obsolete = each.id not in wanted
                if obsolete:
                    os.unlink(os.path.join(target, name))
            # Last, for it is what tells that there is something to move.
            program = os.path.join(self.unfinished, _PROGRAM)
            os.rename(program, os.path.join(self.final, _PROGRAM))

    def _map_ids(self) -> set[int]:
        with self.open_program() as program:
            return set(program.info().map_ids)


def require_name(name: str) -> None:
    """Refuse what cannot be a pin name.

    :raises InetLookupError: it has other characters than letters, digits, ``_`` and ``-``, begins
        with ``-``, or is longer than 128.
    """
    if _NAME.fullmatch(name) is None or len(name) > _MAX_NAME:
        raise InetLookupError(
            f"{name!r} cannot be the name of a pin",
            hint=f"use up to {_MAX_NAME} letters, digits, '_' and '-'",
        )


def _discard(path: str) -> None:
    """Remove what is unfinished, detaching it first: an unpinned link the kernel frees only later.

    (``bpf_free_inode()`` runs after an RCU grace period, and puts the link from a work queue.)
    """
    with (
        contextlib.suppress(KernelError),
        NetnsLink.open_pinned(os.path.join(path, _LINK)) as link,
    ):
        link.detach()
    _remove(path)


def _remove(path: str) -> None:
    """Remove a program's directory, the link first: what is left over then is known as stale."""
    remove_tree(path, first=_LINK)
