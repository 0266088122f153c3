"""The RFC's programs in Python, as ``tests/rfc/c`` has them in C, and both behind one handle."""

from __future__ import annotations

import contextlib
import struct
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from ipaddress import ip_address

from inet_lookup import Array, SockArray
from inet_lookup.bpf import Map, ObjectFile
from inet_lookup.net import Namespace
from inet_lookup.net.sockets import HasFileno
from inet_lookup.rfc import (
    AF_INET,
    AF_INET6,
    BPF_OK,
    IP4,
    Context,
    InetLookupFunction,
    attach,
    bpf_htonl,
    program,
    redirect_lookup,
)
from support import rfc_objects

LANGUAGES = ("clang-14", "clang-19", "python")
EXTERNAL_PORT = 7007
EXTERNAL_IP4 = IP4(127, 0, 0, 1)
EXTERNAL_IP6 = ip_address("fd00::1")


def redirecting(name: str) -> tuple[InetLookupFunction, SockArray]:
    """A new program like that of ``redirect.c`` with the same name, and its socket array."""
    redir_map = SockArray(max_entries=4)

    @program
    def by_port(ctx: Context) -> int:
        if ctx.local_port != EXTERNAL_PORT:
            return BPF_OK
        return redirect_lookup(ctx, redir_map, 0, 0)

    @program
    def by_ip4(ctx: Context) -> int:
        if ctx.family != AF_INET or ctx.local_port != EXTERNAL_PORT:
            return BPF_OK
        if ctx.local_ip4 != bpf_htonl(EXTERNAL_IP4):
            return BPF_OK
        return redirect_lookup(ctx, redir_map, 0, 0)

    @program
    def by_ip6(ctx: Context) -> int:
        if ctx.family != AF_INET6 or ctx.local_port != EXTERNAL_PORT:
            return BPF_OK
        if ctx.local_ip != EXTERNAL_IP6:
            return BPF_OK
        return redirect_lookup(ctx, redir_map, 0, 0)

    return {"by_port": by_port, "by_ip4": by_ip4, "by_ip6": by_ip6}[name], redir_map


@dataclass(frozen=True)
class Attached:
    """A program that is attached: what tests do with it, whatever it is written in."""

    put: Callable[[int, HasFileno], None]
    """Put a socket into a slot of its socket array."""
    results: Callable[[], tuple[int, int]]
    """What the first and the second call of the helper returned last."""


@contextlib.contextmanager
def attached_redirecting(language: str, name: str, namespace: Namespace) -> Iterator[Attached]:
    """Attach a program of ``redirect.c``, or the same in Python."""
    if language == "python":
        function, redir_map = redirecting(name)
        with attach(function, namespace):
            yield Attached(redir_map.__setitem__, _no_results)
        return
    file = ObjectFile.parse(rfc_objects.build("redirect", language), name="redirect.o")
    with (
        file.load(programs=[name]) as loaded,
        attach(loaded.programs[name], namespace),
    ):
        yield Attached(_putter(loaded.maps["redir_map"]), _no_results)


@contextlib.contextmanager
def attached_selecting(
    language: str,
    namespace: Namespace,
    *,
    port: int = EXTERNAL_PORT,
    calls: int = 1,
    second_key: int = 0,
    flags: int = 0,
    verdict: int | None = None,
    attach: Callable[..., contextlib.AbstractContextManager[object]] = attach,
) -> Iterator[Attached]:
    """Attach the program of ``select.c``, told what to do, or the same in Python.

    :param verdict: what it returns; what the helper returned where this is None.
    """
    if language == "python":
        function, redir_map, results = selecting(port, calls, second_key, flags, verdict)
        with attach(function, namespace):
            yield Attached(
                redir_map.__setitem__, lambda: (_signed(results[0]), _signed(results[1]))
            )
        return
    file = ObjectFile.parse(rfc_objects.build("select", language), name="select.o")
    variables = {
        "port": port,
        "calls": calls,
        "second_key": second_key,
        "helper_flags": flags,
        "own_verdict": verdict is not None,
        "verdict": verdict or 0,
    }
    with (
        file.load(variables=variables) as loaded,
        attach(loaded.programs["select_as_told"], namespace),
    ):
        places = [file.variables[f"{each}_result"].offset for each in ("first", "second")]

        def results_in_c() -> tuple[int, int]:
            data = loaded.maps[".bss"].lookup(bytes(4))
            assert data is not None
            first, second = (struct.unpack_from("=i", data, at)[0] for at in places)
            return first, second

        yield Attached(_putter(loaded.maps["redir_map"]), results_in_c)


def selecting(
    port: int, calls: int, second_key: int, flags: int, verdict: int | None
) -> tuple[InetLookupFunction, SockArray, Array]:
    """A new program like that of ``select.c``; its results are kept modulo 2**32."""
    redir_map = SockArray(max_entries=2)
    results = Array(max_entries=2)
    own_verdict, own = verdict is not None, verdict or 0

    @program
    def select_as_told(ctx: Context) -> int:
        result = BPF_OK
        if ctx.local_port != port:
            return BPF_OK
        if calls > 0:
            result = redirect_lookup(ctx, redir_map, 0, flags)
            results[0] = result & 0xFFFF_FFFF
        if calls > 1:
            second = redirect_lookup(ctx, redir_map, second_key, flags)
            results[1] = second & 0xFFFF_FFFF
        return own if own_verdict else result

    return select_as_told, redir_map, results


def _putter(sockets: Map) -> Callable[[int, HasFileno], None]:
    def put(index: int, sock: HasFileno) -> None:
        sockets.update(struct.pack("=I", index), sock.fileno())

    return put


def _no_results() -> tuple[int, int]:
    raise AssertionError("this program keeps no results")


def _signed(number: int) -> int:
    return number - 2**32 if number >> 31 else number
