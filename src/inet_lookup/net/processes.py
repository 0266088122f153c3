"""Sockets of running processes: find them and take a copy of their file descriptors.

A copy refers to the same socket as the process's own descriptor: what it is put into (a sock map)
steers traffic to that process, which neither notices nor has to help.
"""

from __future__ import annotations

import contextlib
import errno
import os
from collections.abc import Generator
from dataclasses import dataclass

from inet_lookup.bpf.handle import Resource
from inet_lookup.bpf.privileges import Capability, effective_capabilities
from inet_lookup.errors import (
    InetLookupError,
    KernelError,
    PrivilegeError,
    SocketError,
    UnsupportedError,
)
from inet_lookup.net.namespaces import Namespace
from inet_lookup.net.selectors import SocketSelector
from inet_lookup.net.sockets import SocketInfo, describe, require_fit, unfitness
from inet_lookup.net.syscalls import pidfd_getfd


@dataclass(frozen=True, slots=True, order=True)
class Process:
    """A process, as messages and tables name it.

    :ivar pid: its process id.
    :ivar name: its name (``/proc/PID/comm``, at most 15 bytes); empty when it is gone.
    """

    pid: int
    name: str

    @classmethod
    def of(cls, pid: int) -> Process:
        """The process with this id, with its name as it is now."""
        try:
            with open(f"/proc/{pid}/comm", "rb") as file:
                return cls(pid, file.read().decode(errors="backslashreplace").rstrip("\n"))
        except OSError:
            return cls(pid, "")

    @property
    def command(self) -> str:
        """Its command line as it is now; empty when it is gone, and for a kernel thread."""
        try:
            with open(f"/proc/{self.pid}/cmdline", "rb") as file:
                words = file.read().rstrip(b"\0").split(b"\0")
        except OSError:
            return ""
        return b" ".join(words).decode(errors="backslashreplace")

    def __str__(self) -> str:
        return f"process {self.pid} ({self.name})" if self.name else f"process {self.pid}"


class TakenSocket(Resource):
    """A copy of another process's socket descriptor. Closing it leaves the socket as it is.

    :param fd: the copy, owned by this object from now on.
    :param info: what the socket is.
    :param process: the process it was taken from.
    :param source_fd: the descriptor's number in that process.
    """

    def __init__(self, fd: int, info: SocketInfo, process: Process, source_fd: int) -> None:
        super().__init__()
        self._fd = fd
        self.info = info
        self.process = process
        self.source_fd = source_fd

    def fileno(self) -> int:
        """The copy's file descriptor.

        :raises ValueError: the object is closed.
        """
        if self.closed:
            raise ValueError(f"{self!r} is closed")
        return self._fd

    def _release(self) -> None:
        os.close(self._fd)

    def __repr__(self) -> str:
        state = "closed" if self.closed else f"fd={self._fd}"
        return f"<TakenSocket {self.info.endpoint} of {self.process} {state}>"


def sockets_of(pid: int) -> list[SocketInfo]:
    """Describe the internet sockets of a process, each once, in the order of its descriptors.

    Since Linux 5.6.

    :raises SocketError: there is no such process.
    :raises PrivilegeError: the process may not be looked into.
    """
    found = []
    with contextlib.closing(_each_socket(pid)) as each:
        for taken in each:
            with taken:
                found.append(taken.info)
    return found


def take_all(selector: SocketSelector, *, namespace: Namespace | None = None) -> list[TakenSocket]:
    """Take all sockets that a selector matches and that traffic can be steered to.

    There are several where the process holds members of a reuseport group. A server's established
    connections have its local address and port too; they are not taken. Since Linux 5.6.

    :param namespace: the network namespace that the sockets must be in.
    :raises SocketError: there is no such process; no socket matches; those that match are not fit
        (connected, not listening); or they are in another network namespace.
    :raises PrivilegeError: sockets of that process may not be taken.
    """
    process = Process.of(selector.pid)
    others: list[SocketInfo] = []
    unfit: list[SocketInfo] = []
    with contextlib.ExitStack() as stack:
        found: list[TakenSocket] = []
        each = stack.enter_context(contextlib.closing(_each_socket(selector.pid)))
        for taken in each:
            if selector.matches(taken.info) and unfitness(taken.info) is None:
                found.append(stack.enter_context(taken))
                continue
            (unfit if selector.matches(taken.info) else others).append(taken.info)
            taken.close()
        if not found:
            if unfit:
                require_fit(unfit[0], where=f"of {process}")
            raise _nothing_matches(selector, process, others)
        if namespace is not None:
            _require_namespace(found, namespace)
        each.close()
        stack.pop_all()
    return found


def take_one(selector: SocketSelector, *, namespace: Namespace | None = None) -> TakenSocket:
    """Take the socket that a selector matches.

    Of a reuseport group its first member is taken: the kernel picks among the whole group when
    traffic is steered to any member. When that member closes, though, the group is not reached
    through it any more: :func:`take_all` gives the others too.

    :raises SocketError: as :func:`take_all`, and when sockets match that are no such group.
    :raises PrivilegeError: sockets of that process may not be taken.
    """
    first, *rest = take_all(selector, namespace=namespace)
    for each in rest:
        each.close()
    different = [each.info for each in rest if not _one_group(first.info, each.info)]
    if different:
        first.close()
        endpoints = dict.fromkeys(str(info) for info in (first.info, *different))
        raise SocketError(
            f"{1 + len(rest)} sockets of {first.process} match {selector}",
            hint=f"name one of: {', '.join(endpoints)}",
        )
    return first


def _each_socket(pid: int) -> Generator[TakenSocket, None, None]:
    """Take every internet socket of a process, one after the other, each once."""
    process = Process.of(pid)
    pidfd = _open_process(pid)
    try:
        seen: set[str] = set()
        for number, target in _socket_links(process):
            if target in seen:
                continue
            seen.add(target)
            taken = _take(pidfd, number, process)
            if taken is not None:
                yield taken
    finally:
        os.close(pidfd)


def _open_process(pid: int) -> int:
    try:
        return os.pidfd_open(pid)
    except OSError as error:
        if error.errno == errno.ESRCH:
            raise SocketError(
                f"there is no process {pid}",
                hint="ss -lntup shows the processes that listen, with their pids",
            ) from error
        if error.errno in (errno.EINVAL, errno.ENOENT):
            raise SocketError(
                f"{pid} is not the id of a process",
                hint="name the process, not one of its threads",
            ) from error
        if error.errno == errno.ENOSYS:
            raise UnsupportedError(
                f"open process {pid}", errno.ENOSYS, "pidfd_open() exists since Linux 5.3"
            ) from error
        raise KernelError(
            f"open process {pid}", error.errno or errno.EIO, os.strerror(error.errno or errno.EIO)
        ) from error


def _socket_links(process: Process) -> list[tuple[int, str]]:
    """Descriptors of a process that are sockets, with their ``socket:[inode]``, by number."""
    directory = f"/proc/{process.pid}/fd"
    found = []
    try:
        for entry in os.listdir(directory):
            with contextlib.suppress(FileNotFoundError):  # closed meanwhile
                target = os.readlink(f"{directory}/{entry}")
                if target.startswith("socket:"):
                    found.append((int(entry), target))
    except PermissionError as error:
        raise _no_permission(process, error) from error
    except (FileNotFoundError, ProcessLookupError) as error:
        raise SocketError(f"{process} has ended") from error
    return sorted(found)


def _take(pidfd: int, number: int, process: Process) -> TakenSocket | None:
    """Take one descriptor, or None where it is no internet socket (any more)."""
    try:
        fd = pidfd_getfd(pidfd, number)
    except OSError as error:
        if error.errno == errno.EBADF:  # closed meanwhile
            return None
        if error.errno == errno.ESRCH:
            raise SocketError(f"{process} has ended") from error
        if error.errno == errno.EPERM:
            raise _no_permission(process, error) from error
        if error.errno == errno.ENOSYS:
            raise UnsupportedError(
                f"take a socket of {process}",
                errno.ENOSYS,
                "pidfd_getfd() exists since Linux 5.6",
                hint="let the server register its sockets itself, or run Linux 5.6 or newer",
            ) from error
        raise KernelError(
            f"take a socket of {process}",
            error.errno or errno.EIO,
            os.strerror(error.errno or errno.EIO),
        ) from error
    try:
        return TakenSocket(fd, describe(fd), process, number)
    except BaseException as error:
        os.close(fd)
        if isinstance(error, SocketError):  # a Unix or netlink socket, say
            return None
        raise


def _no_permission(process: Process, error: OSError) -> PrivilegeError:
    if effective_capabilities() >> Capability.CAP_SYS_PTRACE & 1:
        hint = "a security module protects it, or it is of another user namespace"
    else:
        hint = "run as root, or with CAP_SYS_PTRACE"
    with contextlib.suppress(OSError), open("/proc/sys/kernel/yama/ptrace_scope") as file:
        if file.read().strip() == "3":
            hint = "kernel.yama.ptrace_scope is 3, which forbids it to everyone until reboot"
    return PrivilegeError(
        f"take sockets of {process}",
        error.errno or errno.EPERM,
        "this process may not look into that one",
        hint=hint,
    )


def _nothing_matches(
    selector: SocketSelector, process: Process, others: list[SocketInfo]
) -> InetLookupError:
    usable = [info for info in others if unfitness(info) is None]
    shown = dict.fromkeys(info.endpoint for info in usable)
    if shown:
        first = list(shown)[:8]
        hint = f"it has {', '.join(first)}" + (", …" if len(shown) > len(first) else "")
    else:
        hint = "it has no TCP socket that listens and no UDP socket that receives; its children may"
    return SocketError(f"no socket of {process} matches {selector}", hint=hint)


def _require_namespace(found: list[TakenSocket], namespace: Namespace) -> None:
    """Raise unless all sockets are in the namespace.

    A socket stays in the namespace it was made in, wherever its process went since, so its own
    cookie is what counts. Before Linux 5.14, where it cannot be read, the process's is compared.
    """
    wanted = namespace.cookie
    for taken in found:
        if wanted is not None:
            same = taken.info.netns_cookie == wanted
        else:
            with Namespace.open(taken.process.pid) as theirs:
                same = theirs.is_same(namespace)
        if not same:
            raise SocketError(
                f"{taken.info.endpoint} of {taken.process} is not in {namespace.label}",
                hint=f"a program steers to sockets of its own network namespace only: attach it "
                f"with --netns {taken.process.pid}, or name a server that runs in "
                f"{namespace.label}",
            )


def _one_group(one: SocketInfo, other: SocketInfo) -> bool:
    return (
        one.reuseport
        and other.reuseport
        and (one.family, one.protocol, one.address, one.port)
        == (other.family, other.protocol, other.address, other.port)
    )
