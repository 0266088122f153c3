"""Network namespaces, local routes, and the sockets of running processes.

Nothing here knows what a rule or a program is. Names are imported from their modules when they are
first used, so that a command pays only for what it needs.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from .._lazy import exports

if TYPE_CHECKING:
    from .local_routes import add_local_routes as add_local_routes
    from .local_routes import is_local as is_local
    from .local_routes import local_prefixes as local_prefixes
    from .local_routes import remove_local_routes as remove_local_routes
    from .namespaces import Namespace as Namespace
    from .owners import owners_of as owners_of
    from .processes import Process as Process
    from .processes import TakenSocket as TakenSocket
    from .processes import sockets_of as sockets_of
    from .processes import take_all as take_all
    from .processes import take_one as take_one
    from .selectors import SocketSelector as SocketSelector
    from .sock_diag import ListedSocket as ListedSocket
    from .sock_diag import list_sockets as list_sockets
    from .sockets import SocketInfo as SocketInfo
    from .sockets import SocketState as SocketState
    from .sockets import describe as describe
    from .sockets import require_fit as require_fit
    from .udp_reply import Datagram as Datagram
    from .udp_reply import UdpReplies as UdpReplies

# Which module has which of the names above.
_HOMES = {
    "local_routes": ("add_local_routes", "is_local", "local_prefixes", "remove_local_routes"),
    "namespaces": ("Namespace",),
    "owners": ("owners_of",),
    "processes": ("Process", "TakenSocket", "sockets_of", "take_all", "take_one"),
    "selectors": ("SocketSelector",),
    "sock_diag": ("ListedSocket", "list_sockets"),
    "sockets": ("SocketInfo", "SocketState", "describe", "require_fit"),
    "udp_reply": ("Datagram", "UdpReplies"),
}

if not TYPE_CHECKING:  # a type checker shall find the names above, and no others
    __getattr__, __dir__ = exports(__name__, _HOMES)
