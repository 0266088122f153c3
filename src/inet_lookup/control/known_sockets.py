"""From the cookies in sock arrays to sockets and the processes that have them open."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import TYPE_CHECKING

from ..errors import KernelError, NamespaceError

if TYPE_CHECKING:
    from ..net.namespaces import Namespace
    from ..net.processes import Process
    from ..net.sock_diag import ListedSocket


class KnownSockets:
    """Some sockets of a namespace, with their processes: each looked up once.

    :param cookies: of the sockets.
    :param namespace: where they are.
    """

    def __init__(self, cookies: Collection[int], namespace: Namespace) -> None:
        self._sockets = _sockets(cookies, namespace)
        self._processes = _processes([each.inode for each in self._sockets.values()])

    def socket(self, cookie: int) -> ListedSocket | None:
        """The socket with a cookie; None where the namespace has none (any more)."""
        return self._sockets.get(cookie)

    def processes(self, cookie: int) -> list[Process]:
        """Who has the socket open, as far as this process may see."""
        socket = self._sockets.get(cookie)
        return self._processes.get(socket.inode, []) if socket is not None else []


def _sockets(cookies: Collection[int], namespace: Namespace) -> dict[int, ListedSocket]:
    if not cookies:
        return {}
    from ..net.sock_diag import list_sockets

    def read() -> list[ListedSocket]:
        return list_sockets("tcp") + list_sockets("udp")

    try:
        listed = namespace.call(read)
    except (NamespaceError, KernelError):
        return {}
    return {each.cookie: each for each in listed if each.cookie in cookies}


def _processes(inodes: Collection[int]) -> Mapping[int, list[Process]]:
    if not inodes:
        return {}
    from ..net.owners import owners_of

    return owners_of(inodes)
