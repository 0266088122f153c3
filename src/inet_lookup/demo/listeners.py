"""The listening sockets of the demo's servers, taken out of their running processes."""

from __future__ import annotations

import contextlib
import pwd
from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple

from inet_lookup.demo.servers import WebServer
from inet_lookup.errors import SocketError
from inet_lookup.net.namespaces import Namespace
from inet_lookup.net.owners import owners_of
from inet_lookup.net.processes import TakenSocket, take_one
from inet_lookup.net.selectors import SocketSelector
from inet_lookup.net.sock_diag import list_sockets


class Listener(NamedTuple):
    """A server's listening socket.

    :ivar socket: the copy of its descriptor.
    :ivar users: the users of the processes that have it open, root left out.
    """

    socket: TakenSocket
    users: list[str]


@contextlib.contextmanager
def taken(servers: Sequence[WebServer], namespace: Namespace) -> Iterator[list[Listener]]:
    """Take the sockets that servers in a namespace listen on; they are given back after the block.

    :raises SocketError: a server has none.
    :raises PrivilegeError: its processes may not be looked into.
    """
    inodes = {found.port: found.inode for found in namespace.run(list_sockets, "tcp")}
    holders = owners_of(inodes.values())
    with contextlib.ExitStack() as stack:
        listeners = []
        for server in servers:
            processes = holders.get(inodes.get(server.port, 0), [])
            if not processes:
                raise SocketError(f"{server.name} does not listen on port {server.port}")
            selector = SocketSelector(processes[0].pid, "tcp", "::", server.port)
            copy = stack.enter_context(take_one(selector, namespace=namespace))
            listeners.append(Listener(copy, _users(process.pid for process in processes)))
        yield listeners


def _users(pids: Iterable[int]) -> list[str]:
    uids: set[int] = set()
    for pid in pids:
        with contextlib.suppress(OSError), open(f"/proc/{pid}/status") as status:
            # Real, effective, saved and file system uid. The owner of /proc/PID does not tell: it
            # is root for a process that changed its user.
            uids.update(int(line.split()[2]) for line in status if line.startswith("Uid:"))
    return sorted(_name(uid) for uid in uids - {0})


def _name(uid: int) -> str:
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return str(uid)
