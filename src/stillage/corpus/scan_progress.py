"""How far a scan is: tokens, tokens a second, share, time left."""

from __future__ import annotations

import time
from dataclasses import dataclass, field

from stillage.corpus.scan_part_file import PartFacts
from stillage.run.progress import Progress


@dataclass(slots=True, kw_only=True)
class Count:
    """Counts the parts of a scan as they are done, and tells it."""

    progress: Progress
    of: int  # tokens to scan
    done: int  # tokens scanned before
    started_s: float = field(default_factory=time.monotonic)
    here: int = 0  # tokens scanned since

    def heard(self, facts: PartFacts) -> None:
        """Count a part."""
        self.here += facts.tokens
        done = self.done + self.here
        rate = self.here / max(1e-9, time.monotonic() - self.started_s)  # tokens per second
        told = {
            "doing": f"{{}} tokens ({100 * done / max(1, self.of):.0f} %)",
            "done": done,
            "of": self.of,
            "tokens_per_s": rate,
            "eta_s": round((self.of - done) / max(1e-9, rate), 1),
        }
        self.progress("scan", told)
