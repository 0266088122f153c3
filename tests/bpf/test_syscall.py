from __future__ import annotations

import ctypes
import errno
import os
import platform
import re
from collections.abc import Callable
from pathlib import Path

import pytest

from inet_lookup.bpf import Command, attr, syscall
from inet_lookup.bpf.syscall import bpf, syscall_number


def failing_with(*errnos: int) -> tuple[Callable[..., int], list[int]]:
    """A system call that fails with these, then succeeds with 7; and the calls it got."""
    left = list(errnos)
    calls: list[int] = []

    def call(number: int, command: int, *rest: object) -> int:
        calls.append(command)
        if left:
            ctypes.set_errno(left.pop(0))
            return -1
        return 7

    return call, calls


def test_interrupted_call_is_made_again(monkeypatch: pytest.MonkeyPatch) -> None:
    call, calls = failing_with(errno.EINTR, errno.EINTR)
    monkeypatch.setattr(syscall, "_syscall", call)
    assert bpf(Command.MAP_UPDATE_ELEM, attr.MapElement()) == 7
    assert calls == [Command.MAP_UPDATE_ELEM] * 3


def test_interrupted_batch_is_left_to_the_caller(monkeypatch: pytest.MonkeyPatch) -> None:
    call, _ = failing_with(errno.EINTR)
    monkeypatch.setattr(syscall, "_syscall", call)
    with pytest.raises(InterruptedError):
        bpf(Command.MAP_LOOKUP_BATCH, attr.MapBatch())


def test_load_that_a_signal_disturbed_is_made_again(monkeypatch: pytest.MonkeyPatch) -> None:
    call, calls = failing_with(errno.EAGAIN, errno.EAGAIN, errno.EAGAIN)
    monkeypatch.setattr(syscall, "_syscall", call)
    assert bpf(Command.PROG_LOAD, attr.ProgLoad()) == 7
    assert len(calls) == 4


def test_load_that_is_always_disturbed_fails_in_the_end(monkeypatch: pytest.MonkeyPatch) -> None:
    call, _ = failing_with(*[errno.EAGAIN] * 1000)
    monkeypatch.setattr(syscall, "_syscall", call)
    with pytest.raises(BlockingIOError):
        bpf(Command.PROG_LOAD, attr.ProgLoad())


def test_other_commands_do_not_wait_for_a_better_moment(monkeypatch: pytest.MonkeyPatch) -> None:
    call, calls = failing_with(errno.EAGAIN)
    monkeypatch.setattr(syscall, "_syscall", call)
    with pytest.raises(BlockingIOError):
        bpf(Command.MAP_CREATE, attr.MapCreate())
    assert len(calls) == 1


def test_unknown_architecture_has_no_bpf(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(syscall, "_NUMBER", None)
    with pytest.raises(OSError, match="not implemented") as raised:
        bpf(Command.MAP_CREATE, attr.MapCreate())
    assert raised.value.errno == errno.ENOSYS


@pytest.mark.parametrize(
    ("machine", "wide", "number"),
    [
        ("x86_64", True, 321),
        ("x86_64", False, 357),
        ("aarch64", True, 280),
        ("aarch64", False, 386),
        ("riscv64", True, 280),
        ("ppc64le", True, 361),
        ("s390x", True, 351),
        ("pdp11", False, None),
    ],
)
def test_number_depends_on_the_architecture(machine: str, wide: bool, number: int | None) -> None:
    assert syscall_number(machine, wide=wide) == number


def test_number_is_that_of_the_systems_headers() -> None:
    names = {"x86_64": "x86_64-linux-gnu/asm/unistd_64.h", "aarch64": "asm-generic/unistd.h"}
    header = Path("/usr/include") / names.get(platform.machine(), "missing")
    if not header.exists():
        pytest.skip("the kernel's headers are not installed")
    found = re.search(r"__NR_bpf (\d+)", header.read_text())
    assert found is not None
    assert syscall_number(platform.machine(), wide=True) == int(found[1])


@pytest.mark.kernel
def test_errno_of_the_kernel_comes_through() -> None:
    with pytest.raises(OSError, match=os.strerror(errno.EINVAL)) as raised:
        bpf(Command.MAP_CREATE, attr.MapCreate())
    assert raised.value.errno == errno.EINVAL
