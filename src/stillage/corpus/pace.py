"""How far a pass over tokens is: tokens per second, the share done, the time left."""

from __future__ import annotations

import time
from collections.abc import Callable

from stillage.run.progress import Progress

Tell = Callable[[int], None]
"""tell(tokens): so many more are done."""


def unseen(stage: str, facts: object) -> None:
    """Nobody watches."""


def paced(progress: Progress, stage: str, what: str, total: int) -> Tell:
    """Return what tells of a pass over `total` tokens. what: "{} tokens compared"."""
    started, done = time.monotonic(), 0

    def tell(tokens: int) -> None:
        nonlocal done
        done += tokens
        passed_s = max(time.monotonic() - started, 1e-9)
        share = f"{100 * done / max(1, total):.0f} %"
        progress(
            stage,
            {
                "doing": f"{what} ({share})",
                "done": done,
                "of": total,
                "tokens_per_s": done / passed_s,
                "eta_s": round(passed_s * max(0, total - done) / max(1, done), 1),
            },
        )

    return tell
