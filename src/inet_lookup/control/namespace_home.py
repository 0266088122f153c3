"""The directory of a namespace's state: where it is, who changes it, and what in it is dead.

::

    BPFFS/inet-lookup/      0750, owned by root or by who runs this
        4026532281/         inode number of the namespace; writers lock this directory
            programs/       see program_store
            dispatcher/     see dispatcher_pins

The inode number of a namespace that has gone is used again. So whoever changes anything first
removes what is dead, in this namespace's directory and in all others where nobody is at work: a
later namespace with the same number does not inherit it.
"""

from __future__ import annotations

import contextlib
import errno
import os
from collections.abc import Generator
from typing import Final, NamedTuple

from ..bpf.pins import default_bpffs, require_bpffs
from ..errors import BpffsError, InetLookupError
from .directory_lock import PATIENCE_SECONDS, DirectoryLock
from .pin_directories import entries, make_directory, reported, require_trusted

ROOT: Final = "inet-lookup"


class Stale(NamedTuple):
    """Something that is pinned and runs no more.

    :ivar namespace: inode number of the namespace that it was attached to.
    :ivar name: its pin name.
    :ivar reason: why it does not run.
    """

    namespace: int
    name: str
    reason: str


class NamespaceHome:
    """The directory of one namespace's state; it need not exist.

    :param root: the directory ``inet-lookup`` of a BPF file system.
    :param namespace: inode number of the network namespace.
    """

    def __init__(self, root: str, namespace: int) -> None:
        self.namespace = namespace
        self.path = os.path.join(root, str(namespace))
        self._root = root

    @classmethod
    def at(cls, bpffs: str | os.PathLike[str] | None, namespace: int) -> NamespaceHome:
        """Use a BPF file system.

        :param bpffs: a directory in it; None for the machine's.
        :param namespace: inode number of the network namespace.
        :raises BpffsError: there is no such BPF file system.
        """
        if bpffs is None:
            directory = default_bpffs()
        else:
            directory = os.path.abspath(os.fspath(bpffs))
            operation = f"use {directory} for pins"
            require_bpffs(directory, operation)
            if not os.path.isdir(directory):
                raise BpffsError(operation, errno.ENOENT, "there is no such directory")
        return cls(os.path.join(directory, ROOT), namespace)

    @contextlib.contextmanager
    def writing(
        self, *, patience: float = PATIENCE_SECONDS, group: int = -1
    ) -> Generator[list[Stale], None, None]:
        """Lock the directory, first making it and removing what is dead.

        Directories that are empty in the end are removed.

        :param group: the group of directories that are made; -1 for that of the process.
        :return: what was dead and is removed now, in this namespace and in those that are gone.
        :raises InetLookupError: another process holds the lock all the time, or the directory
            belongs to a user who is not to be trusted with it.
        :raises PrivilegeError: the BPF file system may not be written to.
        """
        with reported(f"change {self.path}"):
            lock = self._lock(patience, group)
        with lock:
            try:
                with reported(f"clean up {self.path}"):
                    removed = self._remove_dead() + self._sweep_others()
                yield removed
            finally:
                self._remove_if_empty()

    def _lock(self, patience: float, group: int) -> DirectoryLock:
        while True:
            try:
                make_directory(self._root, group)
                require_trusted(self._root)
                make_directory(self.path, group)
                return DirectoryLock(self.path, patience=patience)
            except FileNotFoundError:
                if not os.path.isdir(os.path.dirname(self._root)):
                    raise
                # Another writer removed the empty directory: make it anew.

    def _remove_dead(self) -> list[Stale]:
        from .dispatcher_pins import DispatcherPins
        from .program_store import ProgramStore

        return [*ProgramStore(self).recover(), *DispatcherPins(self).remove_dead()]

    def _sweep_others(self) -> list[Stale]:
        removed: list[Stale] = []
        for entry in entries(self._root):
            if not entry.isdigit() or int(entry) == self.namespace:
                continue
            other = NamespaceHome(self._root, int(entry))
            # What another user or writer has there is not this one's concern.
            with (
                contextlib.suppress(OSError, InetLookupError),
                DirectoryLock(other.path, patience=0),
            ):
                removed += other._remove_dead()
                other._remove_if_empty()
        return removed

    def _remove_if_empty(self) -> None:
        for directory in (self.path, self._root):
            try:
                os.rmdir(directory)
            except OSError:
                return
