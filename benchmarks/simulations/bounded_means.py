"""How often the interval of a mean of numbers between 0 and 1 holds the true mean, against Student's t.

python benchmarks/simulations/bounded_means.py [--draws 400]
"""

from __future__ import annotations

import argparse
import math
from collections.abc import Callable

import numpy as np
from scipy.special import stdtrit

from stillage.functional.means import share_interval
from stillage.rng import generator
from stillage.types import Array

Draw = Callable[[np.random.Generator, int], Array]

SHAPES: dict[str, tuple[Draw, float]] = {
    "ROUGE-L like: beta(2, 3)": (lambda rng, n: rng.beta(2, 3, n), 0.4),
    "near 1, as of a good model: beta(9, 1)": (lambda rng, n: rng.beta(9, 1, n), 0.9),
    "two heaps: beta(.3, .3)": (lambda rng, n: rng.beta(0.3, 0.3, n), 0.5),
    "mostly near 0: beta(.1, 2)": (lambda rng, n: rng.beta(0.1, 2, n), 0.1 / 2.1),
    "1 % recited in part, the rest 0": (
        lambda rng, n: (rng.random(n) < 0.01) * rng.random(n),
        0.005,
    ),
    "5 % recited in part, the rest 0": (
        lambda rng, n: (rng.random(n) < 0.05) * rng.random(n),
        0.025,
    ),
    "5 % are 1, the rest 0": (lambda rng, n: (rng.random(n) < 0.05) * 1.0, 0.05),
    "1 % are 1, the rest near .02": (
        lambda rng, n: np.where(rng.random(n) < 0.01, 1.0, rng.beta(1, 49, n)),
        0.01 + 0.99 * 0.02,
    ),
    "90 % are 1, the rest anything": (
        lambda rng, n: np.where(rng.random(n) < 0.9, 1.0, rng.random(n)),
        0.95,
    ),
}
SIZES = (20, 100, 500)
GROUPS = {
    "each alone": (1,),
    "groups of 1 to 5": (1, 2, 3, 4, 5),
    "one group of 20 among ten single": (1,) * 10 + (20,),
}


def clusters_of(rng: np.random.Generator, n: int, sizes: tuple[int, ...]) -> Array:
    """int[n]: groups whose sizes are drawn from `sizes`, the last one cut."""
    drawn = rng.choice(sizes, size=n)
    return np.repeat(np.arange(n), drawn)[:n]


def half_of_t(values: Array, number: Array) -> float:
    """Half the width of Student's t interval, groups counted once."""
    sums = np.bincount(number, values - values.mean())
    return (
        float(stdtrit(sums.size - 1, 0.975))
        * math.sqrt(sums @ sums * sums.size / (sums.size - 1))
        / values.size
    )


def coverage(
    draw: Draw, mean: float, n: int, sizes: tuple[int, ...], draws: int, rng: np.random.Generator
) -> Array:
    """Shares of draws in which t and share_interval hold the mean, and the mean of the ratio of their widths."""
    found = np.empty((draws, 3))
    for k in range(draws):
        number = clusters_of(rng, n, sizes)
        values = draw(rng, number[-1] + 1)[number]  # near-duplicates have one value
        own, half = share_interval(values, clusters=number), half_of_t(values, number)
        wide = (own.high - own.low) / (2 * half) if half > 0 else np.nan
        found[k] = abs(values.mean() - mean) <= half, own.contains(mean), wide
    return np.array([*found[:, :2].mean(0), np.nanmedian(found[:, 2])])


def main() -> None:
    """Print a markdown table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--draws", type=int, default=400)
    draws = parser.parse_args().draws
    print("| values | groups | records | t covers, % | ours covers, % | width against t |")
    print("|---|---|---:|---:|---:|---:|")
    for words, sizes in GROUPS.items():
        for name, (draw, mean) in SHAPES.items():
            for n in SIZES:
                rng = generator(n, "bounded means", words, name)
                t, own, wide = coverage(draw, mean, n, sizes, draws, rng)
                print(
                    f"| {name} | {words} | {n} | {100 * t:.1f} | {100 * own:.1f} | {wide:.2f} |",
                    flush=True,
                )


if __name__ == "__main__":
    main()
