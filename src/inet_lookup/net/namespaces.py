"""Network namespaces: open one by name, path or pid, make one, and run code in it.

A namespace is entered with :manpage:`setns(2)` by a thread that ends afterwards, so that nothing
else of the process moves. ``ip netns exec`` is no substitute: it also makes a mount namespace with
a fresh ``/sys``, in which the machine's bpffs at ``/sys/fs/bpf``, and every pin in it, is missing.
"""

from __future__ import annotations

import contextvars
import errno
import fcntl
import os
import socket
import stat
import struct
import threading
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, Final, Generic, ParamSpec, TypeVar

from inet_lookup.bpf.handle import Resource
from inet_lookup.errors import NamespaceError
from inet_lookup.net.syscalls import CLONE_NEWNET, getsockopt, setns, unshare

if TYPE_CHECKING:
    import subprocess

P = ParamSpec("P")
T = TypeVar("T")

NAMES: Final = "/run/netns"
"""Where ``ip netns add NAME`` keeps the namespaces that have names."""

_CURRENT: Final = "/proc/thread-self/ns/net"

_NS_GET_NSTYPE: Final = 0xB703  # ioctl_nsfs(2), Linux 4.11
_SO_NETNS_COOKIE: Final = 71  # Linux 5.14
_SIOCGIFFLAGS: Final = 0x8913
_SIOCSIFFLAGS: Final = 0x8914
_IFF_UP: Final = 0x1

_GRACE_SECONDS: Final = 1.0
"""How long an interrupted :meth:`Namespace.run` waits for its function to end."""


class Namespace(Resource):
    """An open network namespace. It exists at least as long as this object is open.

    A context manager that closes its file descriptor; :meth:`close` does the same.

    :param fd: a file descriptor of the namespace, owned by this object from now on.
    :param label: how messages call the namespace, such as ``network namespace 'edge'``.
    :param name: its name under ``/run/netns``, where it was opened by name.

    Example::

        with Namespace.open("edge") as edge:
            listener = edge.run(socket.create_server, ("192.0.2.1", 80))
    """

    def __init__(self, fd: int, label: str, *, name: str | None = None) -> None:
        super().__init__()
        self._fd = fd
        self.label = label
        self.name = name

    @classmethod
    def open(cls, spec: str | int | os.PathLike[str] | None = None) -> Namespace:
        """Open an existing namespace.

        :param spec: a name as ``ip netns list`` shows it; a path (a string with a ``/``, or a path
            object) such as ``/proc/1/ns/net``; the pid of a process in it (a number, or a string of
            digits); or None for the namespace of the calling thread. A name that consists of
            digits can be given as the path ``/run/netns/NAME``.
        :raises NamespaceError: there is no such namespace, the path is no network namespace, or
            the process may not open it.
        """
        if spec is None:
            return cls._open(_CURRENT, "the current network namespace")
        if isinstance(spec, int) or (isinstance(spec, str) and spec.isascii() and spec.isdigit()):
            return cls._open_pid(int(spec))
        path = os.fspath(spec)
        if not isinstance(spec, str) or "/" in path:
            return cls._open(path, f"network namespace {path}")
        return cls._open_name(path)

    @classmethod
    def create(cls, *, loopback: bool = True) -> Namespace:
        """Make a namespace without a name. The kernel frees it when nothing holds it any more.

        :param loopback: set its interface ``lo`` up. A new namespace has it down.
        :raises NamespaceError: no privilege (``CAP_SYS_ADMIN``), or the kernel's limit is reached.
        """

        def make() -> Namespace:
            try:
                unshare(CLONE_NEWNET)
            except OSError as error:
                raise _creation_error(error) from error
            namespace = cls._open(_CURRENT, "a new network namespace")
            namespace.label = f"network namespace net:[{namespace.inode}]"
            if loopback:
                _set_loopback_up()
            return namespace

        errand = _Errand(make)
        errand.start("new network namespace")
        return errand.wait()

    @property
    def inode(self) -> int:
        """The namespace's inode number: N of ``net:[N]`` in ``/proc/PID/ns/net``.

        It tells the namespaces that exist at one time apart; that of a freed one is used again.
        """
        return os.fstat(self.fileno()).st_ino

    @property
    def cookie(self) -> int | None:
        """The namespace's cookie, unique until reboot, or None before Linux 5.14."""

        def read() -> int | None:
            with socket.socket(socket.AF_INET, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as probe:
                return netns_cookie(probe.fileno())

        return self.call(read)

    def fileno(self) -> int:
        """The file descriptor of the namespace.

        :raises NamespaceError: the object is closed.
        """
        if self.closed:
            raise NamespaceError(f"{self.label} is closed")
        return self._fd

    def is_same(self, other: Namespace) -> bool:
        """Whether both objects are open on one and the same namespace."""
        return self.inode == other.inode

    def run(self, function: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> T:
        """Call a function in the namespace and return what it returns.

        It is called in a thread of its own, with the caller's context variables, and what it raises
        is raised here with its traceback. The calling thread stays where it is. Sockets that the
        function makes belong to the namespace for good; so do processes that it starts.

        When Ctrl-C (or a signal handler that raises) ends the wait, the function is given a second
        to end by itself. What it returns then or later is discarded: a process is killed, an object
        with ``close()`` is closed.

        :raises NamespaceError: the namespace cannot be entered.
        """
        entrance = os.dup(self.fileno())  # the thread may outlive this object, see above

        def enter() -> T:
            try:
                # Entering needs CAP_SYS_ADMIN, also where it would change nothing.
                if not _is_current(entrance):
                    setns(entrance, CLONE_NEWNET)
            except OSError as error:
                raise _entry_error(error, self.label) from error
            finally:
                os.close(entrance)
            return function(*args, **kwargs)

        errand = _Errand(enter)
        try:
            errand.start(self.label)
        except RuntimeError:  # no more threads can be started: enter() will not close it
            os.close(entrance)
            raise
        return errand.wait()

    def call(self, function: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> T:
        """Call a function in the namespace: at once where the calling thread is in it, else by run.

        Entering a namespace needs ``CAP_SYS_ADMIN``, staying in it does not.

        :raises NamespaceError: the namespace cannot be entered.
        """
        if os.stat(_CURRENT).st_ino == self.inode:
            return function(*args, **kwargs)
        return self.run(function, *args, **kwargs)

    def popen(
        self, args: Sequence[str | os.PathLike[str]], **options: Any
    ) -> subprocess.Popen[Any]:
        """Start a process in the namespace, with the mounts that this process has.

        A parent-death signal (``PR_SET_PDEATHSIG``) must not be set for it: the thread that
        starts it ends at once, and the kernel takes that thread for the parent.

        :param args: the command and its arguments.
        :param options: further arguments of :class:`subprocess.Popen`.
        :raises NamespaceError: the namespace cannot be entered.
        :raises OSError: the command cannot be run, as :class:`subprocess.Popen` raises it.
        """
        import subprocess

        def start() -> subprocess.Popen[Any]:
            return subprocess.Popen(args, **options)

        return self.run(start)

    def _release(self) -> None:
        os.close(self._fd)

    def __repr__(self) -> str:
        state = "closed" if self.closed else f"fd {self._fd}"
        return f"<Namespace {self.label}, {state}>"

    @classmethod
    def _open(cls, path: str, label: str, *, name: str | None = None) -> Namespace:
        try:
            # O_NONBLOCK: opening a FIFO that was named by mistake must not wait for a writer.
            fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
        except OSError as error:
            raise _open_error(error, path) from error
        try:
            _check_kind(fd, path)
        except BaseException:
            os.close(fd)
            raise
        return cls(fd, label, name=name)

    @classmethod
    def _open_pid(cls, pid: int) -> Namespace:
        label = f"network namespace of process {pid}"
        try:
            return cls._open(f"/proc/{pid}/ns/net", label)
        except NamespaceError as error:
            cause = error.__cause__
            if not isinstance(cause, OSError) or cause.errno not in (errno.ENOENT, errno.ESRCH):
                raise
            if os.path.exists(f"/proc/{pid}"):
                raise NamespaceError(f"process {pid} has ended and has no namespace") from cause
            path = os.path.join(NAMES, str(pid))
            raise NamespaceError(
                f"there is no process {pid}",
                hint=f"for the namespace of that name give its path, {path}"
                if os.path.exists(path)
                else None,
            ) from cause

    @classmethod
    def _open_name(cls, name: str) -> Namespace:
        if name in ("", ".", ".."):
            raise NamespaceError(f"{name!r} is no name of a network namespace", hint=_names_hint())
        try:
            return cls._open(os.path.join(NAMES, name), f"network namespace '{name}'", name=name)
        except NamespaceError as error:
            cause = error.__cause__
            if isinstance(cause, OSError) and cause.errno == errno.ENOENT:
                raise NamespaceError(
                    f"there is no network namespace named '{name}'", hint=_names_hint(name)
                ) from cause
            raise


def names() -> list[str]:
    """The names of the namespaces under ``/run/netns``, sorted; ``ip netns list`` shows them."""
    try:
        return sorted(os.listdir(NAMES))
    except OSError:
        return []


def netns_cookie(fd: int) -> int | None:
    """The cookie of the namespace that a socket belongs to, or None before Linux 5.14.

    :param fd: the descriptor of a socket.
    """
    try:
        raw = getsockopt(fd, socket.SOL_SOCKET, _SO_NETNS_COOKIE, 8)
    except OSError as error:
        if error.errno == errno.ENOPROTOOPT:
            return None
        raise
    return int(struct.unpack("=Q", raw)[0])


class _Errand(Generic[T]):
    """One call in a thread of its own, waited for."""

    def __init__(self, call: Callable[[], T]) -> None:
        self._call = call
        self._context = contextvars.copy_context()
        self._lock = threading.Lock()
        self._done = threading.Event()
        self._abandoned = False
        self._result: list[T] = []
        self._error: BaseException | None = None

    def start(self, where: str) -> None:
        # A daemon: a function that never returns must not keep an interrupted program from ending.
        self._thread = threading.Thread(target=self._work, name=where, daemon=True)
        self._thread.start()

    def wait(self) -> T:
        try:
            # Not Thread.join(): until Python 3.13 a join() that a signal handler's exception ends
            # takes the thread for a finished one.
            self._done.wait()
            self._thread.join()
        except BaseException:
            if self._done.wait(_GRACE_SECONDS):
                self._thread.join(_GRACE_SECONDS)
            with self._lock:
                self._abandoned = True
            self._discard()
            raise
        try:
            if self._error is not None:
                raise self._error
            return self._result.pop()
        finally:
            self._error = None  # its traceback refers to this frame: do not keep the cycle alive

    def _work(self) -> None:
        try:
            result = self._context.run(self._call)
        except BaseException as error:
            self._error = error
        else:
            with self._lock:
                self._result.append(result)
                abandoned = self._abandoned
            if abandoned:
                self._discard()
        finally:
            self._done.set()

    def _discard(self) -> None:
        with self._lock:
            if not self._result:
                return
            result: Any = self._result.pop()
        if callable(getattr(result, "kill", None)) and callable(getattr(result, "wait", None)):
            result.kill()
            result.wait()
        elif callable(getattr(result, "close", None)):
            result.close()


def _is_current(fd: int) -> bool:
    """Whether a namespace is the one that the calling thread is in."""
    return os.path.samestat(os.fstat(fd), os.stat(_CURRENT))


def _check_kind(fd: int, path: str) -> None:
    """Raise unless the file is a network namespace's.

    All namespace files lie on the kernel's one nsfs, whose device number tells them from other
    files before an ioctl, which another file might take for something else, is tried.
    """
    if os.fstat(fd).st_dev != os.stat(_CURRENT).st_dev:
        hint = None
        directory, name = os.path.split(path)
        if directory == NAMES and stat.S_ISREG(os.fstat(fd).st_mode):
            hint = (
                "nothing is mounted on this file any more, or the mount is in another mount "
                f"namespace: 'ip netns delete {name}' removes it"
            )
        raise NamespaceError(f"{path} is not a namespace", hint=hint)
    if fcntl.ioctl(fd, _NS_GET_NSTYPE) != CLONE_NEWNET:
        raise NamespaceError(
            f"{path} is a namespace of another kind, not a network namespace",
            hint="a process's network namespace is /proc/PID/ns/net",
        )


def _open_error(error: OSError, path: str) -> NamespaceError:
    if error.errno == errno.ENOENT:
        return NamespaceError(f"there is no network namespace {path}")
    if error.errno in (errno.EACCES, errno.EPERM):
        hint = "run as root"
        if path.startswith("/proc/"):
            hint += ", or with CAP_SYS_PTRACE to look into processes of other users"
        return NamespaceError(f"no permission to open {path}", hint=hint)
    return NamespaceError(f"cannot open {path}: {os.strerror(error.errno or 0)}")


def _entry_error(error: OSError, label: str) -> NamespaceError:
    if error.errno == errno.EPERM:
        return NamespaceError(
            f"no permission to enter {label}",
            hint="entering a network namespace needs CAP_SYS_ADMIN: run as root",
        )
    return NamespaceError(f"cannot enter {label}: {os.strerror(error.errno or 0)}")


def _creation_error(error: OSError) -> NamespaceError:
    if error.errno == errno.EPERM:
        return NamespaceError(
            "no permission to make a network namespace",
            hint="making a network namespace needs CAP_SYS_ADMIN: run as root",
        )
    hint = None
    if error.errno == errno.ENOSPC:
        hint = "the limit is in /proc/sys/user/max_net_namespaces"
    return NamespaceError(
        f"cannot make a network namespace: {os.strerror(error.errno or 0)}", hint=hint
    )


def _names_hint(name: str = "") -> str:
    existing = names()
    if not existing:
        return f"there are none in {NAMES}; 'ip netns add NAME' makes one"
    import difflib

    close = difflib.get_close_matches(name, existing, n=3, cutoff=0.5)
    if close:
        return "did you mean " + " or ".join(f"'{each}'" for each in close) + "?"
    shown = ", ".join(existing[:10]) + (", …" if len(existing) > 10 else "")
    return f"there are: {shown}"


def _set_loopback_up() -> None:
    """Set ``lo`` of the calling thread's namespace up."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as control:
        request = struct.pack("16sh22x", b"lo", 0)
        (flags,) = struct.unpack_from("h", fcntl.ioctl(control, _SIOCGIFFLAGS, request), 16)
        fcntl.ioctl(control, _SIOCSIFFLAGS, struct.pack("16sh22x", b"lo", flags | _IFF_UP))
