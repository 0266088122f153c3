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
import errno
import os
import re
import stat
from collections.abc import Generator, Iterator, Mapping
from typing import TYPE_CHECKING, Final, NamedTuple

from ..bpf.failures import Failure, failure
from ..bpf.links import NetnsLink
from ..bpf.maps import Map
from ..bpf.pins import default_bpffs, require_bpffs
from ..bpf.programs import Program
from ..errors import BpffsError, InetLookupError, KernelError, PrivilegeError
from .directory_lock import PATIENCE_SECONDS, DirectoryLock

if TYPE_CHECKING:
    from collections.abc import Callable

ROOT: Final = "inet-lookup"
_PROGRAMS: Final = "programs"
_LINK: Final = "link"
_PROGRAM: Final = "program"
_MAPS: Final = "maps"
_UNFINISHED: Final = "+"

_DIRECTORY_MODE: Final = 0o750
_FILE_MODE: Final = 0o640

_NAME: Final = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_-]*")
_MAX_NAME: Final = 128

_GONE: Final = (errno.ENOENT, errno.ENOTDIR)


class Stale(NamedTuple):
    """A pinned program that runs no more.

    :ivar namespace: inode number of the namespace that it was attached to.
    :ivar name: its pin name.
    :ivar reason: why it does not run.
    """

    namespace: int
    name: str
    reason: str


class ProgramStore:
    """The pins of the programs attached to one namespace.

    :param root: the directory ``inet-lookup`` of a BPF file system; it need not exist.
    :param namespace: inode number of the network namespace.
    """

    def __init__(self, root: str, namespace: int) -> None:
        self.namespace = namespace
        self._root = root
        self._home = os.path.join(root, str(namespace))
        self._programs = os.path.join(self._home, _PROGRAMS)

    @classmethod
    def at(cls, bpffs: str | os.PathLike[str] | None, namespace: int) -> ProgramStore:
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

    def path(self, name: str) -> str:
        """Where a program is pinned."""
        return os.path.join(self._programs, name)

    # Reading

    def names(self) -> list[str]:
        """The pin names in use, sorted.

        :raises PrivilegeError: the directory may not be read.
        """
        return [each for each in _entries(self._programs) if not each.startswith(_UNFINISHED)]

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
        for each in _entries(directory):
            try:
                found[each] = stack.enter_context(Map.open_pinned(os.path.join(directory, each)))
            except KernelError as error:
                if error.errno not in _GONE:  # it was replaced meanwhile
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
        """Lock the store, first making its directories and clearing what is half made or stale.

        Directories that are empty in the end are removed.

        :return: what was stale and is removed now, in this namespace and in those that are gone.
        :raises InetLookupError: another process holds the lock all the time, or the directory
            belongs to a user who is not to be trusted with it.
        :raises PrivilegeError: the BPF file system may not be written to.
        """
        with _reported(f"change {self._home}"):
            lock = self._lock(patience)
        with lock:
            try:
                with _reported(f"clean up {self._home}"):
                    removed = self._recover() + self._sweep_others()
                yield removed
            finally:
                self._remove_if_empty()

    def _lock(self, patience: float) -> DirectoryLock:
        while True:
            try:
                _make_directory(self._root)
                _require_trusted(self._root)
                _make_directory(self._home)
                lock = DirectoryLock(self._home, patience=patience)
            except FileNotFoundError:
                if not os.path.isdir(os.path.dirname(self._root)):
                    raise
                continue  # another writer removed the empty directory: make it anew
            try:
                _make_directory(self._programs)
            except BaseException:
                lock.close()
                raise
            return lock

    @contextlib.contextmanager
    def staging(self, name: str, program: Program, maps: Mapping[str, Map]) -> Iterator[Staged]:
        """Pin a program and its maps under an unfinished name; see :class:`Staged`.

        What is still unfinished at the end is removed. The caller holds the lock.
        """
        staged = Staged(self.path(name), self.path(_UNFINISHED + name))
        try:
            with _reported(f"pin {self.path(name)}"):
                staged.fill(program, maps)
            yield staged
        finally:
            _remove_tree(staged.unfinished)

    def remove(self, name: str) -> None:
        """Remove a program's pins, the link's first. The caller holds the lock."""
        with _reported(f"remove {self.path(name)}"):
            _remove_tree(self.path(name))

    def _recover(self) -> list[Stale]:
        for entry in _entries(self._programs):
            if entry.startswith(_UNFINISHED):
                name = entry.removeprefix(_UNFINISHED)
                staged = Staged(self.path(name), self.path(entry))
                if self._was_put_into_link(staged, name):
                    staged.move_over()
                _remove_tree(staged.unfinished)
        removed = self.stale()
        for each in removed:
            _remove_tree(self.path(each.name))
        return removed

    def _was_put_into_link(self, staged: Staged, name: str) -> bool:
        try:
            with self.open_link(name) as link, staged.open_program() as program:
                return link.info().program_id == program.id
        except KernelError as error:
            if error.errno in _GONE:
                return False
            raise

    def _staleness(self, name: str) -> str | None:
        try:
            with self.open_link(name) as link:
                info = link.info()
        except KernelError as error:
            if isinstance(error, PrivilegeError):
                raise
            if error.errno in _GONE:
                return "its link is not pinned"
            return error.message
        if not info.attached:
            return "its namespace is gone, or it was detached"
        if info.netns_ino != self.namespace:
            return f"it is attached to another namespace (inode {info.netns_ino})"
        return None

    def _sweep_others(self) -> list[Stale]:
        """Clear the stores of other namespaces that are gone, as far as nobody is at work there."""
        removed: list[Stale] = []
        for entry in _entries(self._root):
            if not entry.isdigit() or int(entry) == self.namespace:
                continue
            store = ProgramStore(self._root, int(entry))
            # What another user or writer has there is not this one's concern.
            with (
                contextlib.suppress(OSError, InetLookupError),
                DirectoryLock(store._home, patience=0),
            ):
                removed += store._recover()
                store._remove_if_empty()
        return removed

    def _remove_if_empty(self) -> None:
        for directory in (self._programs, self._home, self._root):
            try:
                os.rmdir(directory)
            except OSError:
                return


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
        _make_directory(self.unfinished)
        _make_directory(os.path.join(self.unfinished, _MAPS))
        _pin(program.pin, os.path.join(self.unfinished, _PROGRAM))
        for name, each in maps.items():
            if "." not in name:
                _pin(each.pin, os.path.join(self.unfinished, _MAPS, name))

    def open_program(self) -> Program:
        """Open the program."""
        return Program.open_pinned(os.path.join(self.unfinished, _PROGRAM))

    def commit_new(self, link: NetnsLink) -> None:
        """Add the link of a program that was attached, and move all to the final name."""
        with _reported(f"pin {self.final}"):
            _pin(link.pin, os.path.join(self.unfinished, _LINK))
            os.rename(self.unfinished, self.final)

    def move_over(self) -> None:
        """Move all into the directory of the program that was replaced, and drop its old maps.

        May be begun anew when it was interrupted.
        """
        with _reported(f"pin {self.final}"):
            source = os.path.join(self.unfinished, _MAPS)
            target = os.path.join(self.final, _MAPS)
            wanted = self._map_ids()
            for name in _entries(source):
                os.rename(os.path.join(source, name), os.path.join(target, name))
            for name in _entries(target):
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


def _entries(directory: str) -> list[str]:
    try:
        return sorted(os.listdir(directory))
    except (FileNotFoundError, NotADirectoryError):
        return []
    except OSError as error:
        raise _failure(error, f"read {directory}") from error


def _make_directory(path: str) -> None:
    try:
        os.mkdir(path, _DIRECTORY_MODE)
    except FileExistsError:
        return
    os.chmod(path, _DIRECTORY_MODE)  # whatever the umask


def _require_trusted(path: str) -> None:
    """Refuse a directory in which others could put their programs in place of ours.

    Everyone may make directories in a BPF file system that is mounted without a mode.
    """
    status = os.stat(path)
    if status.st_uid not in (0, os.geteuid()):
        problem = f"it belongs to the user {status.st_uid}"
    elif status.st_mode & stat.S_IWOTH:
        problem = "everyone may write to it"
    else:
        return
    raise InetLookupError(
        f"cannot trust {path}: {problem}", hint=f"look what is in it, and remove it: rm -r {path}"
    )


def _pin(pin: Callable[[str], None], path: str) -> None:
    pin(path)
    os.chmod(path, _FILE_MODE)


def _remove_tree(path: str) -> None:
    """Remove a program's directory; where it is not there, do nothing.

    The link goes first: what is left over then is known as stale.
    """
    with contextlib.suppress(FileNotFoundError):
        os.unlink(os.path.join(path, _LINK))
    for directory, names, files in os.walk(path, topdown=False):
        for each in files:
            os.unlink(os.path.join(directory, each))
        for each in names:
            os.rmdir(os.path.join(directory, each))
    with contextlib.suppress(FileNotFoundError):
        os.rmdir(path)


@contextlib.contextmanager
def _reported(operation: str) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise _failure(error, operation) from error


def _failure(error: OSError, operation: str) -> KernelError:
    permission = Failure(
        f"no permission for {error.filename}" if error.filename else "no permission",
        "run it as root, or as the owner of the pins",
        PrivilegeError,
    )
    return failure(
        error,
        operation,
        meanings={
            errno.EACCES: permission,
            errno.EPERM: permission,
            errno.ENOENT: Failure(f"there is no {error.filename}"),
            errno.EROFS: Failure("the BPF file system is mounted read-only"),
            errno.ENAMETOOLONG: Failure("the name is too long"),
        },
    )
