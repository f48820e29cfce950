"""Coverage of AUCs pooled over seeds, and how often the paired test over seeds rejects where nothing differs.

    python benchmarks/simulations/pooled.py [REPETITIONS]

The member's score of record i under seed s is f_i + e_is + d_s: f the record (shared where the seeds share records), e the
seed's noise on that record, d ~ N(1, scatter) how well that seed tells members. The target is the mean AUC over such seeds
and records. Test: two models with that scatter each, equal on average, on the same records.
"""

from __future__ import annotations

import math
import sys

import numpy as np
from scipy.stats import norm

from stillage.functional.stats import pooled_auc_interval, pooled_auc_test
from stillage.rng import generator
from stillage.types import Array

FIXED = 0.8  # sd of what a record keeps from seed to seed; 0.6 is the seeds' own noise


def latent(rng: np.random.Generator, n: int, size: int) -> tuple[Array, Array]:
    """n records in clusters of `size` that share nine tenths of the variance: their fixed part, and the clusters."""
    group = np.arange(n) // size
    common = rng.normal(size=n)[group] if size > 1 else 0.0
    own = rng.normal(size=n)
    return (math.sqrt(0.9) * common + math.sqrt(0.1) * own if size > 1 else own), group


def cell(
    seeds: int, scatter: float, n: int, size: int, same: bool, reps: int
) -> tuple[float, float, float]:
    """(coverage, median width, rejections at 5 % of the paired test)."""
    rng = generator(1, "pooled", seeds, str(scatter), n, size, str(same))
    truth = float(norm.cdf(1 / math.sqrt(2 + scatter**2)))
    covered, widths, rejected = 0, [], 0
    member = np.arange(2 * n) < n
    for _ in range(reps):
        runs, groups, pairs = [], [], []
        record, group = latent(rng, 2 * n, size)
        for _ in range(seeds):
            if not same:
                record, group = latent(rng, 2 * n, size)
            both = [
                FIXED * record + 0.6 * rng.normal(size=2 * n) + rng.normal(1, scatter) * member
                for _ in range(2)
            ]
            runs.append((both[0], member))
            pairs.append((both[0], both[1], member))
            groups.append(group)
        found = pooled_auc_interval(runs, same_records=same, clusters=groups)
        covered += found.contains(truth)
        widths.append(found.high - found.low)
        rejected += pooled_auc_test(pairs, same_records=same, clusters=groups).p < 0.05
    return covered / reps, float(np.median(widths)), rejected / reps


def main(reps: int) -> None:
    """The table."""
    print(
        "| records | seeds | n of each | group size | seeds' scatter | covered | median width | test rejects at 5 % |"
    )
    print("|---|---:|---:|---:|---:|---:|---:|---:|")
    for same in (True, False):
        for seeds in (2, 3, 5):
            for n, size in ((100, 1), (500, 1), (400, 4)):
                for scatter in (0.0, 0.1, 0.3):
                    covered, width, rejected = cell(seeds, scatter, n, size, same, reps)
                    numbers = f"{100 * covered:.1f} % | {width:.3f} | {100 * rejected:.1f} %"
                    words = "same" if same else "fresh"
                    print(
                        f"| {words} | {seeds} | {n} | {size} | {scatter:g} | {numbers} |",
                        flush=True,
                    )


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 1000)
