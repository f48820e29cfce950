"""How far a scan is: tokens, tokens a second, share, time left."""

from __future__ import annotations

import time
from dataclasses import dataclass, field

from stillage.corpus.scan_part_file import PartFacts
from stillage.run.progress import Progress


@dataclass(slots=True, kw_only=True)
class Count:
    """Counts the parts of a scan as they are done, and tells it.

    The first part's time is that of getting ready, too: the speed is that of those after it.
    """

    progress: Progress
    of: int  # tokens to scan
    done: int  # tokens scanned so far, before this run too
    started_s: float = field(default_factory=time.monotonic)
    timed: int = -1  # tokens scanned since started_s; -1: no part yet

    def heard(self, facts: PartFacts) -> None:
        """Count a part."""
        now_s = time.monotonic()
        self.done += facts.tokens
        rate = (max(0, self.timed) + facts.tokens) / max(1e-9, now_s - self.started_s)
        if self.timed < 0:
            self.started_s, self.timed = now_s, 0
        else:
            self.timed += facts.tokens
        told = {
            "doing": f"{{}} tokens ({100 * self.done / max(1, self.of):.0f} %)",
            "done": self.done,
            "of": self.of,
            "tokens_per_s": rate,
            "eta_s": round((self.of - self.done) / max(1e-9, rate), 1),
        }
        self.progress("scan", told)
