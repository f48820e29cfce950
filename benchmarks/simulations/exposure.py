"""How often the interval of the mean exposure holds the true mean, over canaries, references and how much they share.

The score of a reference in a canary's place is sqrt(shared) v_reference + sqrt(1 - shared) noise: with shared = 1 a
reference that is easy is easy everywhere. Planted canaries lie `planted` standard deviations above. The truth is the mean
over many draws of canaries and references. `canaries only`: the interval that knows the canaries' own scatter alone.

python benchmarks/simulations/exposure.py [--draws 200]
"""

from __future__ import annotations

import argparse

import numpy as np

from stillage.functional.means import share_interval
from stillage.functional.shared_ranks import mean_exposure_interval
from stillage.rng import generator
from stillage.types import Array

SETTINGS = (
    (10, 10, 11),
    (64, 10, 100),
    (64, 256, 257),
    (64, 256, 600),
    (200, 64, 65),
    (200, 256, 300),
)
"""Canaries, references of each (audit.exposure_candidates), nonmembers."""
KINDS = {
    "members, learned": (3.0, False),
    "members, not learned": (0.0, False),
    "members, all first": (7.0, False),
    "nonmembers": (0.0, True),
}


def drawn(
    rng: np.random.Generator,
    setting: tuple[int, int, int],
    planted: float,
    shared: float,
    own: bool,
) -> Array:
    """int8[C, M]: who reaches whom; own: the canaries are the first nonmembers themselves."""
    count, references, nonmembers = setting
    count = min(count, nonmembers)
    easy_M, rest = rng.normal(size=nonmembers), np.sqrt(1 - shared)
    scores_CM = np.sqrt(shared) * easy_M + rest * rng.normal(size=(count, nonmembers))
    mine = (
        np.sqrt(shared) * easy_M[:count] + rest * rng.normal(size=count)
        if own
        else rng.normal(planted, 1, count)
    )
    order_CM = rng.random((count, nonmembers))
    if own:
        order_CM[np.arange(count), np.arange(count)] = 2
    kept = min(references, nonmembers - 1)
    last = np.partition(order_CM, kept - 1, axis=1)[:, kept - 1 : kept]
    return np.where(order_CM <= last, scores_CM >= mine[:, None], -1).astype(np.int8)


def bits(above_CM: Array) -> Array:
    """The exposure of each canary."""
    return np.log2((above_CM >= 0).sum(1) + 1) - np.log2(1 + (above_CM == 1).sum(1))


def coverage(
    setting: tuple[int, int, int],
    planted: float,
    shared: float,
    own: bool,
    draws: int,
    rng: np.random.Generator,
) -> Array:
    """The truth; how often the canaries' interval and ours hold it; the mean width of ours."""
    truth = float(
        np.mean([bits(drawn(rng, setting, planted, shared, own)).mean() for _ in range(3 * draws)])
    )
    found = np.empty((draws, 3))
    for k in range(draws):
        above = drawn(rng, setting, planted, shared, own)
        count, nonmembers = above.shape
        ceiling = np.log2(min(setting[1], nonmembers - 1) + 1)
        alone = share_interval(bits(above) / ceiling)
        ids = np.arange(count) if own else nonmembers + np.arange(count)
        both = mean_exposure_interval(above, ids, np.arange(nonmembers), rng, n_draws=400)
        found[k] = alone.contains(truth / ceiling), both.contains(truth), both.high - both.low
    return np.array([truth, *found.mean(0)])


def main() -> None:
    """Print a markdown table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--draws", type=int, default=200)
    draws = parser.parse_args().draws
    columns = (
        "secrets",
        "shared",
        "canaries",
        "references",
        "nonmembers",
        "true mean, bits",
        "canaries only covers, %",
        "ours covers, %",
        "width, bits",
    )
    print("| " + " | ".join(columns) + " |\n|---" + "|---:" * (len(columns) - 1) + "|")
    for words, (planted, own) in KINDS.items():
        for shared in (1.0, 0.5, 0.0):
            for setting in SETTINGS:
                rng = generator(int(10 * shared), "exposure", words, *map(str, setting))
                truth, alone, both, width = coverage(setting, planted, shared, own, draws, rng)
                cells = (
                    words,
                    f"{shared:g}",
                    *setting,
                    f"{truth:.2f}",
                    f"{100 * alone:.1f}",
                    f"{100 * both:.1f}",
                    f"{width:.2f}",
                )
                print("| " + " | ".join(map(str, cells)) + " |", flush=True)


if __name__ == "__main__":
    main()
