"""How far a scan is: tokens, tokens a second, share, time left."""

from __future__ import annotations

import time
from dataclasses import dataclass, field

from stillage.corpus.pace import pace_facts
from stillage.corpus.scan_part_file import PartFacts
from stillage.run.progress import Progress


@dataclass(slots=True, kw_only=True)
class Count:
    """Counts the parts of a scan as they are done, and tells it.

    The first part of each worker takes the time of getting ready, too, and workers are done at
    about the same time. So the speed is that of those after them, but not before as long again has
    passed: until then it is that of the whole run.
    """

    progress: Progress
    of: int  # tokens to scan
    done: int  # tokens scanned so far, before this run too
    workers: int = 1  # that scan side by side
    started_s: float = field(default_factory=lambda: time.monotonic())
    parts: int = 0  # scanned in this run
    tokens: int = 0  # of these
    first_s: float = 0.0  # when each worker had scanned one
    first_tokens: int = 0  # that were scanned by then

    def heard(self, facts: PartFacts) -> None:
        """Count a part."""
        now_s = time.monotonic()
        self.done += facts.tokens
        self.tokens += facts.tokens
        self.parts += 1
        if self.parts == self.workers:
            self.first_s, self.first_tokens = now_s, self.tokens
        rate = max(1e-9, self.rate(now_s))
        self.progress("scan", pace_facts("{} tokens", self.done, self.of, rate))

    def rate(self, now_s: float) -> float:
        """Tokens a second, of all workers together."""
        passed_s = max(1e-9, now_s - self.started_s)
        if self.parts < self.workers:  # the others have as much in hand
            return self.tokens / self.parts * self.workers / passed_s
        ready_s = self.first_s - self.started_s
        if passed_s < 2 * ready_s or self.tokens == self.first_tokens:
            return self.tokens / passed_s
        return (self.tokens - self.first_tokens) / max(1e-9, now_s - self.first_s)
