"""How often the interval of a mean of any numbers, and of a ratio of sums, holds the truth, against Student's t.

python benchmarks/coverage/skewed_means.py [--draws 1500]
"""

from __future__ import annotations

import argparse
import math
from collections.abc import Callable

import numpy as np
from scipy.special import stdtrit

from stillage.functional.means import mean_interval, ratio_interval
from stillage.rng import generator
from stillage.types import Array

Draw = Callable[[np.random.Generator, int], Array]

SHAPES: dict[str, tuple[Draw, float]] = {
    "normal (seeds of one run)": (lambda rng, n: rng.normal(5, 1, n), 5.0),
    "exponential": (lambda rng, n: rng.exponential(1.0, n), 1.0),
    "lengths, geometric cut at 128": (
        lambda rng, n: np.minimum(rng.geometric(0.02, n), 128.0),
        (1 - 0.98**128) / 0.02,
    ),
    "log-normal, sigma 1": (lambda rng, n: rng.lognormal(0, 1, n), math.exp(0.5)),
    "log-normal, sigma 1.5": (lambda rng, n: rng.lognormal(0, 1.5, n), math.exp(1.125)),
}


def of_means(
    draw: Draw, truth: float, n: int, draws: int, rng: np.random.Generator
) -> tuple[float, float]:
    """How often t and mean_interval hold the mean."""
    hits = np.empty((draws, 2))
    for k in range(draws):
        values = draw(rng, n)
        half = float(stdtrit(n - 1, 0.975)) * values.std(ddof=1) / math.sqrt(n)
        hits[k] = abs(values.mean() - truth) <= half, mean_interval(values).contains(truth)
    return tuple(hits.mean(0).tolist())


def of_ratios(n: int, draws: int, rng: np.random.Generator) -> tuple[float, float]:
    """The same of nats per token: records of 5 to 60 tokens, each with a difficulty of its own (log-normal, sigma 0.5)."""
    hits = np.empty((draws, 2))
    truth = 2.0 * math.exp(0.125)
    for k in range(draws):
        tokens = rng.integers(5, 60, n).astype(np.float64)
        nats = rng.gamma(tokens, 2.0 * rng.lognormal(0, 0.5, n))
        rest = nats - nats.sum() / tokens.sum() * tokens
        half = float(stdtrit(n - 1, 0.975)) * math.sqrt(n / (n - 1) * rest @ rest) / tokens.sum()
        hits[k] = (
            abs(nats.sum() / tokens.sum() - truth) <= half,
            ratio_interval(nats, tokens).contains(truth),
        )
    return tuple(hits.mean(0).tolist())


def main() -> None:
    """Print a markdown table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--draws", type=int, default=1500)
    draws = parser.parse_args().draws
    print("| numbers | how many | t covers, % | ours covers, % |")
    print("|---|---:|---:|---:|")
    for name, (draw, truth) in SHAPES.items():
        for n in (3, 10, 20, 50, 200):
            t, own = of_means(draw, truth, n, draws, generator(n, "skewed means", name))
            print(f"| {name} | {n} | {100 * t:.1f} | {100 * own:.1f} |", flush=True)
    for n in (10, 20, 50, 200):
        t, own = of_ratios(n, draws, generator(n, "ratios"))
        print(f"| nats per token | {n} | {100 * t:.1f} | {100 * own:.1f} |", flush=True)


if __name__ == "__main__":
    main()
