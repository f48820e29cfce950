"""Progress of the loops over records: how many are done, and the time left.

A loop takes `progress: Done | None` and calls it after every batch; who runs the loop knows what it
is for (`Doing`), and whoever watches gets facts to show: {"model", "doing", "done", "of", "eta_s"},
which go through JSON between processes.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import Any

Progress = Callable[[str, Mapping[str, Any]], None]
"""progress(stage, facts): told of a training or a loop over records, for a bar or a log line."""
Done = Callable[[int, int, float], None]
"""done(rows, of so many, share of the work, 0 to 1).

Rows need not cost the same, so the share tells the time left."""
Doing = Callable[[str], Done]
"""doing("scoring {} records"): a loop begins; its count is put where the braces are."""


def unheard(what: str) -> Done:
    """Nobody watches."""
    return lambda done, of, share: None


def watched(tell: Callable[[dict[str, Any]], None], model: str) -> Doing:
    """Tell the loops about one model as facts, with the time that is left."""

    def doing(what: str) -> Done:
        started = time.monotonic()

        def done(rows: int, of: int, share: float) -> None:
            facts: dict[str, Any] = {"model": model, "doing": what, "done": rows, "of": of}
            if share > 0:
                facts["eta_s"] = round((time.monotonic() - started) * (1 - share) / share, 1)
            tell(facts)

        return done

    return doing
