"""Variants of one experiment (methods, sizes) on the same records, pair by pair.

Metrics: auc (of each variant), auc_beyond_control (of each variant and control) and auc_difference
(of each pair), rouge_l_difference and the like; `method` is the variant's name.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from stillage.audit.paired_results import paired_results
from stillage.audit.scores import folds_of
from stillage.data.grouping import cluster_numbers
from stillage.errors import DataError
from stillage.functional.stats import (
    Interval,
    PairedTest,
    pooled_auc_interval,
    pooled_auc_test,
    pooled_mean_test,
)
from stillage.run.results import measured_row
from stillage.types import Array, Result


@dataclass(frozen=True, slots=True, kw_only=True)
class RunScores:
    """One attack on one model of one run; arrays of shape [n], in the order of ids."""

    run: str  # how an error names it
    seed: int
    ids: tuple[str, ...]
    groups: tuple[str, ...]  # of near-duplicates; "": alone
    is_member: Array  # bool
    scores: Array  # float64; not finite: no score

    @property
    def clusters(self) -> Array:
        """int[n]: equal for near-duplicates."""
        return cluster_numbers(self.ids, self.groups)

    def cut(self, kept_N: Array) -> RunScores:
        """Keep some of the records, bool[n]."""
        ids, groups = (
            tuple(itertools.compress(names, kept_N)) for names in (self.ids, self.groups)
        )
        is_member, scores = self.is_member[kept_N], self.scores[kept_N]
        return replace(self, ids=ids, groups=groups, is_member=is_member, scores=scores)


Variants = Mapping[str, Sequence[RunScores]]
"""Name of a variant, or of a control -> its runs, which differ in the seed alone."""


FIXES = {
    "audit": "Compare runs with one seed, one data section, one audit.max_records and the same"
    " prefix attacks.",
    "evaluate": "Evaluate runs with one seed, one data section and one generate.records.",
}
"""What two runs did to records -> what to do where these are not the same."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Seeds:
    """The runs of each seed, cut to the records that every one of them could score."""

    runs: Sequence[tuple[RunScores, ...]]
    missing: Sequence[int]  # records that were cut off
    same_records: bool  # all seeds audited the same ones

    @property
    def clusters(self) -> list[Array]:
        """The clusters of each seed's records."""
        return [runs[0].clusters for runs in self.runs]

    def on(self, row: Result) -> Result:
        """Count records and seeds in a row; a sample is no larger for being scored again."""
        seeds = len(self.runs)
        samples = 1 if self.same_records else seeds
        of = "the same records" if self.same_records else "other records each"
        return replace(
            row,
            n=sum(len(runs[0].ids) for runs in self.runs[:samples]),
            missing=sum(self.missing[:samples]),
            seeds=seeds,
            note=f"{seeds} seeds of {of}" if seeds > 1 else "",
        )


Test = Callable[[Seeds, Result], PairedTest]
"""Tests the difference of the two runs of each seed; the row says which model and level."""


def compare(
    variants: Variants, *, level: float, base: Result, refused: list[DataError] | None = None
) -> list[Result]:
    """Return every variant's AUC, pooled over seeds, and every pair's difference.

    With p and Holm's p over all pairs. base carries stage, model and attack. auc_difference: method
    the first of the pair, against the second. n, and the missing records: each record once where
    all seeds audited the same ones, else over all seeds. DataError where a pair shares no seed, or
    audited different records; with a list `refused` it goes there, and the pair has no result.
    """
    row = replace(base, level=level)
    results = [pooled_auc(name, runs, row) for name, runs in variants.items()]
    row = replace(row, metric="auc_difference")
    return results + all_pairs(variants, row, auc_difference, "audit", refused)


def compare_means(
    variants: Variants, *, level: float, base: Result, refused: list[DataError] | None = None
) -> list[Result]:
    """Return every pair's difference of a mean per record; no audit is needed.

    variants: runs hold a number from 0 to 1 per record, not `is_member`. base.metric: what it is;
    gives "<metric>_difference". Else as `compare`.
    """
    row = replace(base, level=level, attack="", metric=f"{base.metric}_difference")
    rows = all_pairs(variants, row, mean_difference, "evaluate", refused)
    return [replace(one, unit=f"difference of {base.metric}") for one in rows]


def beyond_controls(
    name: str, runs: Sequence[RunScores], controls: Variants, *, level: float, base: Result
) -> list[Result]:
    """Return a variant's AUC over its seeds less that of each of its runs' controls.

    `against` names the control. Each has its own interval: a leak must stand above every control.
    NaN where it cannot be tested.
    """
    row = replace(base, metric="auc_beyond_control", method=name, level=level)
    pairs = [(replace(row, against=control), runs, others) for control, others in controls.items()]
    results, refused = differences(pairs, auc_difference, "audit")
    return results + [replace(row, value=math.nan, reason=why.what) for row, why in refused]


def all_pairs(
    variants: Variants, row: Result, test: Test, did: str, refused: list[DataError] | None
) -> list[Result]:
    """Test every pair of variants; `refused` as in `compare`."""
    pairs = [
        (replace(row, method=a, against=b), runs_a, runs_b)
        for (a, runs_a), (b, runs_b) in itertools.combinations(variants.items(), 2)
    ]
    results, errors = differences(pairs, test, did)
    for _, error in errors:
        if refused is None:
            raise error
        refused.append(error)
    return results


def differences(
    pairs: Sequence[tuple[Result, Sequence[RunScores], Sequence[RunScores]]],
    test: Test,
    did: str,
) -> tuple[list[Result], list[tuple[Result, DataError]]]:
    """Test runs against others, Holm's p over all; and what could not be tested.

    did: a key of FIXES.
    """
    rows: list[Result] = []
    tests: list[PairedTest] = []
    refused: list[tuple[Result, DataError]] = []
    for row, runs_a, runs_b in pairs:
        try:
            seeds = scored_by_all(by_seed(runs_a, runs_b, did))
            difference = test(seeds, row)
        except DataError as error:
            refused.append((row, error))
        else:
            rows.append(seeds.on(row))
            tests.append(difference)
    return paired_results(rows, tests), refused


def pooled_auc(name: str, runs: Sequence[RunScores], base: Result) -> Result:
    """Compute a variant's AUC over its seeds, as a row."""
    seeds = scored_by_all([(run,) for run in runs])
    auc = auc_over_seeds(seeds, base.model, base.attack, base.level)
    return measured_row(replace(seeds.on(base), method=name), "auc", auc)


def auc_over_seeds(seeds: Seeds, model: str, attack: str, level: float = 0.95) -> Interval:
    """Compute the AUC over the seeds (stats.pooled_auc_interval)."""
    return pooled_auc_interval(
        [(run.scores, run.is_member) for (run,) in seeds.runs],
        level,
        same_records=seeds.same_records,
        clusters=seeds.clusters,
        n_folds=folds_of(model, attack),
    )


def auc_difference(seeds: Seeds, row: Result) -> PairedTest:
    """Test AUC(a) - AUC(b) over the seeds (stats.pooled_auc_test)."""
    return pooled_auc_test(
        [(a.scores, b.scores, a.is_member) for a, b in seeds.runs],
        row.level,
        same_records=seeds.same_records,
        clusters=seeds.clusters,
        n_folds=folds_of(row.model, row.attack),
    )


def mean_difference(seeds: Seeds, row: Result) -> PairedTest:
    """Test mean(a) - mean(b) over the seeds (stats.pooled_mean_test)."""
    return pooled_mean_test(
        [a.scores - b.scores for a, b in seeds.runs],
        row.level,
        same_records=seeds.same_records,
        clusters=seeds.clusters,
    )


def by_seed(
    runs_a: Sequence[RunScores], runs_b: Sequence[RunScores], did: str
) -> list[tuple[RunScores, ...]]:
    """Pair the runs of two variants that share a seed, or the only run of each.

    DataError, naming the runs: no pair, or unlike records.
    """
    of_b = {run.seed: run for run in runs_b}
    pairs: list[tuple[RunScores, ...]] = [
        (run, of_b[run.seed]) for run in runs_a if run.seed in of_b
    ]
    if not pairs and len(runs_a) == len(runs_b) == 1:
        pairs = [(runs_a[0], runs_b[0])]
    if not pairs:
        seeds = [", ".join(str(run.seed) for run in runs) for runs in (runs_a, runs_b)]
        raise DataError(
            f"{runs_a[0].run} and {runs_b[0].run} share no seed,"
            " so no two runs of theirs can be paired.",
            f"seeds: {' and '.join(seeds)}",
            "Run both with one seed.",
        )
    for a, b in pairs:
        if a.ids != b.ids or not np.array_equal(a.is_member, b.is_member):
            parts_a, parts_b = (
                dict(zip(run.ids, run.is_member.tolist(), strict=True)) for run in (a, b)
            )
            shared = sum(parts_b.get(id_) == part for id_, part in parts_a.items())
            raise DataError(
                f"{a.run} and {b.run} did not {did} the same records.",
                f"{len(a.ids)} and {len(b.ids)} records, {shared} of them in both and in one part",
                FIXES[did],
            )
    return pairs


def scored_by_all(runs: Sequence[tuple[RunScores, ...]]) -> Seeds:
    """Find the records that every run of a seed could score.

    Where all seeds audited the same records, one that some seed could not score is left out of all.
    """
    kept = [np.all([np.isfinite(run.scores) for run in of_seed], axis=0) for of_seed in runs]
    first = runs[0][0]
    same = all(
        one.ids == first.ids and np.array_equal(one.is_member, first.is_member) for one, *_ in runs
    )
    if same:
        kept = [np.all(kept, axis=0)] * len(kept)
    return Seeds(
        runs=[
            tuple(run.cut(fine) for run in of_seed)
            for of_seed, fine in zip(runs, kept, strict=True)
        ],
        missing=[int((~fine).sum()) for fine in kept],
        same_records=same,
    )
