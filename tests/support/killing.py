"""Killing a process in the middle of what it does, at each step that could leave a trace."""

from __future__ import annotations

import ctypes
import os
import platform
import signal
import struct
import sys
import traceback
from collections.abc import Callable, Iterator

import pytest

from support import requirements

# What changes the state of the kernel that outlives a process (numbers of x86-64).
_PATHS = {
    "rename": 82,
    "mkdir": 83,
    "rmdir": 84,
    "link": 86,
    "unlink": 87,
    "chmod": 90,
    "chown": 92,
    "mkdirat": 258,
    "fchownat": 260,
    "unlinkat": 263,
    "renameat": 264,
    "fchmodat": 268,
    "renameat2": 316,
}
_MESSAGES = {"sendto": 44, "sendmsg": 46}  # netlink
_BPF = 321
_BPF_COMMANDS = {
    "MAP_UPDATE_ELEM": 2,
    "MAP_DELETE_ELEM": 3,
    "OBJ_PIN": 6,
    "PROG_ATTACH": 8,
    "PROG_DETACH": 9,
    "MAP_UPDATE_BATCH": 26,
    "MAP_DELETE_BATCH": 27,
    "LINK_CREATE": 28,
    "LINK_UPDATE": 29,
    "LINK_DETACH": 34,
}

_TRACEME, _SYSCALL, _SETOPTIONS, _GET_SYSCALL_INFO = 0, 24, 0x4200, 0x420E
_O_TRACESYSGOOD, _O_TRACEFORK, _O_TRACEVFORK, _O_TRACECLONE, _O_EXITKILL = 1, 2, 4, 8, 0x100000
_OP_ENTRY = 1
_WALL = 0x40000000

_libc = ctypes.CDLL(None, use_errno=True)
_libc.ptrace.argtypes = (ctypes.c_long, ctypes.c_long, ctypes.c_void_p, ctypes.c_void_p)
_libc.ptrace.restype = ctypes.c_long

killing_at_system_calls = pytest.mark.skipif(
    platform.machine() != "x86_64", reason="the numbers of system calls are those of x86-64"
)


def each_death(function: Callable[[], object]) -> Iterator[str]:
    """Run a function in a forked process again and again, killed a step later each time.

    Each time the process is killed with SIGKILL just before a system call that could leave a trace,
    and the name of that call is given. It ends when the function came to its end.

    :raises AssertionError: the function failed.
    """
    point = 1
    while True:
        died_before = _run(function, point)
        if died_before is None:
            assert point > 1, "it never did anything that could leave a trace"
            return
        yield f"{point}: {died_before}"
        point += 1


def _run(function: Callable[[], object], point: int) -> str | None:
    """Kill a run before the n-th step, and name the step; None where it ends before."""
    sys.stdout.flush()
    sys.stderr.flush()
    pid = os.fork()
    if pid == 0:
        status = 1
        try:
            _ptrace(_TRACEME, 0)
            os.kill(os.getpid(), signal.SIGSTOP)
            function()
            status = 0
        except BaseException:
            traceback.print_exc()
        finally:
            os._exit(status)
    try:
        os.waitpid(pid, 0)
        options = _O_TRACESYSGOOD | _O_TRACEFORK | _O_TRACEVFORK | _O_TRACECLONE | _O_EXITKILL
        _ptrace(_SETOPTIONS, pid, data=options)
        _ptrace(_SYSCALL, pid)
        return _follow(pid, point)
    except BaseException:
        os.kill(pid, signal.SIGKILL)
        _reap(pid)
        raise


def _follow(pid: int, point: int) -> str | None:
    seen = 0
    while True:
        task, status = os.waitpid(-1, _WALL)
        if os.WIFEXITED(status) or os.WIFSIGNALED(status):
            if task == pid:
                assert status == 0, f"the process failed ({status}); its traceback is on stderr"
                return None
            continue
        stop = os.WSTOPSIG(status)
        passed_on = 0
        if stop == signal.SIGTRAP | 0x80:
            step = _step(task)
            if step is not None:
                seen += 1
                if seen == point:
                    os.kill(pid, signal.SIGKILL)
                    _reap(pid)
                    return step
        elif stop not in (signal.SIGTRAP, signal.SIGSTOP):
            passed_on = stop
        try:
            _ptrace(_SYSCALL, task, data=passed_on)
        except ProcessLookupError:
            continue


def _step(task: int) -> str | None:
    """The name of the step that a task is about to take; None for another one."""
    room = ctypes.create_string_buffer(88)
    _ptrace(_GET_SYSCALL_INFO, task, address=len(room), data=ctypes.addressof(room))
    operation, number, first = struct.unpack_from("=B23xQQ", room)
    if operation != _OP_ENTRY:
        return None
    if number == _BPF:
        return next((name for name, each in _BPF_COMMANDS.items() if each == first), None)
    return next((name for name, each in (_PATHS | _MESSAGES).items() if each == number), None)


def _reap(pid: int) -> None:
    """Wait until a process and all of its threads are gone."""
    while True:
        try:
            task, status = os.waitpid(-1, _WALL)
        except ChildProcessError:
            return
        if task == pid and (os.WIFEXITED(status) or os.WIFSIGNALED(status)):
            return


def _ptrace(request: int, task: int, *, address: int = 0, data: int = 0) -> None:
    if _libc.ptrace(request, task, address, data) < 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))


def require_ptrace() -> None:
    """Skip, or fail, where this process may not trace its children."""
    try:
        with open("/proc/sys/kernel/yama/ptrace_scope") as setting:
            if setting.read().strip() == "3":
                requirements.unmet("kernel.yama.ptrace_scope forbids tracing")
    except FileNotFoundError:
        pass
