"""How often the limits of BLEU and chrF hold the value of the whole population of answers.

python benchmarks/simulations/corpus_overlap.py [--draws 150]
"""

from __future__ import annotations

import argparse

import numpy as np

from stillage.evaluate.bleu import jackknife_limits, metrics
from stillage.rng import generator
from stillage.versions import overlap_counts, overlap_score

POPULATION, WORDS = 3000, 400


def population(quality: float, rng: np.random.Generator) -> tuple[list[str], list[str]]:
    """Answers that keep a share of their references' words, beta around `quality`, and are cut or a little longer."""
    weights = 1 / np.arange(1, WORDS + 1)
    answers, references = [], []
    for _ in range(POPULATION):
        size, kept = int(rng.integers(4, 25)), rng.beta(3 * quality, 3 * (1 - quality))
        right, wrong = rng.choice(WORDS, (2, size), p=weights / weights.sum())
        said = np.where(rng.random(size) < kept, right, wrong)[
            : max(2, int(size * rng.uniform(0.6, 1.1)))
        ]
        references.append(" ".join(f"w{word}" for word in right))
        answers.append(" ".join(f"w{word}" for word in said))
    return answers, references


def main() -> None:
    """Print a markdown table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--draws", type=int, default=150)
    draws = parser.parse_args().draws
    print("| measure | true value | records | covers, % |\n|---|---:|---:|---:|")
    for quality in (0.3, 0.6, 0.9):
        rng = generator(int(10 * quality), "corpus overlap")
        answers, references = population(quality, rng)
        for name, metric in metrics("13a").items():
            counts = np.array(overlap_counts(metric, answers, [list(references)]), dtype=np.int64)
            truth = overlap_score(metric, counts.sum(0).tolist())
            for n in (10, 20, 50, 200):
                hits = 0
                for _ in range(draws):
                    some = counts[rng.integers(POPULATION, size=n)]
                    total = some.sum(0)
                    without = np.array(
                        [overlap_score(metric, row) for row in (total - some).tolist()]
                    )
                    hits += jackknife_limits(
                        overlap_score(metric, total.tolist()), without, 0.95
                    ).contains(truth)
                print(f"| {name} | {truth:.1f} | {n} | {100 * hits / draws:.1f} |", flush=True)


if __name__ == "__main__":
    main()
