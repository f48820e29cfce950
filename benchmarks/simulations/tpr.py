"""Coverage of the interval of the TPR at a fixed FPR: of the true rate at that FPR, not at one sample's threshold.

    python benchmarks/simulations/tpr.py [REPETITIONS]

Worlds: normal scores (nothing leaks; TPR .3; .95), t with 3 degrees of freedom, members of a third and of three times the
nonmembers' spread, 5 % of members betrayed and the rest like nonmembers, scores rounded to halves, nonmembers of whom FPR / 2
lie above all members, and groups (4 each; 1 to 9; one in ten of 20) that share nine tenths of their variance. "Fixed
threshold": what Clopper-Pearson's limits at the sample's threshold cover.
"""

from __future__ import annotations

import math
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
from scipy.stats import norm
from scipy.stats import t as student

from stillage.functional.binomial import clustered_proportion
from stillage.functional.stats import tpr_at_fpr
from stillage.rng import generator
from stillage.types import Array

Draw = Callable[[np.random.Generator, int], Array]


@dataclass(frozen=True, slots=True, kw_only=True)
class World:
    """How members and nonmembers score, the true TPR at the FPR, and the sizes of groups (empty: no groups)."""

    name: str
    inside: Draw
    outside: Draw
    truth: float
    sizes: tuple[int, ...] = ()


def normal(mean: float = 0.0, spread: float = 1.0) -> Draw:
    """Normal scores."""
    return lambda rng, n: rng.normal(mean, spread, n)


def worlds(fpr: float) -> Iterator[World]:
    """Those of the table."""
    q = float(norm.isf(fpr))

    def shifted(tpr: float, spread: float = 1.0) -> Draw:
        return normal(q - spread * float(norm.isf(tpr)), spread)

    yield World(name="normal, nothing leaks", inside=normal(), outside=normal(), truth=fpr)
    for tpr in (0.3, 0.95):
        yield World(name=f"normal, TPR {tpr:g}", inside=shifted(tpr), outside=normal(), truth=tpr)
    heavy = float(student.isf(fpr, 3) - student.isf(0.3, 3))
    yield World(
        name="t3, TPR .3",
        truth=0.3,
        inside=lambda rng, n: heavy + rng.standard_t(3, n),
        outside=lambda rng, n: rng.standard_t(3, n),
    )
    for spread, word in ((1 / 3, "narrow"), (3.0, "wide")):
        yield World(
            name=f"{word} members, TPR .3", inside=shifted(0.3, spread), outside=normal(), truth=0.3
        )
    yield World(
        name="5 % betrayed",
        outside=normal(),
        truth=0.05 + 0.95 * fpr,
        inside=lambda rng, n: rng.normal(0, 1, n) + 9 * (rng.random(n) < 0.05),
    )
    step = (
        math.ceil(2 * q) / 2
    )  # the smallest multiple of 1/2 that at most fpr exceed, after rounding down
    yield World(
        name="ties",
        truth=float(norm.sf(step - 1)),
        inside=lambda rng, n: np.floor(2 * rng.normal(1, 1, n)) / 2,
        outside=lambda rng, n: np.floor(2 * rng.normal(0, 1, n)) / 2,
    )
    yield World(
        name="nonmembers above all",
        inside=normal(2.0),
        outside=lambda rng, n: rng.normal(0, 1, n) + 15 * (rng.random(n) < fpr / 2),
        truth=float(norm.sf(norm.isf(fpr / 2 / (1 - fpr / 2)) - 2)),
    )
    for word, sizes in (
        ("of 4", (4,)),
        ("of 1 to 9", tuple(range(1, 10))),
        ("1 in 10 of 20", (1,) * 9 + (20,)),
    ):
        for tpr in (fpr, 0.3):
            named = f"groups {word}, TPR {tpr:g}"
            inside, outside = (grouped(mean, sizes) for mean in (q - float(norm.isf(tpr)), 0.0))
            yield World(name=named, inside=inside, outside=outside, truth=tpr, sizes=sizes)


def grouped(mean: float, sizes: tuple[int, ...]) -> Draw:
    """n normal scores in groups of these sizes, whose records share nine tenths of the variance."""
    return lambda rng, n: (
        mean
        + math.sqrt(0.9) * rng.normal(size=n)[groups(sizes, n)]
        + math.sqrt(0.1) * rng.normal(size=n)
    )


def groups(sizes: tuple[int, ...], n: int) -> Array:
    """int[n]: groups of these sizes in turn; each record its own without sizes."""
    return np.repeat(np.arange(n), np.resize(sizes or (1,), n))[:n]


def cell(
    world: World, fpr: float, n_in: int, n_out: int, reps: int
) -> tuple[float, float, float, float]:
    """(coverage, coverage at a fixed threshold, median width, share of samples with low > fpr)."""
    rng = generator(1, "tpr", world.name, str(fpr), n_in, n_out)
    covered = fixed = claimed = 0
    widths = []
    member, group = np.arange(n_in + n_out) < n_in, groups(world.sizes, n_in)
    together = np.append(group, groups(world.sizes, n_out) + n_in)
    for _ in range(reps):
        inside, outside = world.inside(rng, n_in), world.outside(rng, n_out)
        rate = tpr_at_fpr(
            np.append(inside, outside), member, fpr, clusters=together if world.sizes else None
        )
        covered += rate.low <= world.truth <= rate.high
        fixed += clustered_proportion(inside > rate.threshold, group).contains(world.truth)
        claimed += rate.low > fpr
        widths.append(rate.high - rate.low)
    return covered / reps, fixed / reps, float(np.median(widths)), claimed / reps


def main(reps: int) -> None:
    """The table."""
    print(
        "| FPR | members, nonmembers | scores | true TPR | covered | fixed threshold | median width | low > FPR |"
    )
    print("|---:|---:|---|---:|---:|---:|---:|---:|")
    sizes = {
        0.01: ((300, 300), (1000, 500), (2000, 2000)),
        0.1: ((50, 50), (300, 100), (1000, 1000)),
    }
    for fpr, pairs in sizes.items():
        for n_in, n_out in pairs:
            for world in worlds(fpr):
                covered, fixed, width, claimed = cell(world, fpr, n_in, n_out, reps)
                numbers = f"{100 * covered:.1f} % | {100 * fixed:.1f} % | {width:.3f} | {100 * claimed:.1f} %"
                print(
                    f"| {fpr:g} | {n_in}, {n_out} | {world.name} | {world.truth:.3f} | {numbers} |",
                    flush=True,
                )


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 400)
