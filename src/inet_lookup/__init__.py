"""Programmable socket lookup for Linux: which socket a connection or datagram goes to, in Python.

The names below are what users need; each is imported from its module when it is first used, so that
``import inet_lookup`` costs next to nothing.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from ._version import __version__
from .errors import InetLookupError

if TYPE_CHECKING:
    from socket import (
        AF_INET,
        AF_INET6,
        IPPROTO_TCP,
        IPPROTO_UDP,
        htonl,
        htons,
        ntohl,
        ntohs,
    )

    from .listening import Listener, listen
    from .net.namespaces import Namespace
    from .net.udp_reply import UdpReplies
    from .programs import (
        DROP,
        PASS,
        Address,
        Array,
        Context,
        Counters,
        Hash,
        LpmTrie,
        NetworkSet,
        ProgramLink,
        SockArray,
        Verdict,
        attach,
        inline,
        load,
        program,
        query,
    )

__all__ = [
    "AF_INET",
    "AF_INET6",
    "DROP",
    "IPPROTO_TCP",
    "IPPROTO_UDP",
    "PASS",
    "Address",
    "Array",
    "Context",
    "Counters",
    "Hash",
    "InetLookupError",
    "Listener",
    "LpmTrie",
    "Namespace",
    "NetworkSet",
    "ProgramLink",
    "SockArray",
    "UdpReplies",
    "Verdict",
    "__version__",
    "attach",
    "htonl",
    "htons",
    "inline",
    "listen",
    "load",
    "ntohl",
    "ntohs",
    "program",
    "query",
]


_FROM_SOCKET = frozenset(
    {"AF_INET", "AF_INET6", "IPPROTO_TCP", "IPPROTO_UDP", "htonl", "htons", "ntohl", "ntohs"}
)
_HOMES = {
    "Listener": ".listening",
    "Namespace": ".net.namespaces",
    "UdpReplies": ".net.udp_reply",
    "listen": ".listening",
}
"""Where the names are that are not in ``programs``."""


def __getattr__(name: str) -> object:
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    if name in _FROM_SOCKET:
        home = import_module("socket")
    else:
        home = import_module(_HOMES.get(name, ".programs"), __name__)
    value = globals()[name] = getattr(home, name)
    return value
