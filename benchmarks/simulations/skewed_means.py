"""How often the interval of a mean of any numbers, and of a ratio of sums, holds the truth, against Student's t.

python benchmarks/simulations/skewed_means.py [--draws 1500]
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


def by_tokens(tokens: Array, rng: np.random.Generator) -> Array:
    """The nats of records with a difficulty of their own (log-normal, sigma 0.5), and chance."""
    return rng.gamma(tokens, 2.0 * rng.lognormal(0, 0.5, tokens.size))


def by_text(tokens: Array, rng: np.random.Generator, hard: float) -> Array:
    """The nats of records with 2 a token, give or take .6, and 4 more in a share of hard ones."""
    each = 2 + 0.6 * rng.normal(size=tokens.size) + 4 * (rng.random(tokens.size) < hard)
    return tokens * np.maximum(0.05, each)


def by_length(tokens: Array, rng: np.random.Generator) -> Array:
    """The nats of records of which the long ones are the hard ones."""
    return 2 * tokens * (tokens / math.exp(3)) ** 0.375 * rng.lognormal(0, 0.3, tokens.size)


Lengths = Callable[[np.random.Generator, int], Array]
LENGTHS: dict[str, Lengths] = {
    "5 to 60": lambda rng, n: rng.integers(5, 60, n).astype(np.float64),
    "log-normal": lambda rng, n: 1 + np.exp(rng.normal(3, 0.8, n)).round(),
    "log-normal, not rounded": lambda rng, n: np.exp(rng.normal(3, 0.8, n)),
}
TEXTS: dict[str, tuple[str, Callable[[Array, np.random.Generator], Array], float]] = {
    "lengths 5 to 60": ("5 to 60", by_tokens, 2.0 * math.exp(0.125)),
    "log-normal lengths, sigma .8": (
        "log-normal",
        lambda tokens, rng: by_text(tokens, rng, 0),
        2.0,
    ),
    "the same, 1 % hard": ("log-normal", lambda tokens, rng: by_text(tokens, rng, 0.01), 2.04),
    "the same, 5 % hard": ("log-normal", lambda tokens, rng: by_text(tokens, rng, 0.05), 2.2),
    "the long ones hard": ("log-normal, not rounded", by_length, 2 * math.exp(0.285 + 0.045)),
}
GROUPS: dict[str, Callable[[np.random.Generator, int], Array]] = {
    "each alone": lambda rng, n: np.ones(n, dtype=int),
    "of 5": lambda rng, n: np.full(n, 5),
    "of 1 to 9": lambda rng, n: rng.integers(1, 10, n),
    "one in ten of 20": lambda rng, n: np.where(np.arange(n) % 10 == 0, 20, 1),
}


def of_ratios(
    texts: str, copies: str, n: int, draws: int, rng: np.random.Generator
) -> tuple[float, float]:
    """The same of nats per token, over groups of equal texts; t: on the residuals of each group."""
    lengths, nats_of, truth = TEXTS[texts]
    hits = np.empty((draws, 2))
    for k in range(draws):
        tokens = LENGTHS[lengths](rng, n)
        nats, size = nats_of(tokens, rng), GROUPS[copies](rng, n)
        top, bottom = nats * size, tokens * size
        rest = top - top.sum() / bottom.sum() * bottom
        half = float(stdtrit(n - 1, 0.975)) * math.sqrt(n / (n - 1) * rest @ rest) / bottom.sum()
        group = np.repeat(np.arange(n), size)
        hits[k] = (
            abs(top.sum() / bottom.sum() - truth) <= half,
            ratio_interval(nats[group], tokens[group], clusters=group).contains(truth),
        )
    return tuple(hits.mean(0).tolist())


def main() -> None:
    """Print two markdown tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--draws", type=int, default=1500)
    draws = parser.parse_args().draws
    print("| numbers | how many | t covers, % | ours covers, % |")
    print("|---|---:|---:|---:|")
    for name, (draw, truth) in SHAPES.items():
        for n in (3, 5, 10, 20, 50, 200):
            t, own = of_means(draw, truth, n, draws, generator(n, "skewed means", name))
            print(f"| {name} | {n} | {100 * t:.1f} | {100 * own:.1f} |", flush=True)
    counts = (10, 20, 50, 100, 300)
    print("\n| nats per token | groups of equal texts | " + " | ".join(map(str, counts)) + " |")
    print("|---|---|" + "---|" * len(counts))
    for texts in TEXTS:
        for copies in GROUPS:
            cells = (
                of_ratios(texts, copies, n, draws, generator(n, "ratios", texts, copies))
                for n in counts
            )
            shown = " | ".join(f"{100 * t:.1f} {100 * own:.1f}" for t, own in cells)
            print(f"| {texts} | {copies} | {shown} |", flush=True)


if __name__ == "__main__":
    main()
