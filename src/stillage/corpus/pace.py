"""How far a pass over tokens is: tokens per second, the share done, the time left."""

from __future__ import annotations

import time
from collections.abc import Callable

from stillage.run.progress import Progress

Tell = Callable[[int], None]
"""tell(tokens): so many more are done."""


def unseen(stage: str, facts: object) -> None:
    """Nobody watches."""


def pace_facts(doing: str, done: int, total: int, rate: float) -> dict[str, object]:
    """Gather what a board shows of a pass over tokens.

    Tokens done, of how many, a second, and the time left. rate: tokens a second, above 0.
    """
    return {
        "doing": f"{doing} ({100 * done / max(1, total):.0f} %)",
        "done": done,
        "of": total,
        "tokens_per_s": rate,
        "eta_s": round(max(0, total - done) / rate, 1),
    }


def paced(progress: Progress, stage: str, what: str, total: int) -> Tell:
    """Return what tells of a pass over `total` tokens. what: "{} tokens compared"."""
    started, done = time.monotonic(), 0

    def tell(tokens: int) -> None:
        nonlocal done
        done += tokens
        passed_s = max(time.monotonic() - started, 1e-9)
        facts = pace_facts(what, done, total, max(1, done) / passed_s)
        progress(stage, facts | {"tokens_per_s": done / passed_s})  # 0 where nothing is done yet

    return tell
