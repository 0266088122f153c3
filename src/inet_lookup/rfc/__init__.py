"""The API of the RFC "Programming socket lookup with BPF" (RFCv2, August 2019), on today's kernels.

The RFC's idea went into Linux 5.9 as ``sk_lookup``, with other names and in part other rules. Here
are the RFC's own: a header for programs in C (``include/``, found with ``inet-lookup
include-dir``), what loads them so that they behave as the RFC says, the same in Python, and
attaching, detaching and querying its way. ``docs/rfc.md`` compares them point by point.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from .._lazy import exports

if TYPE_CHECKING:
    from .attachment import attach as attach
    from .attachment import detach as detach
    from .attachment import query as query
    from .context_check import ContextAccessError as ContextAccessError
    from .exclusive import Attachment as Attachment
    from .function import Context as Context
    from .function import InetLookupFunction as InetLookupFunction
    from .function import program as program
    from .headers import include_dir as include_dir
    from .names import AF_INET as AF_INET
    from .names import AF_INET6 as AF_INET6
    from .names import IP4 as IP4
    from .names import IPPROTO_TCP as IPPROTO_TCP
    from .names import IPPROTO_UDP as IPPROTO_UDP
    from .names import bpf_htonl as bpf_htonl
    from .names import bpf_htons as bpf_htons
    from .names import bpf_ntohl as bpf_ntohl
    from .names import bpf_ntohs as bpf_ntohs
    from .redirection import SockArray as SockArray
    from .redirection import redirect_lookup as redirect_lookup
    from .verdicts import BPF_DROP as BPF_DROP
    from .verdicts import BPF_OK as BPF_OK
    from .verdicts import BPF_REDIRECT as BPF_REDIRECT

# Which module has which of the names above.
_HOMES = {
    "attachment": ("attach", "detach", "query"),
    "context_check": ("ContextAccessError",),
    "exclusive": ("Attachment",),
    "function": ("Context", "InetLookupFunction", "program"),
    "headers": ("include_dir",),
    "names": (
        "AF_INET",
        "AF_INET6",
        "IP4",
        "IPPROTO_TCP",
        "IPPROTO_UDP",
        "bpf_htonl",
        "bpf_htons",
        "bpf_ntohl",
        "bpf_ntohs",
    ),
    "redirection": ("SockArray", "redirect_lookup"),
    "verdicts": ("BPF_DROP", "BPF_OK", "BPF_REDIRECT"),
}

if not TYPE_CHECKING:  # a type checker shall find the names above, and no others
    __getattr__, __dir__ = exports(__name__, _HOMES)
