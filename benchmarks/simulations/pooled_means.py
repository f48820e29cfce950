"""How often the difference of two means over one seed or several holds the truth; seeds that scatter little or much.

python benchmarks/simulations/pooled_means.py [--draws 500]
"""

from __future__ import annotations

import argparse

import numpy as np

from stillage.functional.pooled import pooled_mean_test
from stillage.rng import generator


def covered(
    seeds: int, records: int, ratio: float, *, same: bool, draws: int, rng: np.random.Generator
) -> float:
    """Share of draws that hold 0; ratio: a seed's standard deviation over that of the records' mean."""
    hits = 0
    for _ in range(draws):
        shared = rng.normal(0, 0.2, records)
        runs = [
            (shared if same else rng.normal(0, 0.2, records))
            + rng.normal(0, 0.1, records)
            + rng.normal(0, ratio * 0.2 / np.sqrt(records))
            for _ in range(seeds)
        ]
        found = pooled_mean_test(runs, same_records=same)
        hits += found.low <= 0 <= found.high
    return hits / draws


def main() -> None:
    """Print a markdown table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--draws", type=int, default=500)
    draws = parser.parse_args().draws
    ratios = (0.0, 0.5, 1.0, 2.0)
    print(
        "| records | seeds | of each |"
        + "".join(f" seeds scatter {ratio:g} times as much, % |" for ratio in ratios)
    )
    print("|---|---:|---:|" + "---:|" * len(ratios))
    for same in (True, False):
        for seeds in (1, 2, 3, 5):
            for records in (30, 200):
                rng = generator(records, "pooled means", str(same), str(seeds))
                cells = [
                    covered(seeds, records, one, same=same, draws=draws, rng=rng) for one in ratios
                ]
                words = "the same" if same else "others each seed"
                print(
                    f"| {words} | {seeds} | {records} |"
                    + "".join(f" {100 * one:.1f} |" for one in cells),
                    flush=True,
                )


if __name__ == "__main__":
    main()
