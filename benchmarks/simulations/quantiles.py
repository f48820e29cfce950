"""How often the limits of a quantile hold the true one, against a percentile bootstrap.

python benchmarks/simulations/quantiles.py [--draws 400]
"""

from __future__ import annotations

import argparse

import numpy as np

from stillage.functional.means import independent, needed_for_quantile, quantile_interval
from stillage.rng import generator
from stillage.types import Array

QUANTILES = (0.1, 0.5, 0.9, 0.99)
CASES = {"each alone": (1,), "pairs": (2,), "groups of 1 to 5": (1, 2, 3, 4, 5)}
SIZES = (50, 200, 400, 2000)
RESAMPLES = 200


def drawn(rng: np.random.Generator, n: int, sizes: tuple[int, ...]) -> tuple[Array, Array]:
    """Values from 0 to 1 (every other distribution gives the same coverage), equal within groups; and the groups."""
    number = np.repeat(np.arange(n), rng.choice(sizes, size=n))[:n]
    return rng.random(n)[number], number


def bootstrap(values: Array, number: Array, rng: np.random.Generator) -> Array:
    """Percentile limits of every quantile, [2, Q], groups drawn whole."""
    count_G = rng.multinomial(
        number[-1] + 1, np.full(number[-1] + 1, 1 / (number[-1] + 1)), size=RESAMPLES
    )
    order = np.argsort(values)
    share = np.cumsum(count_G[:, number[order]], axis=1)
    places = [np.argmax(share >= q * share[:, -1:], axis=1) for q in QUANTILES]
    return np.quantile(values[order][np.array(places)], [0.025, 0.975], axis=1)


def coverage(n: int, sizes: tuple[int, ...], draws: int, rng: np.random.Generator) -> Array:
    """[Q, 3]: how often the bootstrap holds the quantile, how often ours does (of those given), how often ours is given."""
    hits = np.full((draws, len(QUANTILES), 3), np.nan)
    for k in range(draws):
        values, number = drawn(rng, n, sizes)
        low, high = bootstrap(values, number, rng)
        for i, q in enumerate(QUANTILES):
            own = quantile_interval(values, q, clusters=number)
            given = independent(n, number) >= needed_for_quantile(q)
            hits[k, i] = low[i] <= q <= high[i], own.contains(q) if given else np.nan, given
    return np.array(
        [
            [np.nanmean(one) if np.isfinite(one).any() else np.nan for one in part]
            for part in np.moveaxis(hits, 0, 2)
        ]
    )


def main() -> None:
    """Print a markdown table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--draws", type=int, default=400)
    draws = parser.parse_args().draws
    print("| quantile | groups | records | bootstrap covers, % | ours covers, % |")
    print("|---:|---|---:|---:|---:|")
    for words, sizes in CASES.items():
        for n in SIZES:
            found = coverage(n, sizes, draws, generator(n, "quantiles", words))
            for q, (old, own, given) in zip(QUANTILES, found, strict=True):
                ours = f"{100 * own:.1f}" if given == 1 else "none given"
                print(f"| {q:g} | {words} | {n} | {100 * old:.1f} | {ours} |", flush=True)


if __name__ == "__main__":
    main()
