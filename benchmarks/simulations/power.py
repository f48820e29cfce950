"""How often what is called the smallest leak found is found: simulated intervals at the AUC and TPR that power.py states.

    python benchmarks/simulations/power.py [--repeats 2000]

Normal scores of one variance; within clusters they are correlated as stated (ranks: what power.py is given). The tail: some
members far above all others. "Harmless": how often a model at chance is shown to be below the limit with the records said to
do. Aim: 75 to 90 %. Prints Markdown tables.
"""

from __future__ import annotations

import argparse
import math

import numpy as np
from scipy.special import ndtri

from stillage.functional.power import records_for_tpr, records_needed, smallest_auc, smallest_tpr
from stillage.functional.stats import auc_interval, tpr_at_fpr
from stillage.rng import generator
from stillage.types import Array

SINGLE, PAIRS, MIXED, TENS = "single", "pairs", "a tenth in tens", "tens"
AUC_CASES = (
    (12, 12, SINGLE, 0.0, 0.95),
    (20, 20, SINGLE, 0.0, 0.95),
    (20, 20, SINGLE, 0.0, 0.999),
    (50, 50, SINGLE, 0.0, 0.95),
    (100, 100, SINGLE, 0.0, 0.9833),
    (500, 500, SINGLE, 0.0, 0.95),
    (500, 500, SINGLE, 0.0, 0.999),
    (20, 200, SINGLE, 0.0, 0.95),
    (200, 20, SINGLE, 0.0, 0.999),
    (200, 200, PAIRS, 0.3, 0.95),
    (200, 200, PAIRS, 1.0, 0.95),
    (300, 300, MIXED, 0.6, 0.95),
    (300, 300, TENS, 0.3, 0.95),
    (300, 300, TENS, 1.0, 0.99),
)
TPR_CASES = (
    (300, 300, 0.01),
    (500, 500, 0.01),
    (2000, 2000, 0.01),
    (200, 200, 0.1),
    (80, 400, 0.1),
    (500, 500, 0.1),
)
HARMLESS_AUC = ((0.55, 0.95), (0.6, 0.95), (0.6, 0.995), (0.7, 0.95))
HARMLESS_TPR = ((0.025, 0.01), (0.05, 0.01), (0.2, 0.1))


def clusters_of(count: int, kind: str) -> list[int]:
    """The sizes of the clusters of one side."""
    if kind == MIXED:
        return [10] * (count // 100) + [1] * (count - 10 * (count // 100))
    size = {SINGLE: 1, PAIRS: 2, TENS: 10}[kind]
    return [size] * (count // size)


def drawn(
    rng: np.random.Generator, is_member: Array, clusters: Array, alike: float, auc: float
) -> Array:
    """Normal scores with a true AUC and a correlation within clusters."""
    common = rng.normal(size=clusters.max() + 1)[clusters]
    noise = math.sqrt(alike) * common + math.sqrt(1 - alike) * rng.normal(size=is_member.size)
    return noise + math.sqrt(2) * ndtri(auc) * is_member


def sides(inside: int, outside: int) -> Array:
    """Members first."""
    return np.arange(inside + outside) < inside


def auc_table(repeats: int) -> None:
    """The smallest AUC found."""
    print(
        "| members | nonmembers | clusters | correlation | level | smallest AUC | found |\n|---|---|---|---|---|---|---|"
    )
    for inside, outside, kind, alike, level in AUC_CASES:
        rng = generator(0, "power", str((inside, outside, kind, alike, level)))
        sizes_in, sizes_out = clusters_of(inside, kind), clusters_of(outside, kind)
        clusters = np.repeat(np.arange(len(sizes_in) + len(sizes_out)), sizes_in + sizes_out)
        member = clusters < len(sizes_in)
        auc = smallest_auc(member, clusters, level, correlation=6 / math.pi * math.asin(alike / 2))
        found = [
            auc_interval(
                drawn(rng, member, clusters, alike, auc), member, level, clusters=clusters
            ).low
            > 0.5
            for _ in range(repeats)
        ]
        print(
            f"| {inside} | {outside} | {kind} | {alike:g} | {level:g} | {auc:.3f} | {np.mean(found):.1%} |"
        )


def tpr_table(repeats: int) -> None:
    """The smallest share of members found."""
    print("\n| members | nonmembers | FPR | smallest TPR | found |\n|---|---|---|---|---|")
    for inside, outside, fpr in TPR_CASES:
        rng, member, found = (
            generator(0, "tail", str((inside, outside, fpr))),
            sides(inside, outside),
            0,
        )
        share = smallest_tpr(member, fpr)
        for _ in range(repeats):
            betrayed = member & (rng.random(member.size) < (share - fpr) / (1 - fpr))
            rate = tpr_at_fpr(rng.normal(size=member.size) + 10 * betrayed, member, fpr)
            found += rate.low > max(fpr, rate.achieved_fpr_high)
        print(f"| {inside} | {outside} | {fpr:g} | {share:.1%} | {found / repeats:.1%} |")


def harmless_table(repeats: int) -> None:
    """The records said to show a model at chance harmless."""
    print("\n| harmless below | level | records of each side | shown |\n|---|---|---|---|")
    for limit, level in HARMLESS_AUC:
        rng, n = generator(0, "harmless", str((limit, level))), records_needed(limit, level)
        shown = [
            auc_interval(rng.normal(size=2 * n), sides(n, n), level).high < limit
            for _ in range(repeats)
        ]
        print(f"| AUC {limit:g} | {level:g} | {n} | {np.mean(shown):.1%} |")
    for limit, fpr in HARMLESS_TPR:
        rng, n = generator(0, "harmless", str((limit, fpr))), int(records_for_tpr(limit, fpr))
        shown = [
            tpr_at_fpr(rng.normal(size=2 * n), sides(n, n), fpr).high < limit
            for _ in range(repeats)
        ]
        print(f"| TPR {limit:g} at {fpr:g} | 0.95 | {n} | {np.mean(shown):.1%} |")


def main() -> None:
    """All tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repeats", type=int, default=2000)
    repeats = parser.parse_args().repeats
    auc_table(repeats)
    tpr_table(repeats)
    harmless_table(repeats)


if __name__ == "__main__":
    main()
