"""The program type that an ELF section's name stands for.

The names are those that C programs use with ``SEC()``, so that objects from elsewhere load
(``Documentation/bpf/libbpf/program_types.rst``).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from .uapi import AttachType, ProgramFlags, ProgramType


@dataclass(frozen=True, slots=True)
class SectionMeaning:
    """What a section's name says about the programs in it.

    :ivar expected_attach_type: None where the type of program has only one.
    :ivar dialect: for programs that the kernel does not take as they are; see
        :class:`~inet_lookup.bpf.dialects.Dialect`.
    """

    type: ProgramType
    expected_attach_type: AttachType | None = None
    flags: ProgramFlags = ProgramFlags(0)  # noqa: RUF009 (immutable)
    dialect: str | None = None


_MEANINGS: Final = {
    "sk_lookup": SectionMeaning(ProgramType.SK_LOOKUP, AttachType.SK_LOOKUP),
    "inet_lookup": SectionMeaning(
        ProgramType.SK_LOOKUP, AttachType.SK_LOOKUP, dialect="inet_lookup"
    ),
    "flow_dissector": SectionMeaning(ProgramType.FLOW_DISSECTOR, AttachType.FLOW_DISSECTOR),
    "sk_reuseport/migrate": SectionMeaning(
        ProgramType.SK_REUSEPORT, AttachType.SK_REUSEPORT_SELECT_OR_MIGRATE
    ),
    "sk_reuseport": SectionMeaning(ProgramType.SK_REUSEPORT, AttachType.SK_REUSEPORT_SELECT),
    "sockops": SectionMeaning(ProgramType.SOCK_OPS, AttachType.CGROUP_SOCK_OPS),
    "sk_msg": SectionMeaning(ProgramType.SK_MSG, AttachType.SK_MSG_VERDICT),
    "sk_skb/stream_parser": SectionMeaning(ProgramType.SK_SKB, AttachType.SK_SKB_STREAM_PARSER),
    "sk_skb/stream_verdict": SectionMeaning(ProgramType.SK_SKB, AttachType.SK_SKB_STREAM_VERDICT),
    "sk_skb/verdict": SectionMeaning(ProgramType.SK_SKB, AttachType.SK_SKB_VERDICT),
    "sk_skb": SectionMeaning(ProgramType.SK_SKB),
    "socket": SectionMeaning(ProgramType.SOCKET_FILTER),
    "xdp.frags": SectionMeaning(ProgramType.XDP, AttachType.XDP, ProgramFlags.XDP_HAS_FRAGS),
    "xdp": SectionMeaning(ProgramType.XDP, AttachType.XDP),
    "tc": SectionMeaning(ProgramType.SCHED_CLS),
    "tcx/ingress": SectionMeaning(ProgramType.SCHED_CLS, AttachType.TCX_INGRESS),
    "tcx/egress": SectionMeaning(ProgramType.SCHED_CLS, AttachType.TCX_EGRESS),
    "classifier": SectionMeaning(ProgramType.SCHED_CLS),
    "syscall": SectionMeaning(ProgramType.SYSCALL),
    "cgroup_skb/ingress": SectionMeaning(ProgramType.CGROUP_SKB, AttachType.CGROUP_INET_INGRESS),
    "cgroup_skb/egress": SectionMeaning(ProgramType.CGROUP_SKB, AttachType.CGROUP_INET_EGRESS),
    "cgroup/skb": SectionMeaning(ProgramType.CGROUP_SKB),
    "cgroup/dev": SectionMeaning(ProgramType.CGROUP_DEVICE, AttachType.CGROUP_DEVICE),
    "cgroup/sysctl": SectionMeaning(ProgramType.CGROUP_SYSCTL, AttachType.CGROUP_SYSCTL),
    "cgroup/getsockopt": SectionMeaning(
        ProgramType.CGROUP_SOCKOPT, AttachType.CGROUP_GETSOCKOPT
    ),
    "cgroup/setsockopt": SectionMeaning(
        ProgramType.CGROUP_SOCKOPT, AttachType.CGROUP_SETSOCKOPT
    ),
} | {
    f"cgroup/{name}": SectionMeaning(ProgramType.CGROUP_SOCK, attach_type)
    for name, attach_type in {
        "sock": AttachType.CGROUP_INET_SOCK_CREATE,
        "sock_create": AttachType.CGROUP_INET_SOCK_CREATE,
        "sock_release": AttachType.CGROUP_INET_SOCK_RELEASE,
        "post_bind4": AttachType.CGROUP_INET4_POST_BIND,
        "post_bind6": AttachType.CGROUP_INET6_POST_BIND,
    }.items()
} | {
    f"cgroup/{name}": SectionMeaning(ProgramType.CGROUP_SOCK_ADDR, attach_type)
    for name, attach_type in {
        "bind4": AttachType.CGROUP_INET4_BIND,
        "bind6": AttachType.CGROUP_INET6_BIND,
        "connect4": AttachType.CGROUP_INET4_CONNECT,
        "connect6": AttachType.CGROUP_INET6_CONNECT,
        "sendmsg4": AttachType.CGROUP_UDP4_SENDMSG,
        "sendmsg6": AttachType.CGROUP_UDP6_SENDMSG,
        "recvmsg4": AttachType.CGROUP_UDP4_RECVMSG,
        "recvmsg6": AttachType.CGROUP_UDP6_RECVMSG,
        "getpeername4": AttachType.CGROUP_INET4_GETPEERNAME,
        "getpeername6": AttachType.CGROUP_INET6_GETPEERNAME,
        "getsockname4": AttachType.CGROUP_INET4_GETSOCKNAME,
        "getsockname6": AttachType.CGROUP_INET6_GETSOCKNAME,
    }.items()
}  # fmt: skip


def meaning_of(section: str) -> SectionMeaning | None:
    """Return what a section's name stands for, or None where it is not known.

    A name may go on behind a slash: ``sk_lookup/two_servers`` means what ``sk_lookup`` does.
    """
    name = section
    while name:
        found = _MEANINGS.get(name)
        if found is not None:
            return found
        name = name.rpartition("/")[0]
    return None


def known_names() -> list[str]:
    """Return the names that are understood, for messages; ``cgroup/…`` stands for many."""
    return sorted({name.partition("/")[0] + ("/…" if "/" in name else "") for name in _MEANINGS})
