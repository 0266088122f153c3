"""The RFC's programs in Python."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, overload

from ..programs.compiler.unit import Unit, translate
from ..programs.context import Context as Context
from ..programs.function import ProgramFunction
from .interface import INET_LOOKUP
from .verdicts import BPF_REDIRECT

if TYPE_CHECKING:
    from ..net.sockets import SocketInfo


class InetLookupFunction(ProgramFunction):
    """A program that the RFC's rules apply to: call it in Python, or attach it to a namespace.

    Made by :func:`program`. What holds for other programs in Python holds for it, but for the
    context, which has no ``sk`` and no ``ingress_ifindex``, and the verdict, which is a number.
    """

    def __init__(self, function: Callable[[Context], int], *, license: str = "") -> None:
        super().__init__(function, license=license)  # type: ignore[arg-type]

    def __call__(self, ctx: Context) -> int:  # type: ignore[override]
        """Run the function in plain Python; the verdict, as the function returns it."""
        return super().__call__(ctx)

    def socket_for(self, ctx: Context) -> SocketInfo | None:
        """Return the socket that a packet gets, or None where the regular lookup goes on.

        The function runs in plain Python.
        """
        ctx.sk = None
        return ctx.sk if self(ctx) == BPF_REDIRECT else None

    def check(self) -> Unit:
        """Check the function and translate it as far as that goes without LLVM.

        :raises CompileError: it uses something that cannot be compiled; the message has the place.
        """
        return translate(self.source, license=self._license, interface=INET_LOOKUP)


@overload
def program(function: Callable[[Context], int], /) -> InetLookupFunction: ...
@overload
def program(*, license: str = "") -> Callable[[Callable[[Context], int]], InetLookupFunction]: ...
def program(
    function: Callable[[Context], int] | None = None, /, *, license: str = ""
) -> InetLookupFunction | Callable[[Callable[[Context], int]], InetLookupFunction]:
    """Make a function a program of the RFC's interface.

    ::

        redir_map = SockArray(max_entries=1)

        @program
        def all_ports(ctx: Context) -> int:
            if ctx.protocol != IPPROTO_TCP:
                return BPF_OK
            return redirect_lookup(ctx, redir_map, 0, 0)

        with attach(all_ports, netns="edge"):
            redir_map[0] = listener

    :param license: the licence that the kernel is told; no helper that programs use demands one.
    :raises CompileError: the function uses something that cannot be compiled.
    :raises InetLookupError: it is not defined with ``def``, or its source is not available.
    """
    if function is None:
        return lambda inner: InetLookupFunction(inner, license=license)
    return InetLookupFunction(function)
