from __future__ import annotations

import errno
import platform

import pytest

from inet_lookup.bpf import FEATURES, Feature, live_handles
from inet_lookup.errors import CapacityError, KernelError, PrivilegeError, UnsupportedError


class Probe:
    def __init__(self, *outcomes: Exception | None) -> None:
        self.outcomes = list(outcomes)
        self.calls = 0

    def __call__(self) -> None:
        self.calls += 1
        outcome = self.outcomes.pop(0)
        if outcome is not None:
            raise outcome


def feature(probe: Probe, since: tuple[int, int] = (5, 9)) -> Feature:
    return Feature("time travel", since, "going back", probe)


@pytest.mark.kernel
@pytest.mark.parametrize("found", FEATURES, ids=lambda found: found.name)
def test_running_kernel_has_what_its_version_promises(found: Feature) -> None:
    running = tuple(map(int, platform.release().split(".")[:2]))
    if running < found.since:
        pytest.skip(f"came with Linux {found.since}")
    before = len(live_handles())
    assert Feature(found.name, found.since, found.why, found._probe).supported
    assert len(live_handles()) == before


@pytest.mark.parametrize(("outcome", "supported"), [(None, True), (KernelError("x", 22), False)])
def test_feature_is_tried_once(outcome: Exception | None, supported: bool) -> None:
    probe = Probe(outcome)
    tried = feature(probe)
    assert tried.supported is supported
    assert tried.supported is supported
    assert probe.calls == 1


@pytest.mark.parametrize(
    "outcome", [PrivilegeError("x", errno.EPERM), CapacityError("x", errno.ENOMEM)]
)
def test_attempt_that_says_nothing_is_not_remembered(outcome: Exception) -> None:
    probe = Probe(outcome, None)
    tried = feature(probe)
    with pytest.raises(type(outcome)):
        _ = tried.supported
    assert tried.supported
    assert probe.calls == 2


def test_required_feature_that_is_there_is_no_obstacle() -> None:
    feature(Probe(None)).require("attach")


@pytest.mark.parametrize(
    ("since", "hint"),
    [((99, 0), r"run Linux 99\.0 or newer; this is Linux"), ((2, 6), "its configuration")],
)
def test_required_feature_that_is_missing_is_named(since: tuple[int, int], hint: str) -> None:
    with pytest.raises(UnsupportedError, match=r"attach: EOPNOTSUPP: .* no time travel") as raised:
        feature(Probe(KernelError("x", 22)), since).require("attach")
    assert raised.value.hint is not None
    assert raised.match(hint)
