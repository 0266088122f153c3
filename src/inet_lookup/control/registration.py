"""Which sockets a service is given: checked, and sorted by protocol and family."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ..dispatch.layout import MEMBERS
from ..errors import SocketError
from ..net.sockets import HasFileno, SocketInfo, describe, require_fit
from .service_sockets import Kind

if TYPE_CHECKING:
    from socket import AddressFamily

    from ..net.namespaces import Namespace


@dataclass(frozen=True, slots=True)
class Registration:
    """What registering sockets did.

    :ivar service: the service's name.
    :ivar sockets: those that it has now, of the kinds that were given.
    :ivar left_out: further members of reuseport groups. They get their share of packets all the
        same; only when all of the others close, the group is not found by them.
    """

    service: str
    sockets: tuple[SocketInfo, ...]
    left_out: tuple[SocketInfo, ...]


@dataclass(frozen=True, slots=True)
class OfferedSocket:
    """A socket that is offered to a service.

    :ivar fd: its descriptor, the caller's.
    :ivar info: what it is.
    """

    fd: int
    info: SocketInfo

    def fileno(self) -> int:
        """The descriptor."""
        return self.fd


def sort_sockets(
    service: str, sockets: Iterable[HasFileno | int], namespace: Namespace
) -> dict[Kind, list[OfferedSocket]]:
    """Check sockets and sort them by kind; a socket that is given twice counts once.

    :raises SocketError: there is none; one is closed, or traffic cannot be steered to it; one is in
        another namespace; two of a kind are no reuseport group.
    """
    found: dict[Kind, dict[int, OfferedSocket]] = {}
    cookie = namespace.cookie
    for each in sockets:
        fd = each if isinstance(each, int) else each.fileno()
        info = describe(fd)
        require_fit(info)
        if cookie is not None and info.netns_cookie != cookie:
            raise SocketError(
                f"{info.endpoint} is not in {namespace.label}",
                hint="rules steer to sockets of their own network namespace only",
            )
        members = found.setdefault(kind_of(info), {})
        members.setdefault(info.cookie, OfferedSocket(fd, info))
    if not found:
        raise SocketError(f"no socket is given for the service {service!r}")
    for kind, members in found.items():
        _require_one_group(service, kind, [each.info for each in members.values()])
    return {kind: list(members.values()) for kind, members in found.items()}


def kind_of(info: SocketInfo) -> Kind:
    """The kind of a socket."""
    return Kind(info.protocol == "udp", is_ipv6(info.family))


def is_ipv6(family: AddressFamily) -> bool:
    """Whether a socket's family is IPv6."""
    from socket import AF_INET6

    return family == AF_INET6


def held(members: Sequence[OfferedSocket]) -> Sequence[OfferedSocket]:
    """Those of a group that there is room for."""
    return members[:MEMBERS]


def _require_one_group(service: str, kind: Kind, members: Sequence[SocketInfo]) -> None:
    first = members[0]
    for other in members[1:]:
        if not (
            first.reuseport
            and other.reuseport
            and (first.address, first.port) == (other.address, other.port)
        ):
            raise SocketError(
                f"{first.endpoint} and {other.endpoint} cannot both serve {service!r}: a service"
                f" has one socket, or one reuseport group, for {kind}",
                hint="name one of them by its address and port, or make another service of it",
            )
