"""The RFC's helper, for programs in Python."""

from __future__ import annotations

from errno import EINVAL

from ..programs.context import Context
from ..programs.inline import inline
from ..programs.maps import SockArray as SockArray
from .verdicts import BPF_REDIRECT


@inline
def redirect_lookup(ctx: Context, sock_array: SockArray, index: int, flags: int = 0) -> int:
    """Select the socket of a slot for the packet (``bpf_redirect_lookup()`` of the RFC).

    It is used if the program then returns ``BPF_REDIRECT``. A later call that succeeds takes its
    place; one that fails does not. The very socket is used: no reuseport group is asked.

    :param ctx: the program's context.
    :param index: the slot.
    :param flags: 0; none are defined.
    :return: ``BPF_REDIRECT`` where the socket was selected, else a negative errno: ``-EINVAL`` for
        flags, ``-ENOENT`` for a slot that is empty or whose socket was closed, ``-EPROTOTYPE`` for
        a socket of another protocol, ``-EAFNOSUPPORT`` for one that does not take this family. And
        one that the RFC does not have: ``-ESOCKTNOSUPPORT`` for a UDP socket that was connected
        after it was put into the array.
    """
    if flags != 0:
        return -EINVAL
    error = sock_array.select(ctx, index, reuseport=False)
    return BPF_REDIRECT if error == 0 else -error
