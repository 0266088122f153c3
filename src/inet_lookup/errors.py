"""Every error that inet-lookup raises on purpose, as one hierarchy.

Catch :class:`InetLookupError` to catch all of them. Each carries the message that a user reads and,
where there is a mend, a hint; the command prints both as ``error: …`` and ``hint: …``.
"""

from __future__ import annotations

import errno as _errno

# ENOTSUP is the same number, and not what the kernel's sources and documents call it. The kernel's
# own ENOTSUPP escapes through bpf(2); the C library has no name for it.
_NAMES = {**_errno.errorcode, _errno.EOPNOTSUPP: "EOPNOTSUPP", 524: "ENOTSUPP"}


class InetLookupError(Exception):
    """Base of all errors of this package.

    :param message: what happened and which value caused it, as one sentence without a full stop.
    :param hint: what the user can do about it, or None where nothing is known.
    """

    def __init__(self, message: str, *, hint: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint

    def __str__(self) -> str:
        return f"{self.message} ({self.hint})" if self.hint else self.message


class KernelError(InetLookupError):
    """A system call failed.

    :param operation: what was being done, such as ``create map 'servers' (sockmap)``.
    :param errno: the errno that the kernel returned; positive.
    :param meaning: what this errno means for this operation, in words.
    :param hint: what to do about it.
    """

    def __init__(
        self, operation: str, errno: int, meaning: str | None = None, *, hint: str | None = None
    ) -> None:
        name = _NAMES.get(errno, str(errno))
        super().__init__(f"{operation}: {name}" + (f": {meaning}" if meaning else ""), hint=hint)
        self.operation = operation
        self.errno = errno
        self.errno_name = name
        self.meaning = meaning


class PrivilegeError(KernelError):
    """The process lacks a capability that the operation needs; the hint names it."""


class UnsupportedError(KernelError):
    """The running kernel lacks the feature; the message says since which version it exists."""


class BpffsError(KernelError):
    """A pin cannot be made or opened because no BPF file system is mounted at the path."""


class CapacityError(KernelError):
    """A limit is reached: a map is full, or a namespace holds as many programs as it may."""


class VerifierError(KernelError):
    """The kernel's verifier rejected a program.

    :param summary: the verifier's last word, as one line.
    :param log: the verifier's whole log.
    :param location: ``file:line`` of the source line that the rejected instruction came from.
    :param source: the text of that line.
    """

    def __init__(
        self,
        operation: str,
        errno: int,
        summary: str,
        *,
        log: str,
        location: str | None = None,
        source: str | None = None,
        hint: str | None = None,
    ) -> None:
        where = f" at {location}" if location else ""
        shown = f"\n    {source.strip()}" if source else ""
        super().__init__(operation, errno, f"the verifier says: {summary}{where}{shown}", hint=hint)
        self.summary = summary
        self.log = log
        self.location = location
        self.source = source


class ObjectFileError(InetLookupError):
    """An ELF object cannot be read or uses something that these program types do not support."""


class NamespaceError(InetLookupError):
    """A network namespace does not exist or cannot be entered."""


class SocketError(InetLookupError):
    """A socket is of the wrong kind or state for what is asked of it, or cannot be taken."""


class SocketRefusedError(KernelError, SocketError):
    """The kernel does not take a socket into a map; the message says what it would take."""


class CompileError(InetLookupError):
    """A Python function uses something that cannot be compiled to BPF.

    :param filename: the file of the function.
    :param line: the line number, from 1.
    :param column: the column, from 1.
    :param source: the text of that line.
    :ivar undefined: whether the reason is just a name that has no value yet.
    """

    undefined = False

    def __init__(
        self,
        problem: str,
        *,
        filename: str,
        line: int,
        column: int,
        source: str,
        hint: str | None = None,
    ) -> None:
        text = source.rstrip("\n")
        stripped = text.lstrip()
        caret = " " * max(column - 1 - (len(text) - len(stripped)), 0) + "^"
        super().__init__(
            f"{filename}:{line}:{column}: {problem}\n    {stripped}\n    {caret}", hint=hint
        )
        self.problem = problem
        self.filename = filename
        self.line = line
        self.column = column
        self.source = source


class DispatcherMissingError(InetLookupError):
    """No dispatcher is loaded in the namespace."""


class NewerLayoutError(InetLookupError):
    """A newer version of this package made what is pinned, and this one cannot read it."""


class UnreadableStateError(InetLookupError):
    """What is pinned is not what this package wrote there."""
