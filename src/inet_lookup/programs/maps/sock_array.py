"""The sockets that a program redirects to, by index."""

from __future__ import annotations

import errno
import socket
import struct
from typing import TYPE_CHECKING

from ...errors import CapacityError, SocketError
from ...net.sockets import HasFileno, SocketInfo, SocketState, describe, require_fit, unfitness
from ..context import Context
from ..verdict import PASS, Verdict
from .base import ProgramMap
from .indexed import check_index, index_key

if TYPE_CHECKING:
    from ...bpf import Map, MapType


class SockArray(ProgramMap):
    """An array of sockets (``BPF_MAP_TYPE_SOCKMAP`` with socket cookies as values; Linux 5.9).

    ::

        servers = SockArray(max_entries=2)

        @program
        def steer(ctx: Context) -> Verdict:
            return servers.redirect(ctx, 0)

        with attach(steer) as link:
            servers[0] = listener

    A slot holds a TCP socket that listens or a UDP socket that is not connected. It does not keep
    the socket open: when its last owner closes it, the slot is empty. A member of a reuseport group
    stands for its group, in which the kernel then balances; when that member closes, its slot
    empties although the group lives on.

    :param max_entries: the number of slots.
    """

    def __init__(self, max_entries: int) -> None:
        super().__init__(max_entries, key_size=4, value_size=8)
        self._sockets: dict[int, tuple[int, SocketInfo]] = {}

    @property
    def type(self) -> MapType:
        """``BPF_MAP_TYPE_SOCKMAP``."""
        from ...bpf import MapType

        return MapType.SOCKMAP

    def fill(self, kernel: Map) -> None:
        """Put the sockets that Python holds for the slots into the kernel map."""
        for index in list(self._sockets):
            info = self._live(index)
            if info is not None:
                kernel.update(index_key(index), self._sockets[index][0])

    def redirect(
        self,
        ctx: Context,
        index: int,
        *,
        otherwise: Verdict = PASS,
        reuseport: bool = True,
    ) -> Verdict:
        """Select the socket of a slot for the packet.

        It replaces a socket selected before, by this program or an earlier one. Where the slot is
        empty or beyond the array, or the socket does not fit the packet (another protocol; IPv4 for
        an IPv6 packet; V6ONLY for an IPv4 packet), nothing is selected.

        :param ctx: the program's context.
        :param index: the slot.
        :param otherwise: the verdict where nothing was selected: PASS goes on with what was
            selected before or with the regular lookup, as the RFC has it; DROP ends the lookup.
        :param reuseport: whether the kernel chooses within the socket's reuseport group; with False
            the packet goes to the very socket of the slot (``BPF_SK_LOOKUP_F_NO_REUSEPORT``).
        :return: PASS where the socket was selected, ``otherwise`` where not.
        """
        return PASS if self.select(ctx, index, reuseport=reuseport) == 0 else otherwise

    def select(self, ctx: Context, index: int, *, reuseport: bool = True) -> int:
        """Select the socket of a slot for the packet, and say why where that fails.

        :param ctx: the program's context.
        :param index: the slot.
        :param reuseport: as for :meth:`redirect`.
        :return: 0, or the errno: ``ENOENT`` where the slot is empty or beyond the array,
            ``EPROTOTYPE`` for a socket of another protocol, ``EAFNOSUPPORT`` for one of a family
            that does not fit, ``ESOCKTNOSUPPORT`` for one that is connected (``bpf_sk_assign()``).
        """
        info = self._live(index) if 0 <= index < self.max_entries else None
        if info is None:
            return errno.ENOENT
        if unfitness(info) is not None:
            return errno.ESOCKTNOSUPPORT
        if _PROTOCOLS.get(info.protocol) != ctx.protocol:
            return errno.EPROTOTYPE
        if info.family != ctx.family and (info.family == socket.AF_INET or info.v6only):
            return errno.EAFNOSUPPORT
        ctx.sk = info
        return 0

    def __setitem__(self, index: int, sock: HasFileno | int) -> None:
        """Put a socket into a slot, replacing what was there.

        :param sock: a socket object or a file descriptor; it stays the caller's to close.
        :raises IndexError: the index is out of range.
        :raises SocketError: it is not a listening TCP or unconnected UDP socket, or is closed.
        """
        self._check(index)
        fd = sock if isinstance(sock, int) else sock.fileno()
        info = describe(fd)
        require_fit(info)
        if self._kernel is not None:
            self._kernel.update(index_key(index), fd)
        self._sockets[index] = (fd, info)

    def __getitem__(self, index: int) -> SocketInfo | int | None:
        """Return the socket in a slot: what is known of it, or its cookie alone, or None.

        :raises IndexError: the index is out of range.
        """
        self._check(index)
        cookie = self._cookie(index)
        if cookie is None:
            return None
        held = self._sockets.get(index)
        return held[1] if held is not None and held[1].cookie == cookie else cookie

    def __delitem__(self, index: int) -> None:
        """Empty a slot; nothing happens where it is empty.

        :raises IndexError: the index is out of range.
        """
        self._check(index)
        if self._kernel is not None:
            self._kernel.delete(index_key(index))
        self._sockets.pop(index, None)

    def __len__(self) -> int:
        return self.max_entries

    def append(self, sock: HasFileno | int) -> int:
        """Put a socket into the first empty slot.

        :return: the slot's index.
        :raises CapacityError: every slot holds a socket.
        :raises SocketError: as for assigning to a slot.
        """
        for index in range(self.max_entries):
            if self._cookie(index) is None:
                self[index] = sock
                return index
        raise CapacityError(
            "add a socket to a sock array",
            errno.E2BIG,
            f"all {self.max_entries} slots hold a socket",
            hint="remove one with del array[index], or declare it with a larger max_entries",
        )

    def _check(self, index: int) -> None:
        check_index(index, self.max_entries, "slots")

    def _cookie(self, index: int) -> int | None:
        if self._kernel is None:
            info = self._live(index)
            return None if info is None else info.cookie
        raw = self._kernel.lookup(index_key(index))
        return None if raw is None else int(struct.unpack("=Q", raw)[0])

    def _live(self, index: int) -> SocketInfo | None:
        """Return the socket of a slot as the kernel would find it now."""
        held = self._sockets.get(index)
        if held is None:
            return None
        fd, info = held
        try:
            # The descriptor may be closed, or be another socket by now.
            now = describe(fd)
            current = now if now.cookie == info.cookie else None
        except SocketError:
            current = None
        if self._kernel is not None:
            raw = self._kernel.lookup(index_key(index))
            if raw is None or struct.unpack("=Q", raw)[0] != info.cookie:
                return None
            # Another process may hold the socket open: what was known of it has to do.
            return current or info
        if current is None or unfitness(current) is None:
            return current
        # Loading a program puts a UDP socket that is connected by now into the map, and nothing
        # else that is not fit.
        connected = current.protocol == "udp" and current.state is SocketState.CONNECTED
        return current if connected else None


_PROTOCOLS = {"tcp": socket.IPPROTO_TCP, "udp": socket.IPPROTO_UDP}
