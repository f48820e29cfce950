"""Progress that ends the work where a signal came at a place that could not be stopped."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from stillage.cli.board import Board
from stillage.run.progress import Progress
from stillage.run.stop import Stop, Stopped


def stoppable(board: Board, stop: Stop) -> Progress:
    """Show facts on a board; Stopped where a signal was lost, e.g. in a compiler's callback."""

    def show(name: str, facts: Mapping[str, Any]) -> None:
        board.show(name, facts)
        if stop():
            raise Stopped(stop.number)

    return show
