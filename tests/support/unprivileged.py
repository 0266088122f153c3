"""Running a function with fewer privileges, in a process of its own."""

from __future__ import annotations

import ctypes
import os
import pickle
import struct
import traceback
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from inet_lookup.errors import InetLookupError

_libc = ctypes.CDLL(None, use_errno=True)
_VERSION_3 = 0x20080522  # _LINUX_CAPABILITY_VERSION_3


@dataclass(frozen=True)
class Outcome:
    """What a function came to: a value, or the error that it raised."""

    value: object = None
    error: str | None = None
    text: str = ""
    hint: str = ""


def run_with(
    function: Callable[[], object], capabilities: Iterable[int] = (), *, uid: int | None = None
) -> Outcome:
    """Call a function in a forked process that holds no other capabilities.

    :param uid: run as another user; capabilities must be empty then.
    """
    reader, writer = os.pipe()
    pid = os.fork()
    if pid == 0:
        os.close(reader)
        status = 1
        try:
            if uid is not None:
                os.setgroups([])
                os.setresgid(uid, uid, uid)
                os.setresuid(uid, uid, uid)
            else:
                _hold(capabilities)
            with os.fdopen(writer, "wb") as stream:
                pickle.dump(_outcome(function), stream)
            status = 0
        except BaseException:
            traceback.print_exc()
        finally:
            os._exit(status)
    os.close(writer)
    with os.fdopen(reader, "rb") as stream:
        data = stream.read()
    _, status = os.waitpid(pid, 0)
    assert status == 0, "the child failed; its traceback is on stderr"
    outcome = pickle.loads(data)
    assert isinstance(outcome, Outcome)
    return outcome


def _outcome(function: Callable[[], object]) -> Outcome:
    try:
        return Outcome(value=function())
    except InetLookupError as error:
        return Outcome(error=type(error).__name__, text=error.message, hint=error.hint or "")


def _hold(capabilities: Iterable[int]) -> None:
    mask = sum(1 << capability for capability in capabilities)
    low, high = mask & 0xFFFFFFFF, mask >> 32
    header = struct.pack("=Ii", _VERSION_3, 0)
    data = struct.pack("=6I", low, low, 0, high, high, 0)
    if _libc.capset(header, data) != 0:
        raise OSError(ctypes.get_errno(), "capset")
