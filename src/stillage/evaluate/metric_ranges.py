"""The ranges that metrics of generated texts cannot leave."""

from __future__ import annotations

import math
from dataclasses import replace

from stillage.functional.binomial import Interval

RANGES = {
    **dict.fromkeys(("rouge_l", "rouge_l_published", "exact_match", "needed_exact"), (0.0, 1.0)),
    **dict.fromkeys(("bleu", "chrf"), (0.0, 100.0)),
}


def within_range(metric: str, found: Interval) -> Interval:
    """Cut an interval at the metric's range, where it has one: no mean lies beyond."""
    least, most = RANGES.get(metric, (-math.inf, math.inf))
    if not found.low <= found.high:
        return found
    return replace(found, low=max(found.low, least), high=min(found.high, most))
