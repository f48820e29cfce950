"""How often the interval of a bucket's mean number of near-duplicates holds the true mean.

python benchmarks/simulations/near_counts.py [--draws 300]

Against two percentile bootstraps (400 resamples): of documents alone, and of documents and targets
both (the pigeonhole bootstrap, Owen 2007). Samples whose hits lie in too few documents get no
limits and are left out; how many, is printed. Five minutes.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable

import numpy as np

from stillage.corpus.near_counts import LEAST_DOCUMENTS, ScannedDocuments, mean_count
from stillage.rng import generator
from stillage.types import Array

RESAMPLES = 400
Sample = tuple[Array, Array, Array, float]
"""Target, document and number of near-duplicates of each pair that has any; the true mean."""
World = Callable[[np.random.Generator, int, int], Sample]


def pairs_of(numbers_TD: Array, documents_D: Array) -> tuple[Array, Array, Array]:
    """The pairs of a table that are not 0."""
    target, place = np.nonzero(numbers_TD)
    return target, documents_D[place], numbers_TD[target, place]


def alone(sigma: float) -> World:
    """Every near-duplicate in a document of its own choice; targets differ log-normally."""

    def draw(rng: np.random.Generator, targets: int, documents: int) -> Sample:
        number_T = rng.poisson(20 * rng.lognormal(-(sigma**2) / 2, sigma, targets))
        target = np.repeat(np.arange(targets), number_T)
        document = rng.integers(documents, size=len(target))
        return target, document, np.ones(len(target), dtype=np.int64), 20.0

    return draw


def templates(families: int, tail: float) -> World:
    """Targets and documents of templates, of unequal fame; documents repeat theirs (Pareto)."""
    of_target = 1 / np.arange(1, families + 1)
    of_document = 1 / np.arange(1, families + 1) ** 0.7
    of_target, of_document = of_target / of_target.sum(), of_document / of_document.sum()

    def draw(rng: np.random.Generator, targets: int, documents: int) -> Sample:
        family_T = rng.choice(families, targets, p=of_target)
        held_D = np.flatnonzero(rng.random(documents) < 0.05)
        family_D = rng.choice(families, len(held_D), p=of_document)
        copies_D = (rng.pareto(tail, len(held_D)) + 1) * (tail - 1) / tail
        mean_TD = 2 * copies_D * (family_T[:, None] == family_D)
        truth = documents * 0.05 * 2 * float(of_target @ of_document)
        return *pairs_of(rng.poisson(mean_TD), held_D), truth

    return draw


def everywhere(sigma: float) -> World:
    """Few documents that all have some, as books do."""

    def draw(rng: np.random.Generator, targets: int, documents: int) -> Sample:
        by_target = rng.lognormal(-0.5, 1, targets)
        by_document = rng.lognormal(-(sigma**2) / 2, sigma, documents)
        numbers_TD = rng.poisson(5 * np.outer(by_target, by_document))
        return *pairs_of(numbers_TD, np.arange(documents)), 5.0 * documents

    return draw


WORLDS: dict[str, tuple[World, tuple[int, ...]]] = {
    "each in a document of its own, sigma 1": (alone(1.0), (200, 20_000)),
    "the same, sigma 1.5": (alone(1.5), (200, 20_000)),
    "200 templates": (templates(200, 3.0), (500, 2_000, 20_000)),
    "200 templates, few documents have most": (templates(200, 1.5), (500, 2_000, 20_000)),
    "10 templates": (templates(10, 3.0), (500, 2_000, 20_000)),
    "in all documents, alike": (everywhere(0.3), (10, 50)),
    "in all documents, sigma 1": (everywhere(1.0), (10, 50)),
}
TARGETS = (20, 100)


def bootstraps(
    target: Array, document: Array, numbers: Array, sizes: tuple[int, int], rng: np.random.Generator
) -> list[tuple[float, float]]:
    """Percentile limits of two bootstraps: of documents, and of documents and targets."""
    targets, documents = sizes
    held, place = np.unique(document, return_inverse=True)
    rest = max(0.0, 1 - len(held) / documents)
    chance = np.append(np.full(len(held), 1 / documents), rest)
    drawn = [[], []]
    for _ in range(RESAMPLES):
        by_document = rng.multinomial(documents, chance / chance.sum())[place]
        by_target = np.bincount(rng.integers(targets, size=targets), minlength=targets)[target]
        drawn[0].append(float(numbers @ by_document) / targets)
        drawn[1].append(float(numbers @ (by_document * by_target)) / targets)
    return [tuple(np.quantile(one, [0.025, 0.975])) for one in drawn]


def covered(world: World, targets: int, documents: int, draws: int, seed: str) -> str:
    """Count how often each interval holds the true mean; with the median relative width."""
    hits, widths, refused = np.zeros(3), list[float](), 0
    rng = generator(1, "near counts", seed, targets, documents)
    for _ in range(draws):
        target, document, numbers, truth = world(rng, targets, documents)
        scanned = ScannedDocuments(documents=documents, of=documents)
        found = mean_count(target, document, targets, scanned, weight_H=numbers)
        mean = found.interval
        if found.documents < LEAST_DOCUMENTS:
            refused += 1
            continue
        limits = bootstraps(target, document, numbers, (targets, documents), rng)
        limits.append((mean.low, mean.high))
        hits += [low <= truth <= high for low, high in limits]
        widths.append((mean.high - mean.low) / truth)
    if refused == draws:
        return "- | - | - | - | all"
    shares = " | ".join(f"{100 * hit / (draws - refused):.1f}" for hit in hits)
    return f"{shares} | {np.median(widths):.2f} | {refused}"


def of_a_sample(share: float, draws: int) -> str:
    """Share of samples of documents whose limits hold the number of the whole corpus."""
    held, widths = 0, list[float]()
    rng = generator(1, "near counts, sample", str(share))
    documents, targets = 20_000, 100
    world = templates(200, 3.0)
    for _ in range(draws):
        target, document, numbers, truth = world(rng, targets, documents)
        drawn_D = rng.random(documents) < share
        kept = drawn_D[document]
        scanned = ScannedDocuments(documents=int(drawn_D.sum()), of=documents)
        mean = mean_count(
            target[kept], document[kept], targets, scanned, weight_H=numbers[kept]
        ).interval
        held += mean.contains(truth)
        widths.append((mean.high - mean.low) / truth)
    return f"{100 * held / draws:.1f} | {np.median(widths):.2f}"


def main() -> None:
    """Print two markdown tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--draws", type=int, default=300)
    draws = parser.parse_args().draws
    print(
        "| near-duplicates | targets | documents | documents drawn again, % | both, % | ours, % "
        "| width | no limits |\n|---|---:|---:|---:|---:|---:|---:|---:|"
    )
    for name, (world, sizes) in WORLDS.items():
        for targets in TARGETS:
            for documents in sizes:
                row = covered(world, targets, documents, draws, name)
                print(f"| {name} | {targets} | {documents:,} | {row} |", flush=True)
    print("\n| share scanned | ours, % | width |\n|---:|---:|---:|")
    for share in (0.05, 0.2, 0.5, 1.0):
        print(f"| {share:g} | {of_a_sample(share, draws)} |", flush=True)


if __name__ == "__main__":
    main()
