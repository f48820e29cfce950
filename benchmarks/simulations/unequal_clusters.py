"""Coverage of intervals where near-duplicates form groups of very unequal size: AUC, paired test, proportion.

    python benchmarks/simulations/unequal_clusters.py [REPETITIONS]

Groups of each side: "1-9" evenly, "1 in 10 of 20" (the rest single), "Pareto" (shape 1.1, at most 100), "one of a quarter"
(one group of G / 3 records, G single ones). "spanning": every group has its records on both sides, at random. The records of
a group share the part `shared` of their scores' variance (of their chance to be hit, for a proportion).
"""

from __future__ import annotations

import math
import sys

import numpy as np
from scipy.stats import norm

from stillage.functional.binomial import clustered_proportion
from stillage.functional.stats import auc_interval, paired_auc_test
from stillage.rng import generator
from stillage.types import Array

KINDS = ("1-9", "1 in 10 of 20", "Pareto", "one of a quarter", "spanning")


def group_names(rng: np.random.Generator, kind: str, count: int) -> Array:
    """int[N]: the group of every record of one side, about `count` groups."""
    if kind in ("1 in 10 of 20", "spanning"):
        sizes = np.where(np.arange(count) % 10 == 0, 20, 1)
    elif kind == "Pareto":
        sizes = np.minimum(100, np.floor(rng.pareto(1.1, count) + 1)).astype(int)
    elif kind == "one of a quarter":
        sizes = np.append(count // 3, np.ones(count, dtype=int))
    else:
        sizes = rng.integers(1, 10, count)
    return np.repeat(np.arange(sizes.size), sizes)


def normal(rng: np.random.Generator, group: Array, shared: float) -> Array:
    """Standard normal scores, a group's in part the same."""
    common = rng.normal(size=int(group.max()) + 1)[group]
    return math.sqrt(shared) * common + math.sqrt(1 - shared) * rng.normal(size=group.size)


def two_sides(rng: np.random.Generator, kind: str, count: int) -> tuple[Array, Array]:
    """(groups, is_member) of both sides."""
    if kind == "spanning":
        group = group_names(rng, kind, 2 * count)
        return group, rng.random(group.size) < 0.5
    inside, outside = group_names(rng, kind, count), group_names(rng, kind, count)
    return np.append(inside, outside + inside.max() + 1), np.arange(
        inside.size + outside.size
    ) < inside.size


def of_auc(kind: str, count: int, shared: float, auc: float, reps: int) -> tuple[float, float]:
    """(coverage of the AUC, rejections at 5 % of the paired test of two equal attacks)."""
    rng = generator(1, "unequal", kind, count, str(shared), str(auc))
    covered = rejected = 0
    for _ in range(reps):
        group, member = two_sides(rng, kind, count)
        scores = normal(rng, group, shared) + math.sqrt(2) * norm.ppf(auc) * member
        other = scores + normal(rng, group, shared)
        covered += auc_interval(scores, member, clusters=group).contains(auc)
        third = scores + normal(rng, group, shared)
        rejected += paired_auc_test(other, third, member, clusters=group).p < 0.05
    return covered / reps, rejected / reps


def of_share(kind: str, count: int, shared: float, share: float, reps: int) -> float:
    """Coverage of a proportion."""
    rng = generator(2, "unequal", kind, count, str(shared), str(share))
    covered, weight = 0, (1 - shared) / shared
    for _ in range(reps):
        group = group_names(rng, kind, count)
        chance = rng.beta(share * weight, (1 - share) * weight, int(group.max()) + 1)[group]
        covered += clustered_proportion(rng.random(group.size) < chance, group).contains(share)
    return covered / reps


def main(reps: int) -> None:
    """The table."""
    print(
        "| groups of each side | shared | AUC .5 | AUC .85 | test rejects | p .05 | p .3 | p .8 |"
    )
    print("|---|---:|---:|---:|---:|---:|---:|---:|")
    for kind in KINDS:
        for count in (30, 100, 300):
            for shared in (0.2, 0.9):
                aucs = [of_auc(kind, count, shared, auc, reps) for auc in (0.5, 0.85)]
                numbers = [aucs[0][0], aucs[1][0], aucs[1][1]]
                if kind != "spanning":
                    numbers += [
                        of_share(kind, count, shared, share, reps) for share in (0.05, 0.3, 0.8)
                    ]
                cells = " | ".join(
                    [f"{100 * x:.1f} %" for x in numbers] + ["-"] * (6 - len(numbers))
                )
                print(f"| {count}: {kind} | {shared:g} | {cells} |", flush=True)


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 500)
