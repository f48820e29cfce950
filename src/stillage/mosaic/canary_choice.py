"""Which texts become canaries: unlike each other, buckets filled equally."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from stillage.errors import ModelError, listed
from stillage.mosaic.canary_texts import BROKEN, CHANGED, ENDED, SHORT, SPECIAL, WrittenText

if TYPE_CHECKING:
    from stillage.run.mosaic_config import CanaryConfig
    from stillage.run.progress import Done

OUTSIDE, FULL, SIMILAR = "in no bucket", "in a full bucket", "too similar to another"
MOST_AT_ONCE = 512
"""Texts written between two looks at how many are kept; decides nothing but the speed."""
PATIENCE = 10
"""So many canaries' tries are granted before the first: bad luck is no verdict."""
ADVICE = {
    ENDED: "take a shorter length, or a generator of longer texts",
    SPECIAL: "lower sampling_temperature, or take another generator",
    SHORT: "lower the length, or take a generator of longer texts or context",
    BROKEN: "lower sampling_temperature or set top_k: what it writes is no text",
    CHANGED: "take a tokenizer that gives back what it has decoded (a lossless one), or another "
    "generator",
    OUTSIDE: "set buckets around the perplexities that it writes, or another sampling_temperature",
    FULL: "set buckets that are equally common in what it writes, or another sampling_temperature",
    SIMILAR: "raise max_jaccard, sampling_temperature or top_k, or lower the length",
}
"""Reason -> what to change where it is the most frequent one."""


@dataclass(frozen=True, slots=True, kw_only=True)
class KeptCanary:
    """A text that is a canary."""

    candidate: WrittenText
    different: frozenset[int]  # its ids
    bucket: int  # 0 where there are none
    perplexity: float | None  # known where there are buckets


@dataclass(slots=True, kw_only=True)
class Selection:
    """Which texts are kept, in the order of their numbers."""

    options: CanaryConfig
    kept: list[KeptCanary] = field(default_factory=list)
    rejected: Counter[str] = field(default_factory=Counter)
    filled: Counter[int] = field(default_factory=Counter)  # bucket -> canaries
    seen: list[float] = field(default_factory=list)  # perplexities, where there are buckets
    written: int = 0

    @property
    def buckets(self) -> int:
        """How many there are; 1 for any perplexity."""
        return max(1, len(self.options.buckets) - 1)

    @property
    def wanted(self) -> int:
        """Canaries, of both roles."""
        return self.options.members + self.options.nonmembers

    @property
    def is_full(self) -> bool:
        """Whether all are there."""
        return len(self.kept) == self.wanted

    def to_write(self) -> int:
        """How many texts to write at once: what is likely needed, and a few more."""
        each = self.wanted // self.buckets
        texts = [  # for the rest of each bucket, at the rate that it has filled so far
            (each - self.filled[bucket]) * (1 + self.written) / (1 + self.filled[bucket])
            for bucket in range(self.buckets)
        ]
        needed = max(self.wanted - len(self.kept), *texts)
        return min(MOST_AT_ONCE, int(1.1 * needed) + 4)

    def take(self, candidate: WrittenText, perplexity: float | None) -> None:
        """Keep or reject the next text. ModelError where it was one too many."""
        self.written += 1
        if perplexity is not None:
            self.seen.append(perplexity)
        bucket, different = self.bucket_of(perplexity), frozenset(candidate.ids)
        if reason := candidate.reason or self.why_not(bucket, different):
            self.rejected[reason] += 1
        else:
            self.kept.append(
                KeptCanary(
                    candidate=candidate, different=different, bucket=bucket, perplexity=perplexity
                )
            )
            self.filled[bucket] += 1
        self.check_hope()

    def bucket_of(self, perplexity: float | None) -> int:
        """The bucket of a perplexity, border included below; -1: none."""
        if perplexity is None:
            return 0
        bucket = int(np.searchsorted(self.options.buckets, perplexity, side="right")) - 1
        return bucket if bucket < self.buckets else -1

    def why_not(self, bucket: int, different: frozenset[int]) -> str:
        """Why a readable text is not kept; empty where it is."""
        if bucket < 0:
            return OUTSIDE
        if self.filled[bucket] == self.wanted // self.buckets:
            return FULL
        most = self.options.max_jaccard
        if any(id_jaccard(different, other.different) > most for other in self.kept):
            return SIMILAR
        return ""

    def check_hope(self) -> None:
        """Raise ModelError where a bucket gets fewer than one text in `tries`."""
        each, tries = self.wanted // self.buckets, self.options.tries
        behind = [
            bucket
            for bucket in range(self.buckets)
            if self.filled[bucket] < each
            and self.written >= tries * (self.filled[bucket] + PATIENCE)
        ]
        if behind:
            raise self.hopeless(behind[0], each)

    def hopeless(self, bucket: int, each: int) -> ModelError:
        """The error for canaries, or a bucket of them, that do not come."""
        reasons = [f"{count} {reason}" for reason, count in self.rejected.most_common()]
        values = f"kept: {len(self.kept)} of {self.wanted}, of {self.written} texts written; "
        values += f"rejected: {listed(reasons)}"
        reason = self.rejected.most_common(1)[0][0]
        advice = f"{ADVICE[reason]}; or raise tries, texts for each canary (now "
        advice += f"{self.options.tries})."
        advice = advice[0].upper() + advice[1:]
        if not self.options.buckets or reason not in (OUTSIDE, FULL):
            what = "The generator writes too few texts that can be canaries."
            return ModelError(what, values, advice)
        low, high = self.options.buckets[bucket : bucket + 2]
        what = f"The bucket of perplexity {low:g} to {high:g} does not fill: "
        what += f"{self.filled[bucket]} of {each} canaries."
        if self.seen:
            shares = np.quantile(self.seen, (0.05, 0.5, 0.95))
            values += "; perplexities (5 %, half, 95 %): "
            values += ", ".join(f"{share:.4g}" for share in shares)
        return ModelError(what, values, advice)

    def telling(self, progress: Done | None, many: int) -> Done | None:
        """Turn the progress of writing `many` texts into that of canaries kept."""
        if progress is None:
            return None
        kept, wanted = len(self.kept), self.wanted
        gain = min(wanted - kept, many * max(1, kept) / max(1, self.written))

        def done(rows: int, of: int, share: float) -> None:
            progress(kept, wanted, min(0.99, (kept + share * gain) / wanted))

        return done


def id_jaccard(a: frozenset[int], b: frozenset[int]) -> float:
    """|A & B| / |A | B|."""
    common = len(a & b)
    return common / (len(a) + len(b) - common)
