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

from stillage.audit.blind import N_FOLDS
from stillage.audit.paired_results import paired_results
from stillage.audit.scores import is_cross_fitted
from stillage.data.grouping import cluster_numbers
from stillage.errors import DataError
from stillage.functional.stats import (
    Interval,
    PairedTest,
    pooled_auc_interval,
    pooled_auc_test,
    pooled_mean_test,
)
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


Variants = Mapping[str, Sequence[RunScores]]
"""Name of a variant -> its runs, which differ in the seed alone."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Counts:
    """What a number over seeds counts."""

    records: int  # each once where all seeds audited the same ones, else over all seeds
    missing: int  # records without a score, counted likewise
    seeds: int
    same_records: bool

    def on(self, row: Result) -> Result:
        """Give a row these counts."""
        of = "the same records" if self.same_records else "other records each"
        note = f"{self.seeds} seeds of {of}" if self.seeds > 1 else ""
        return replace(row, n=self.records, missing=self.missing, seeds=self.seeds, note=note)


Test = Callable[[Sequence[RunScores], Sequence[RunScores]], tuple[PairedTest, Counts]]
"""The runs of two variants -> the difference, and what it counts."""


def compare(
    variants: Variants, *, level: float, base: Result, refused: list[DataError] | None = None
) -> list[Result]:
    """Return every variant's AUC, pooled over seeds, and every pair's difference.

    With p and Holm's p over all pairs. base carries stage, model and attack. auc_difference: method
    the first of the pair, against the second. n, and the missing records: each record once where
    all seeds audited the same ones, else over all seeds. DataError where a pair shares no seed, or
    audited different records; with a list `refused` it goes there, and the pair has no result.
    """
    folds = N_FOLDS if is_cross_fitted(base.model, base.attack) else 0
    row = replace(base, level=level)
    results = [pooled_auc(name, runs, folds, row) for name, runs in variants.items()]
    row = replace(row, metric="auc_difference")
    return results + differences(
        variants, lambda a, b: difference_over_seeds(a, b, level, folds), row, refused
    )


def compare_means(
    variants: Variants, *, level: float, base: Result, refused: list[DataError] | None = None
) -> list[Result]:
    """Return every pair's difference of a mean per record; no audit is needed.

    With p and Holm's p over all pairs. variants: runs hold a number from 0 to 1 per record,
    not `is_member`. base.metric: what it is; gives "<metric>_difference". Else as `compare`.
    """
    row = replace(base, level=level, attack="", metric=f"{base.metric}_difference")
    rows = differences(variants, lambda a, b: mean_difference_over_seeds(a, b, level), row, refused)
    return [replace(one, unit=f"difference of {base.metric}") for one in rows]


def differences(
    variants: Variants, test: Test, row: Result, refused: list[DataError] | None
) -> list[Result]:
    """Every pair's difference, and Holm's p over all that could be tested."""
    rows: list[Result] = []
    tests: list[PairedTest] = []
    for (a, runs_a), (b, runs_b) in itertools.combinations(variants.items(), 2):
        try:
            difference, counts = test(runs_a, runs_b)
        except DataError as error:
            if refused is None:
                raise
            refused.append(error)
            continue
        rows.append(replace(counts.on(row), method=a, against=b))
        tests.append(difference)
    return paired_results(rows, tests)


def beyond_controls(
    name: str,
    runs: Sequence[RunScores],
    controls: Mapping[str, Sequence[RunScores]],
    *,
    level: float,
    base: Result,
) -> list[Result]:
    """Return a variant's AUC over its seeds less that of each of its runs' controls.

    `against` names the control. Each has its own interval: a leak must stand above every control.
    NaN where it cannot be tested.
    """
    n_folds = N_FOLDS if is_cross_fitted(base.model, base.attack) else 0
    row = replace(base, metric="auc_beyond_control", method=name, level=level)
    rows: list[Result] = []
    tests: list[PairedTest] = []
    untested: list[Result] = []
    for control, others in controls.items():
        try:
            difference, counts = difference_over_seeds(runs, others, level, n_folds)
        except DataError as error:
            untested.append(replace(row, value=math.nan, against=control, reason=error.what))
            continue
        rows.append(replace(counts.on(row), against=control))
        tests.append(difference)
    return paired_results(rows, tests) + untested


def pooled_auc(name: str, runs: Sequence[RunScores], folds: int, base: Result) -> Result:
    """A variant's AUC over its seeds."""
    interval, counts = auc_over_seeds(runs, base.level, folds)
    row = replace(counts.on(base), metric="auc", method=name)
    return replace(row, value=interval.value, low=interval.low, high=interval.high)


def auc_over_seeds(
    runs: Sequence[RunScores], level: float = 0.95, n_folds: int = 0
) -> tuple[Interval, Counts]:
    """AUC over seeds (stats.pooled_auc_interval), near-duplicates as one; what counts."""
    kept, same_records = scored_by_all([(run,) for run in runs])
    interval = pooled_auc_interval(
        [(run.scores[fine], run.is_member[fine]) for run, fine in zip(runs, kept, strict=True)],
        level,
        same_records=same_records,
        clusters=[run.clusters[fine] for run, fine in zip(runs, kept, strict=True)],
        n_folds=n_folds,
    )
    return interval, counted(kept, same_records)


def difference_over_seeds(
    runs_a: Sequence[RunScores], runs_b: Sequence[RunScores], level: float = 0.95, n_folds: int = 0
) -> tuple[PairedTest, Counts]:
    """Test AUC(a) - AUC(b) on the same records over the seeds that both have.

    stats.pooled_auc_test; the rest as auc_over_seeds. DataError as by_seed.
    """
    pairs = by_seed(runs_a, runs_b)
    kept, same_records = scored_by_all(pairs)
    test = pooled_auc_test(
        [
            (a.scores[fine], b.scores[fine], a.is_member[fine])
            for (a, b), fine in zip(pairs, kept, strict=True)
        ],
        level,
        same_records=same_records,
        n_folds=n_folds,
        clusters=[a.clusters[fine] for (a, _), fine in zip(pairs, kept, strict=True)],
    )
    return test, counted(kept, same_records)


def mean_difference_over_seeds(
    runs_a: Sequence[RunScores], runs_b: Sequence[RunScores], level: float = 0.95
) -> tuple[PairedTest, Counts]:
    """Test mean(a) - mean(b) on the same records over the seeds that both have.

    stats.pooled_mean_test; the rest as auc_over_seeds. DataError as by_seed.
    """
    pairs = by_seed(
        runs_a,
        runs_b,
        "evaluate",
        "Evaluate runs with one seed, one data section and one generate.records.",
    )
    kept, same_records = scored_by_all(pairs)
    test = pooled_mean_test(
        [a.scores[fine] - b.scores[fine] for (a, b), fine in zip(pairs, kept, strict=True)],
        level,
        same_records=same_records,
        clusters=[a.clusters[fine] for (a, _), fine in zip(pairs, kept, strict=True)],
    )
    return test, counted(kept, same_records)


def by_seed(
    runs_a: Sequence[RunScores],
    runs_b: Sequence[RunScores],
    did: str = "audit",
    fix: str = "Compare runs with one seed, one data section, one audit.max_records and the same"
    " prefix attacks.",
) -> list[tuple[RunScores, RunScores]]:
    """Pair the runs of two variants that share a seed, or the only run of each.

    did, fix: the words of the error. DataError, naming the runs: no pair, or unlike records.
    """
    of_b = {run.seed: run for run in runs_b}
    pairs = [(run, of_b[run.seed]) for run in runs_a if run.seed in of_b]
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
                fix,
            )
    return pairs


def scored_by_all(pairs: Sequence[tuple[RunScores, ...]]) -> tuple[list[Array], bool]:
    """Mark, for each seed, the records that every run of it could score, bool[n].

    Also tell whether all seeds share them. Where all seeds audited the same records, one that some
    seed could not score is left out of all.
    """
    kept = [np.asarray(np.isfinite([run.scores for run in runs]).all(axis=0)) for runs in pairs]
    first = pairs[0][0]
    same = all(
        runs[0].ids == first.ids and np.array_equal(runs[0].is_member, first.is_member)
        for runs in pairs
    )
    return [np.asarray(np.all(kept, axis=0))] * len(kept) if same else kept, same


def counted(kept: Sequence[Array], same_records: bool) -> Counts:
    """Count records and seeds; a sample is no larger for being scored again."""
    samples = kept[:1] if same_records else kept
    return Counts(
        records=int(sum(fine.sum() for fine in samples)),
        missing=int(sum((~fine).sum() for fine in samples)),
        seeds=len(kept),
        same_records=same_records,
    )
