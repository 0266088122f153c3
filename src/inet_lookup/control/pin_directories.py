"""Directories of pins: made with their modes, trusted only where nobody else could write, removed.

Names in a BPF file system cannot hold dots.
"""

from __future__ import annotations

import contextlib
import errno
import os
import stat
from collections.abc import Iterator
from typing import TYPE_CHECKING, Final

from ..bpf.failures import Failure, failure
from ..errors import InetLookupError, KernelError, PrivilegeError

if TYPE_CHECKING:
    from collections.abc import Callable

DIRECTORY_MODE: Final = 0o750
FILE_MODE: Final = 0o640
GONE: Final = (errno.ENOENT, errno.ENOTDIR)
"""What opening a pin fails with that was removed meanwhile."""


def entries(directory: str) -> list[str]:
    """The names in a directory, sorted; none where it does not exist.

    :raises PrivilegeError: it may not be read.
    """
    try:
        return sorted(os.listdir(directory))
    except (FileNotFoundError, NotADirectoryError):
        return []
    except OSError as error:
        raise _failure(error, f"read {directory}") from error


def make_directory(path: str, group: int = -1) -> None:
    """Make a directory unless it exists.

    :param group: id of the group whose members may read in it; -1 for that of the process.
    """
    try:
        os.mkdir(path, DIRECTORY_MODE)
    except FileExistsError:
        return
    os.chmod(path, DIRECTORY_MODE)  # whatever the umask
    if group != -1:
        os.chown(path, -1, group)


def pin(make: Callable[[str], None], path: str, group: int = -1) -> None:
    """Pin an object by its method ``pin``, for the owner to change and the group to read."""
    make(path)
    os.chmod(path, FILE_MODE)
    if group != -1:
        os.chown(path, -1, group)


def require_trusted(path: str) -> None:
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


def remove_tree(path: str, *, first: str | None = None) -> None:
    """Remove a directory and all in it; where it is not there, do nothing.

    :param first: the pin in it that is to go before all others.
    """
    if first is not None:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(os.path.join(path, first))
    for directory, names, files in os.walk(path, topdown=False):
        for each in files:
            os.unlink(os.path.join(directory, each))
        for each in names:
            os.rmdir(os.path.join(directory, each))
    with contextlib.suppress(FileNotFoundError):
        os.rmdir(path)


@contextlib.contextmanager
def reported(operation: str) -> Iterator[None]:
    """Turn what the system refuses into a :class:`KernelError` of this operation."""
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
