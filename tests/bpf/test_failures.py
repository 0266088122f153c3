"""What errnos mean where the running kernel cannot show it: on older kernels and odd systems."""

from __future__ import annotations

import errno

import pytest

from inet_lookup.bpf import failures
from inet_lookup.bpf.failures import Failure, Since, failure
from inet_lookup.bpf.privileges import Capability
from inet_lookup.errors import CapacityError, KernelError, PrivilegeError, UnsupportedError

BOTH = (Capability.CAP_BPF, Capability.CAP_NET_ADMIN)


@pytest.fixture
def held(monkeypatch: pytest.MonkeyPatch) -> list[Capability]:
    """The capabilities that the process lacks; none at first."""
    lacking: list[Capability] = []
    monkeypatch.setattr(failures, "missing_capabilities", lambda needed: list(lacking))
    return lacking


def on_kernel(monkeypatch: pytest.MonkeyPatch, major: int, minor: int) -> None:
    monkeypatch.setattr(failures, "running_kernel", lambda: (major, minor))


def raised_for(number: int, **more: object) -> KernelError:
    return failure(OSError(number, ""), "do it", **more)  # type: ignore[arg-type]


@pytest.mark.parametrize("number", [errno.EINVAL, errno.E2BIG, errno.EOPNOTSUPP, 524])
def test_older_kernel_is_named_with_the_version_that_is_needed(
    monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    on_kernel(monkeypatch, 5, 4)
    error = raised_for(number, since=Since("the program type sk_lookup", (5, 9)))
    assert type(error) is UnsupportedError
    assert "the program type sk_lookup needs Linux 5.9, and this is Linux 5.4" in error.message
    assert error.hint == "run Linux 5.9 or newer"


def test_newer_kernel_is_not_blamed(monkeypatch: pytest.MonkeyPatch) -> None:
    on_kernel(monkeypatch, 5, 10)
    error = raised_for(errno.EINVAL, since=Since("the program type sk_lookup", (5, 9)))
    assert type(error) is KernelError


def test_memory_limit_of_older_kernels_is_a_matter_of_capacity(
    monkeypatch: pytest.MonkeyPatch, held: list[Capability]
) -> None:
    on_kernel(monkeypatch, 5, 10)
    error = raised_for(errno.EPERM, capabilities=BOTH, charges_memory=True)
    assert type(error) is CapacityError
    assert "limit on locked memory" in error.message
    assert error.hint is not None
    assert "ulimit -l unlimited" in error.hint


def test_memory_limit_is_not_blamed_where_a_capability_is_missing(
    monkeypatch: pytest.MonkeyPatch, held: list[Capability]
) -> None:
    on_kernel(monkeypatch, 5, 10)
    held.append(Capability.CAP_NET_ADMIN)
    error = raised_for(errno.EPERM, capabilities=BOTH, charges_memory=True)
    assert type(error) is PrivilegeError
    assert "lacks CAP_NET_ADMIN" in error.message


def test_refusal_in_spite_of_the_capabilities_points_at_filters(
    monkeypatch: pytest.MonkeyPatch, held: list[Capability]
) -> None:
    on_kernel(monkeypatch, 6, 1)
    error = raised_for(errno.EPERM, capabilities=BOTH, charges_memory=True)
    assert type(error) is PrivilegeError
    assert error.hint is not None
    assert "seccomp" in error.hint


def test_capability_in_a_user_namespace_does_not_count(
    monkeypatch: pytest.MonkeyPatch, held: list[Capability]
) -> None:
    held.append(Capability.CAP_BPF)
    monkeypatch.setattr(failures, "in_initial_user_namespace", lambda: False)
    error = raised_for(errno.EPERM, capabilities=BOTH)
    assert error.hint is not None
    assert "must be held in the initial user namespace" in error.hint


def test_kernel_without_the_system_call_is_named() -> None:
    error = raised_for(errno.ENOSYS)
    assert type(error) is UnsupportedError
    assert error.hint == "use a kernel built with CONFIG_BPF_SYSCALL=y"


@pytest.mark.parametrize("number", [errno.ENOMEM, errno.EMFILE, errno.ENFILE])
def test_shortage_is_a_matter_of_capacity(number: int) -> None:
    assert type(raised_for(number)) is CapacityError


def test_meaning_for_the_operation_goes_before_the_common_one() -> None:
    error = raised_for(errno.EPERM, meanings={errno.EPERM: Failure("another one runs", "look")})
    assert type(error) is KernelError
    assert (error.meaning, error.hint) == ("another one runs", "look")


def test_message_has_operation_errno_and_meaning() -> None:
    error = raised_for(errno.EXDEV)
    assert error.message == "do it: EXDEV: Invalid cross-device link"
    assert (error.operation, error.errno, error.errno_name) == ("do it", errno.EXDEV, "EXDEV")


def test_errno_of_the_kernel_alone_has_its_name() -> None:
    assert raised_for(524).errno_name == "ENOTSUPP"
    assert raised_for(errno.EOPNOTSUPP).errno_name == "EOPNOTSUPP"
