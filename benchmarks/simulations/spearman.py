"""Coverage of Spearman's interval where near-duplicates share their scores.

    python benchmarks/simulations/spearman.py [REPETITIONS]

Two scores of the same records, correlated r on the normal scale; the records of a group share 0.8 of both scores' variance.
"t2": both scores of a group are divided by one more random number, as in t with 2 degrees of freedom. "Alone": what the
interval covers that takes each record for one draw.
"""

from __future__ import annotations

import math
import sys

import numpy as np

from stillage.audit.inheritance import spearman
from stillage.rng import generator
from stillage.types import Array

SHARED = 0.8
KINDS: dict[str, tuple[int, ...]] = {
    "single": (1,),
    "of 4": (4,),
    "of 1 to 9": tuple(range(1, 10)),
    "1 in 10 of 20": (1,) * 9 + (20,),
}


def draw(rng: np.random.Generator, group: Array, r: float, *, heavy: bool) -> tuple[Array, Array]:
    """Two scores of every record."""
    mix = np.array([[1.0, 0.0], [r, math.sqrt(1 - r**2)]])
    common, own = (mix @ rng.normal(size=(2, group.size)) for _ in range(2))
    scale = np.sqrt(rng.chisquare(2, group.size) / 2)[group] if heavy else 1.0
    left, right = (math.sqrt(SHARED) * common[:, group] + math.sqrt(1 - SHARED) * own) / scale
    return left, right


def true_rank_correlation(r: float, *, heavy: bool) -> float:
    """Of all records: in closed form for normal scores, else from 400,000 of them."""
    if not heavy:
        return 6 / math.pi * math.asin(r / 2)
    left, right = draw(generator(2, "rho"), np.arange(400_000), r, heavy=True)
    return float(np.corrcoef(left.argsort().argsort(), right.argsort().argsort())[0, 1])


def cell(
    kind: str, n: int, r: float, truth: float, *, heavy: bool, reps: int
) -> tuple[float, float, float]:
    """(coverage, coverage taking records as single, median width)."""
    rng, covered, alone = generator(1, "spearman", kind, n, str(r), str(heavy)), 0, 0
    widths = []
    for _ in range(reps):
        sizes = rng.permutation(np.resize(KINDS[kind], n))
        group = np.repeat(np.arange(n), sizes)[:n]
        left, right = draw(rng, group, r, heavy=heavy)
        found, plain = spearman(left, right, clusters=group), spearman(left, right)
        covered += found.low <= truth <= found.high or math.isnan(
            found.low
        )  # fewer than 4 groups: no limits are printed
        alone += plain.low <= truth <= plain.high
        widths.append(found.high - found.low)
    return covered / reps, alone / reps, float(np.nanmedian(widths))


def main(reps: int) -> None:
    """The table."""
    print("| scores | r | records | groups | covered | alone | median width |")
    print("|---|---:|---:|---|---:|---:|---:|")
    for heavy in (False, True):
        for r in (0.0, 0.6, 0.95):
            truth = true_rank_correlation(r, heavy=heavy)
            for n in (60, 300):
                for kind in KINDS:
                    covered, alone, width = cell(kind, n, r, truth, heavy=heavy, reps=reps)
                    numbers = f"{100 * covered:.1f} % | {100 * alone:.1f} % | {width:.3f}"
                    print(
                        f"| {'t2' if heavy else 'normal'} | {r:g} | {n} | {kind} | {numbers} |",
                        flush=True,
                    )


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 500)
