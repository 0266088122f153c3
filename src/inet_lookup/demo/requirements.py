"""What the demo needs of the machine, checked before anything is made."""

from __future__ import annotations

import errno

from inet_lookup.bpf import features
from inet_lookup.bpf.privileges import Capability, missing_capabilities
from inet_lookup.errors import PrivilegeError

_OPERATION = "run the demo"


def require_all() -> None:
    """Refuse to start where something is missing, and say what."""
    missing = missing_capabilities(
        (Capability.CAP_SYS_ADMIN, Capability.CAP_NET_ADMIN, Capability.CAP_BPF)
    )
    if missing:
        raise PrivilegeError(
            _OPERATION,
            errno.EPERM,
            "this process lacks " + ", ".join(each.name for each in missing),
            hint="run it as root",
        )
    for feature in (
        features.SK_LOOKUP,
        features.NETNS_LINK,
        features.SOCKET_COOKIES,
        features.PIDFD_GETFD,
        features.RUN_STATISTICS,
    ):
        feature.require(_OPERATION)
