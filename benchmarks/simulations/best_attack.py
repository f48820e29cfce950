"""How often the best attack is significant at 5 % where nothing leaks, by how the audited records are drawn.

    python benchmarks/simulations/best_attack.py [--trials 400]

A pool with families of near-duplicates, easier texts than the others, is drawn into members and nonmembers by whole families
(data.grouping), as many records of each side are then audited (audit.max_records), and three attacks that see nothing but how
easy a text is are tested together. Prints a Markdown table.
"""

from __future__ import annotations

import argparse

import numpy as np

from stillage.audit.draw_records import some_groups, some_records
from stillage.data.grouping import allot_groups, cluster_numbers
from stillage.functional.multiplicity import max_statistic_test
from stillage.rng import generator
from stillage.types import Record

CASES = (
    ("families of 8", [8] * 40 + [1] * 180, 400, 100, 60),
    ("families of 2 to 20", [2] * 30 + [5] * 20 + [20] * 12 + [1] * 300, 500, 160, 100),
    ("families of 8, equal sides", [8] * 40 + [1] * 180, 250, 250, 60),
    ("no families", [1] * 500, 400, 100, 60),
)


def trial(sizes: list[int], inside: int, outside: int, most: int, seed: int) -> dict[str, bool]:
    """Is p at most 0.05, for every way to draw?"""
    rng, number = generator(seed, "best attack"), np.repeat(np.arange(len(sizes)), sizes)
    size = np.bincount(number)[number]
    records = [Record(id=f"{index:05}", prompt="", response="") for index in range(number.size)]
    by_part = allot_groups(records, number, {"private": inside, "nonmembers": outside}, seed)
    pools = {
        part: sorted(by_part[part], key=lambda record: record.id)
        for part in ("private", "nonmembers")
    }
    own = [record for found in pools.values() for record in found]
    parts = [part for part, found in pools.items() for _ in found]

    def group_names(found: list[Record]) -> list[str]:
        return [str(number[int(record.id)]) if size[int(record.id)] > 1 else "" for record in found]

    easy = 2.0 * (size > 1) + 0.7 * rng.normal(size=len(sizes))[number]
    scores_AN = easy + 0.7 * rng.normal(size=(3, number.size))
    single = {part: some_records(found, most, seed, "audit", part) for part, found in pools.items()}
    drawn = {
        "all": (own, parts),
        "single records": (
            [record for found in single.values() for record in found],
            [part for part, found in single.items() for _ in found],
        ),
        "whole groups": some_groups(own, parts, group_names(own), most, seed, "audit"),
    }
    low = {}
    for name, (found, of) in drawn.items():
        place = [int(record.id) for record in found]
        clusters = cluster_numbers([record.id for record in found], group_names(found))
        test = max_statistic_test(
            scores_AN[:, place], np.array(of) == "private", rng, 199, clusters=clusters
        )
        low[name] = test.p <= 0.05
    return low


def main() -> None:
    """One row for each pool."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--trials", type=int, default=400)
    trials = parser.parse_args().trials
    print(
        "| pool | members | nonmembers | audited of each | all records | single records drawn | whole groups drawn |"
    )
    print("|---|---|---|---|---|---|---|")
    for name, sizes, inside, outside, most in CASES:
        low = [trial(sizes, inside, outside, most, seed) for seed in range(trials)]
        rates = " | ".join(f"{np.mean([one[how] for one in low]):.1%}" for how in low[0])
        print(f"| {name} | {inside} | {outside} | {most} | {rates} |")


if __name__ == "__main__":
    main()
