"""Attaching programs to network namespaces, and asking what is attached."""

from __future__ import annotations

import errno
import os
from contextlib import ExitStack
from typing import TYPE_CHECKING, NamedTuple, TypeAlias

from ..bpf.handle import Resource
from ..errors import KernelError
from ..net.namespaces import Namespace
from .loading import LoadedProgram, load

if TYPE_CHECKING:
    from ..bpf import LinkInfo, NetnsLink
    from .function import ProgramFunction

NamespaceSpec: TypeAlias = str | int | os.PathLike[str] | Namespace | None


class ProgramLink(Resource):
    """A program attached to a namespace; made by :func:`attach`.

    A context manager. Closing it detaches the program, unless the link is pinned.
    """

    def __init__(self, link: NetnsLink, loaded: LoadedProgram) -> None:
        super().__init__()
        self._link = link
        self._loaded = loaded

    @property
    def program(self) -> LoadedProgram:
        """The program that runs now."""
        return self._loaded

    @property
    def link(self) -> NetnsLink:
        """The kernel's link."""
        return self._link

    def info(self) -> LinkInfo:
        """Return the link's id, its program's id and the inode of its namespace."""
        return self._link.info()

    def pin(self, path: str | os.PathLike[str]) -> None:
        """Keep the program attached after this process has ended.

        Its maps live on with it, but this process's map objects let go of them when the link is
        closed: pin a map too (``link.program.maps["servers"].kernel_map.pin(path)``) to reach it
        later. ``inet-lookup prog attach`` does both.

        :param path: a new file in a mounted bpffs.
        :raises BpffsError: there is no bpffs at the path.
        :raises KernelError: the file exists, or its directory does not.
        """
        self._link.pin(path)

    def replace(self, function: ProgramFunction) -> None:
        """Put another program in this one's place, in one step: no packet meets neither.

        Maps that both use keep their content. When anything fails, the old program stays.

        :raises CompileError: the new program cannot be compiled.
        :raises VerifierError: the kernel's verifier rejects it.
        """
        loaded = load(function)
        try:
            self._link.update(loaded.program)
        except BaseException:
            loaded.close()
            raise
        self._loaded.close()
        self._loaded = loaded

    def detach(self) -> None:
        """Detach the program now, pinned or not, and close this object (Linux 5.9)."""
        self._link.detach()
        self.close()

    def _release(self) -> None:
        self._link.close()
        self._loaded.close()

    def __repr__(self) -> str:
        state = "closed" if self.closed else f"id={self._link.id}"
        return f"<ProgramLink {self._loaded.name} {state}>"


class AttachedProgram(NamedTuple):
    """One program of a namespace, whoever attached it.

    :ivar position: its place in the order of running, from 0.
    :ivar id: the program's id.
    :ivar name: the program's name in the kernel, 15 characters at most.
    """

    position: int
    id: int
    name: str


def attach(function: ProgramFunction, netns: NamespaceSpec = None) -> ProgramLink:
    """Compile a program and attach it to a network namespace, behind those already there.

    ::

        with attach(two_http_servers, netns="edge") as link:
            servers[0] = listener

    :param netns: a namespace's name, path or pid, an open :class:`Namespace`, or None for that of
        the calling thread.
    :return: the link; the program runs until it is closed.
    :raises CompileError: the program cannot be compiled.
    :raises VerifierError: the kernel's verifier rejects it.
    :raises NamespaceError: there is no such namespace.
    :raises PrivilegeError: ``CAP_BPF`` and ``CAP_NET_ADMIN`` are missing.
    :raises CapacityError: the namespace has 64 programs already.
    """
    from ..bpf import AttachType, NetnsLink

    with ExitStack() as stack:
        namespace = _open(netns, stack)
        loaded = stack.enter_context(load(function))
        link = NetnsLink.create(loaded.program, namespace.fileno(), AttachType.SK_LOOKUP)
        if not isinstance(netns, Namespace):
            namespace.close()
        stack.pop_all()
        return ProgramLink(link, loaded)


def query(netns: NamespaceSpec = None) -> list[AttachedProgram]:
    """Return the socket lookup programs of a namespace in the order in which they run.

    :param netns: as for :func:`attach`.
    :raises NamespaceError: there is no such namespace.
    :raises PrivilegeError: ``CAP_NET_ADMIN``, or ``CAP_SYS_ADMIN`` for the names, is missing.
    """
    with ExitStack() as stack:
        namespace = _open(netns, stack)
        while True:
            try:
                return _attached(namespace)
            except KernelError as error:
                # A program that was listed has gone since: the list is not true any more.
                if error.errno != errno.ENOENT:
                    raise


def _attached(namespace: Namespace) -> list[AttachedProgram]:
    from ..bpf import AttachType, Program
    from ..bpf import query as query_ids

    attached = []
    for position, id_ in enumerate(query_ids(namespace.fileno(), AttachType.SK_LOOKUP)):
        with Program.from_id(id_) as program:
            attached.append(AttachedProgram(position, id_, program.name))
    return attached


def _open(netns: NamespaceSpec, stack: ExitStack) -> Namespace:
    if isinstance(netns, Namespace):
        return netns
    return stack.enter_context(Namespace.open(netns))
