"""Ctrl-C and SIGTERM, after which the same command continues the run.

The work in hand is finished or thrown away whole.
"""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

from stillage.errors import Interrupted


class Stopped(BaseException):
    """A signal asked the process to end; no handler of an Exception swallows it."""

    def __init__(self, number: int) -> None:
        """number: the signal's."""
        super().__init__(signal.Signals(number).name)
        self.exit_code = 130 if number == signal.SIGINT else 75


class Stop:
    """Remembers that a signal came: polled inside `deferred()`, raised elsewhere."""

    def __init__(self) -> None:
        """No signal yet."""
        self.number = 0
        self.is_deferred = False

    def __call__(self) -> bool:
        """Whether a signal has come."""
        return self.number != 0

    def handle(self, number: int, _frame: FrameType | None) -> None:
        """The signal handler: a second signal never waits."""
        again = self.number != 0
        self.number = number
        if again or not self.is_deferred:
            raise Stopped(number)

    @contextmanager
    def deferred(self) -> Iterator[None]:
        """Let a first signal only set the flag, for work that polls it.

        Work that then stops with Interrupted ends as the signal asks.
        """
        self.is_deferred = True
        try:
            yield
        except Interrupted as error:
            if self.number:
                raise Stopped(self.number) from error
            raise
        finally:
            self.is_deferred = False
        if self.number:
            raise Stopped(self.number)


@contextmanager
def watch_signals() -> Iterator[Stop]:
    """Route SIGINT and SIGTERM to a Stop while the body runs."""
    stop = Stop()
    before = {
        number: signal.signal(number, stop.handle) for number in (signal.SIGINT, signal.SIGTERM)
    }
    try:
        yield stop
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
