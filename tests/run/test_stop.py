"""Signals: they wait inside deferred(), and nowhere else."""

from __future__ import annotations

import os
import signal

import pytest

from stillage.errors import Interrupted
from stillage.run.stop import Stopped, watch_signals


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
