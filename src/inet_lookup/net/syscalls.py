"""The system calls of this package that Python 3.11 has no function for, one thin wrapper each.

No policy here: a failed call raises :class:`OSError`, and the caller says what it means.
"""

from __future__ import annotations

import ctypes
import os
from typing import Any, Final

CLONE_NEWNET: Final = 0x40000000
"""The network namespace, as :manpage:`setns(2)`, :manpage:`unshare(2)` and nsfs name it."""

_SYS_PIDFD_GETFD: Final = 438
# One number on every architecture: system calls since 5.1 share asm-generic's (alpha, which adds
# 110, is the exception; BPF has no JIT there).

_SOCKADDR_STORAGE: Final = 128

_libc = ctypes.CDLL(None, use_errno=True)


def setns(fd: int, nstype: int) -> None:
    """Move the calling thread into the namespace of ``fd``.

    :param fd: a namespace file, such as ``/proc/PID/ns/net``.
    :param nstype: the ``CLONE_NEW*`` flag that the namespace must be of.
    :raises OSError: EPERM without ``CAP_SYS_ADMIN``, EINVAL for a namespace of another type.
    """
    _check(_libc.setns(ctypes.c_int(fd), ctypes.c_int(nstype)), "setns")


def unshare(flags: int) -> None:
    """Move the calling thread into new namespaces.

    :param flags: the ``CLONE_NEW*`` flags of those to make.
    :raises OSError: EPERM without ``CAP_SYS_ADMIN``, ENOSPC at the limit of
        ``/proc/sys/user/max_net_namespaces``.
    """
    _check(_libc.unshare(ctypes.c_int(flags)), "unshare")


def pidfd_getfd(pidfd: int, target_fd: int) -> int:
    """Duplicate a file descriptor of another process; the copy is close-on-exec.

    Since Linux 5.6.

    :param pidfd: the process, from :func:`os.pidfd_open`.
    :param target_fd: the number of the descriptor in that process.
    :return: the copy's number in this process.
    :raises OSError: EPERM without ``PTRACE_MODE_ATTACH_REALCREDS`` access to the process (see
        :manpage:`ptrace(2)`), EBADF when it has no such descriptor, ESRCH when it has ended.
    """
    result = _libc.syscall(
        ctypes.c_long(_SYS_PIDFD_GETFD),
        ctypes.c_int(pidfd),
        ctypes.c_int(target_fd),
        ctypes.c_uint(0),
    )
    _check(result, "pidfd_getfd")
    return int(result)


def getsockopt(fd: int, level: int, option: int, size: int) -> bytes:
    """Read a socket option.

    Unlike :meth:`socket.socket.getsockopt` it takes a bare descriptor: a :class:`socket.socket`
    made for a descriptor applies :func:`socket.setdefaulttimeout` to it, and so would make the
    socket of another process non-blocking.

    :param size: the size of the value, at most.
    :raises OSError: ENOTSOCK, or ENOPROTOOPT where the kernel or the protocol has no such option.
    """
    value = ctypes.create_string_buffer(size)
    length = ctypes.c_uint(size)
    _check(
        _libc.getsockopt(
            ctypes.c_int(fd),
            ctypes.c_int(level),
            ctypes.c_int(option),
            value,
            ctypes.byref(length),
        ),
        "getsockopt",
    )
    return value.raw[: length.value]


def getsockname(fd: int) -> bytes:
    """The ``struct sockaddr`` that a socket is bound to.

    :raises OSError: ENOTSOCK.
    """
    return _address(_libc.getsockname, fd, "getsockname")


def getpeername(fd: int) -> bytes:
    """The ``struct sockaddr`` that a socket is connected to.

    :raises OSError: ENOTCONN, ENOTSOCK.
    """
    return _address(_libc.getpeername, fd, "getpeername")


def _address(call: Any, fd: int, name: str) -> bytes:
    value = ctypes.create_string_buffer(_SOCKADDR_STORAGE)
    length = ctypes.c_uint(_SOCKADDR_STORAGE)
    _check(call(ctypes.c_int(fd), value, ctypes.byref(length)), name)
    return value.raw[: length.value]


def _check(result: int, call: str) -> None:
    if result == -1:
        error = ctypes.get_errno()
        raise OSError(error, f"{call}: {os.strerror(error)}")
