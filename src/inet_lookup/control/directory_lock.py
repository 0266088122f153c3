"""One writer at a time: an exclusive :manpage:`flock(2)` on a directory that may come and go."""

from __future__ import annotations

import errno
import fcntl
import os
import time
from typing import Final

from ..bpf.handle import Resource
from ..errors import InetLookupError

PATIENCE_SECONDS: Final = 10.0
"""How long a writer waits for another one."""

_INTERVAL_SECONDS: Final = 0.02


class DirectoryLock(Resource):
    """An exclusive lock on a directory. It ends with :meth:`close`, or with the process.

    :param path: an existing directory.
    :param patience: how many seconds to wait for another holder; 0 to not wait.
    :raises FileNotFoundError: there is no such directory, or it was removed meanwhile.
    :raises InetLookupError: somebody else holds the lock all the time.
    """

    def __init__(self, path: str, *, patience: float = PATIENCE_SECONDS) -> None:
        self._path = path
        self._fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            self._acquire(patience)
            # Whoever held the lock before may have removed the directory: a lock on a directory
            # without a name locks nothing.
            if not os.path.samestat(os.fstat(self._fd), os.stat(path)):
                raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), path)
        except BaseException:
            os.close(self._fd)
            raise
        super().__init__()

    def _acquire(self, patience: float) -> None:
        deadline = time.monotonic() + patience
        while True:
            try:
                fcntl.flock(self._fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                if time.monotonic() >= deadline:
                    raise self._refusal() from None
                time.sleep(_INTERVAL_SECONDS)
            else:
                return

    def _refusal(self) -> InetLookupError:
        holder = _holder(self._fd)
        who = f"process {holder}" if holder is not None else "another process"
        return InetLookupError(
            f"{self._path} is locked by {who}",
            hint="it is being changed: wait for that to end, or look what the process is waiting"
            " for",
        )

    def _release(self) -> None:
        os.close(self._fd)

    def __repr__(self) -> str:
        return f"<DirectoryLock {self._path}{' closed' if self.closed else ''}>"


def _holder(fd: int) -> int | None:
    """The process that holds the lock, by ``/proc/locks``; None where that does not tell."""
    status = os.fstat(fd)
    file = f"{os.major(status.st_dev):02x}:{os.minor(status.st_dev):02x}:{status.st_ino}"
    try:
        with open("/proc/locks", encoding="ascii", errors="replace") as locks:
            for line in locks:
                # "1: FLOCK  ADVISORY  WRITE 4711 00:27:45022 0 EOF"; a waiter has "->" up front.
                fields = line.split()
                if fields[1] == "FLOCK" and fields[5] == file and int(fields[4]) > 0:
                    return int(fields[4])
    except (OSError, ValueError, IndexError):
        pass
    return None
