"""Signals: they wait inside deferred(), and nowhere else."""

from __future__ import annotations

import os
import signal

import pytest

from stillage.errors import Interrupted
from stillage.run.stop import Stop, Stopped, watch_signals


def test_a_signal_waits_inside_deferred_and_not_outside() -> None:
    with pytest.raises(Stopped) as caught, watch_signals() as stop, stop.deferred():
        os.kill(os.getpid(), signal.SIGTERM)
        assert stop()
    assert caught.value.exit_code == 75
    with pytest.raises(Stopped) as caught, watch_signals():
        os.kill(os.getpid(), signal.SIGINT)
    assert caught.value.exit_code == 130


def test_what_stops_when_asked_ends_as_the_signal_asks() -> None:
    with pytest.raises(Stopped) as caught, watch_signals() as stop, stop.deferred():
        os.kill(os.getpid(), signal.SIGTERM)
        assert stop()
        raise Interrupted("stopped after step 3", "", "")
    assert caught.value.exit_code == 75 and isinstance(caught.value.__cause__, Interrupted)


def test_what_was_interrupted_without_a_signal_says_why() -> None:
    with pytest.raises(Interrupted, match="disk"), watch_signals() as stop, stop.deferred():
        raise Interrupted("the disk is full", "", "")


def test_a_second_signal_never_waits() -> None:
    reached: list[str] = []
    with pytest.raises(Stopped), watch_signals() as stop, stop.deferred():
        os.kill(os.getpid(), signal.SIGTERM)
        reached.append("first")
        os.kill(os.getpid(), signal.SIGTERM)
        reached.append("second")
    assert reached == ["first"]


def test_handlers_are_given_back() -> None:
    before = signal.getsignal(signal.SIGTERM)
    with watch_signals():
        assert signal.getsignal(signal.SIGTERM) != before
    assert signal.getsignal(signal.SIGTERM) == before


def test_work_that_ends_without_polling_is_stopped_after_it() -> None:
    stop = Stop()
    done: list[str] = []
    with pytest.raises(Stopped), stop.deferred():
        stop.handle(signal.SIGTERM, None)
        done.append("whole")
    assert done == ["whole"]
    assert not stop.is_deferred


def test_no_signal_changes_nothing() -> None:
    stop = Stop()
    with stop.deferred():
        assert stop.is_deferred and not stop()
    assert not stop.is_deferred and not stop()


def test_stopped_is_swallowed_by_no_handler_of_errors() -> None:
    assert not issubclass(Stopped, Exception)
    assert (str(Stopped(signal.SIGINT)), Stopped(signal.SIGINT).exit_code) == ("SIGINT", 130)
    assert (str(Stopped(signal.SIGTERM)), Stopped(signal.SIGTERM).exit_code) == ("SIGTERM", 75)


def test_handlers_are_given_back_after_an_error() -> None:
    before = signal.getsignal(signal.SIGINT)
    with pytest.raises(KeyError), watch_signals():
        raise KeyError("work")
    assert signal.getsignal(signal.SIGINT) == before
