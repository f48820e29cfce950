"""How often the limits of a difference of two paired shares hold it, in groups of any sizes.

    python benchmarks/simulations/shares.py [--draws 1000]

Two shares of the same records. A part of the records, "shared", answers as its group does, the rest
each for itself. Printed: covered / how often the test rejects equality at 5 %, which for equal
shares is a false alarm.
"""

from __future__ import annotations

import argparse

import numpy as np

from stillage.functional.paired import paired_share_test
from stillage.rng import generator
from stillage.types import Array

KINDS = (
    "each alone",
    "fours",
    "twenties",
    "1 to 9",
    "one in ten of 20",
    "Pareto",
    "one of a quarter",
)
SHARES = ((0.3, 0.3), (0.1, 0.02), (0.02, 0.02))


def sizes(kind: str, count: int, rng: np.random.Generator) -> Array:
    """int[G]: how many records each of `count` groups or so has."""
    if kind == "1 to 9":
        return rng.integers(1, 10, count)
    if kind == "one in ten of 20":
        return np.where(np.arange(count) % 10 == 0, 20, 1)
    if kind == "Pareto":
        return np.minimum(200, np.floor(rng.pareto(1.0, count) + 1)).astype(int)
    if kind == "one of a quarter":
        return np.append(count // 3, np.ones(count, dtype=int))
    return np.full(count, {"each alone": 1, "fours": 4, "twenties": 20}[kind])


def answers(share: float, shared: float, group: Array, rng: np.random.Generator) -> Array:
    """bool[N]: who answers yes; as the group does, or each for itself."""
    common = rng.random(group.size) < shared
    of_group = rng.random(int(group.max()) + 1) < share
    return np.where(common, of_group[group], rng.random(group.size) < share)


def measure(
    kind: str, count: int, shares: tuple[float, float], shared: float, draws: int
) -> tuple[float, float]:
    """(coverage of the difference, rejections of equality at 5 %)."""
    rng = generator(1, "paired shares", kind, count, str(shares), str(shared))
    covered = rejected = 0
    for _ in range(draws):
        size = sizes(kind, count, rng)
        group = np.repeat(np.arange(size.size), size)
        first, second = (answers(share, shared, group, rng) for share in shares)
        found = paired_share_test(first, second, clusters=group)
        covered += found.low <= shares[0] - shares[1] <= found.high
        rejected += found.p <= 0.05
    return covered / draws, rejected / draws


def main() -> None:
    """Print a markdown table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--draws", type=int, default=1000)
    draws = parser.parse_args().draws
    columns = [(shared, pair) for shared in (0.95, 0.3) for pair in SHARES]
    heads = " | ".join(f"{one:g}, {other:g}; {shared:g}" for shared, (one, other) in columns)
    print(f"| groups: sizes | {heads} |")
    print("|---|" + "---|" * len(columns))
    for kind in KINDS:
        for count in (30, 100, 300):
            cells = (measure(kind, count, pair, shared, draws) for shared, pair in columns)
            shown = " | ".join(f"{100 * held:.1f} {100 * told:.1f}" for held, told in cells)
            print(f"| {count}: {kind} | {shown} |", flush=True)


if __name__ == "__main__":
    main()
