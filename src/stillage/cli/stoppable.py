"""Progress on a board that also ends the work after a signal."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from stillage.cli.board import Board
from stillage.run.progress import Progress
from stillage.run.stop import Stop, Stopped


def stoppable(board: Board, stop: Stop) -> Progress:
    """Make progress that shows facts on a board, and raises Stopped after a signal.

    For a signal whose own error was lost, e.g. in a compiler's callback.
    """

    def show(name: str, facts: Mapping[str, Any]) -> None:
        board.show(name, facts)
        if stop():
            raise Stopped(stop.number)

    return show
