"""Signals end the demo by one exception, and not in the middle of making something."""

from __future__ import annotations

import os
import signal

import pytest

from inet_lookup.demo.interruptions import Interruptions


def send(signum: int) -> None:
    os.kill(os.getpid(), signum)


@pytest.mark.parametrize(("signum", "status"), [(signal.SIGTERM, 143), (signal.SIGHUP, 129)])
def test_a_signal_raises_the_status_that_shells_have_for_it(
    signum: signal.Signals, status: int
) -> None:
    with pytest.raises(SystemExit) as raised, Interruptions():
        send(signum)
    assert raised.value.code == status


def test_ctrl_c_raises_what_python_has_for_it() -> None:
    with pytest.raises(KeyboardInterrupt), Interruptions():
        send(signal.SIGINT)


def test_a_signal_waits_for_the_end_of_a_deferral() -> None:
    reached = []

    def deferred() -> None:
        with Interruptions() as interruptions, interruptions.deferred():
            with interruptions.deferred():
                send(signal.SIGTERM)
            reached.append("the end")

    with pytest.raises(SystemExit):
        deferred()
    assert reached == ["the end"]


def test_only_the_first_signal_raises() -> None:
    with Interruptions():
        with pytest.raises(SystemExit):
            send(signal.SIGTERM)
        send(signal.SIGINT)
        send(signal.SIGTERM)


def test_an_error_that_is_under_way_gives_way_to_the_signal() -> None:
    def fail() -> None:
        with Interruptions() as interruptions, interruptions.deferred():
            send(signal.SIGTERM)
            raise ValueError

    with pytest.raises(SystemExit) as raised:
        fail()
    assert isinstance(raised.value.__context__, ValueError)


def test_the_handlers_of_before_are_back_afterwards() -> None:
    before = [signal.getsignal(each) for each in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)]
    with Interruptions():
        assert signal.getsignal(signal.SIGINT) is not before[0]
    after = [signal.getsignal(each) for each in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)]
    assert before == after
