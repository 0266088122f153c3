"""What changing a dispatcher needs, asked before anything is touched."""

from __future__ import annotations

import errno

from ..bpf.privileges import Capability, in_initial_user_namespace, missing_capabilities
from ..errors import PrivilegeError


def require_privileges(operation: str) -> None:
    """Refuse to begin what cannot be ended.

    :param operation: what is to be done, as messages say it.
    :raises PrivilegeError: ``CAP_BPF`` or ``CAP_NET_ADMIN`` is missing.
    """
    if missing_capabilities([Capability.CAP_BPF, Capability.CAP_NET_ADMIN]):
        raise PrivilegeError(
            operation,
            errno.EPERM,
            "it needs CAP_BPF and CAP_NET_ADMIN",
            hint="run it as root"
            if in_initial_user_namespace()
            else "start it outside of the container or user namespace",
        )
