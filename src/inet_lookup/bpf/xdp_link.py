"""Links of XDP programs to a network interface.

XDP sees packets before the stack does, and can ask for the socket of one: ``bpf_sk_lookup_tcp()``
and its like answer as the look-up of sockets would, socket lookup programs included.
"""

from __future__ import annotations

import errno
from typing import Final, NamedTuple, Self

from ..errors import KernelError, UnsupportedError
from . import attr
from .failures import Failure, Since, failure
from .kernel_object import KernelObject, read_info
from .privileges import Capability
from .programs import Program
from .syscall import bpf
from .uapi import AttachType, Command, LinkType, XdpMode

_SINCE: Final = Since("a link to a network interface", (5, 9))


class XdpLinkInfo(NamedTuple):
    """What the kernel tells about a link to an interface (``struct bpf_link_info``)."""

    id: int
    program_id: int
    ifindex: int
    """Index of the interface in its namespace, 0 once the link is detached or it is gone."""

    @property
    def attached(self) -> bool:
        """Whether the program still runs on an interface."""
        return self.ifindex != 0


class XdpLink(KernelObject):
    """An XDP program attached to a network interface, as long as the link lives."""

    kind = "link"
    fd_by_id = Command.LINK_GET_FD_BY_ID
    inode_names = ("bpf-link", "bpf_link")

    id: int

    @classmethod
    def create(cls, program: Program, ifindex: int, *, mode: XdpMode = XdpMode.ANY) -> Self:
        """Attach a program to an interface that has none (``BPF_LINK_CREATE``).

        :param ifindex: the index of an interface in the calling thread's network namespace, as
            :func:`socket.if_nametoindex` gives it.
        :param mode: where the program is to run.
        :raises KernelError: ``EBUSY`` or ``EEXIST`` where the interface has a program, ``EINVAL``
            where there is no such interface or the program is of another type.
        :raises UnsupportedError: the driver cannot run it in this mode; or before Linux 5.9.
        """
        request = attr.LinkCreateOnInterface(program.fd, ifindex, AttachType.XDP, mode)
        try:
            fd = bpf(Command.LINK_CREATE, request)
        except OSError as error:
            raise failure(
                error,
                f"attach program {program.name!r} to interface {ifindex} (xdp)",
                meanings=_create_meanings(program, ifindex),
                capabilities=(Capability.CAP_NET_ADMIN, Capability.CAP_BPF),
                since=_SINCE,
            ) from error
        return cls(fd)

    def _describe(self) -> None:
        self.id = self.info().id

    def __repr__(self) -> str:
        if self.closed or "id" not in self.__dict__:
            return super().__repr__()
        return f"<XdpLink id={self.id} fd={self._fd}>"

    def info(self) -> XdpLinkInfo:
        """What the kernel knows of the link now.

        :raises KernelError: ``EINVAL`` where the link is not one to an interface.
        """
        operation = "read a link's info"
        raw = read_info(self.fd, attr.XdpLinkInfoStruct(), operation)
        if raw.type != LinkType.XDP:
            raise KernelError(operation, errno.EINVAL, "it is not a link to a network interface")
        return XdpLinkInfo(raw.id, raw.prog_id, raw.ifindex)

    def detach(self) -> None:
        """End the attachment for all who hold the link; descriptors and pins stay, as shells.

        Does nothing where it is detached already or the interface is gone.
        """
        try:
            bpf(Command.LINK_DETACH, attr.LinkDetach(self.fd))
        except OSError as error:
            raise failure(error, f"detach link {self.id} (xdp)", since=_SINCE) from error


def _create_meanings(program: Program, ifindex: int) -> dict[int, Failure]:
    no_interface = Failure(
        f"there is no interface {ifindex} in this network namespace, or program "
        f"{program.name!r} ({program.type.label}) is not one to attach as xdp"
    )
    occupied = Failure(
        "the interface has an XDP program", "detach that one first: ip link show says which it is"
    )
    return {
        errno.EINVAL: no_interface,
        errno.ENODEV: no_interface,
        errno.EBUSY: occupied,
        errno.EEXIST: occupied,
        errno.EOPNOTSUPP: Failure(
            "the interface's driver cannot run XDP programs in this mode",
            "use XdpMode.GENERIC",
            UnsupportedError,
        ),
    }
