"""The best of all attacks on a model: how likely luck makes one of so many look as good, and an interval that allows for it.

Metrics: best_attack_p and best_attack_auc, one row of each per model; `attack` names the best one.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from stillage.audit.blind import N_FOLDS
from stillage.audit.membership import BLIND, by_model_and_attack, is_cross_fitted
from stillage.data.grouping import cluster_numbers
from stillage.functional.delong import fold_factor
from stillage.functional.multiplicity import MaxTest, max_statistic_test
from stillage.rng import generator
from stillage.types import Result

if TYPE_CHECKING:
    import pyarrow as pa


@dataclass(frozen=True, slots=True, kw_only=True)
class FamilyTest:
    """All attacks on one model, tested together."""

    family: tuple[str, ...]  # those with an AUC
    silent: tuple[str, ...]  # those without
    n: int  # records
    test: MaxTest
    together: (
        float  # level of each attack's interval at which those of the whole family hold together
    )

    @property
    def best(self) -> str:
        """The attack with the largest standardised AUC."""
        return self.family[self.test.best]


def family_tests(
    table: pa.Table, *, level: float, seed: int, n_permutations: int = 2000
) -> dict[str, FamilyTest]:
    """Model -> the test of its attacks; table: audit/scores.parquet. None for a model on which no attack has an AUC.

    max_statistic_test, near-duplicates together; `together` comes from the critical value of the same shuffles in place
    of the normal one.
    """
    from scipy.special import ndtr, ndtri

    scored = by_model_and_attack(table)
    columns = {
        name: table.column(name).to_numpy(zero_copy_only=False) for name in table.column_names
    }
    found: dict[str, FamilyTest] = {}
    for model in dict.fromkeys(name for name, _ in scored if name != BLIND):
        asked = [attack for name, attack in scored if name == model]
        family = [
            name
            for name in asked
            if 0 < scored[model, name].is_member.sum() < len(scored[model, name].scores)
        ]
        if not family:
            continue
        of_model = columns["model"] == model
        ids, first = np.unique(columns["id"][of_model].astype(str), return_index=True)
        member = columns["part"][of_model][first] == "private"
        scores_AN = np.full((len(family), ids.size), np.nan)
        for row, attack in enumerate(family):
            chosen = of_model & (columns["attack"] == attack) & np.isfinite(columns["score"])
            scores_AN[row, np.searchsorted(ids, columns["id"][chosen].astype(str))] = columns[
                "score"
            ][chosen]
        test = max_statistic_test(
            scores_AN,
            member,
            generator(seed, "best_attack", model),
            n_permutations,
            clusters=cluster_numbers(ids.tolist(), columns["group"][of_model][first].tolist()),
            inflation_A=np.array(
                [fold_factor(N_FOLDS if is_cross_fitted(model, name) else 0) for name in family]
            )
            ** 0.5,
            level=level,
        )
        together = 2 * float(ndtr(max(test.critical, float(ndtri((1 + level) / 2))))) - 1
        silent = tuple(name for name in asked if name not in family)
        found[model] = FamilyTest(
            family=tuple(family), silent=silent, n=ids.size, test=test, together=together
        )
    return found


def best_attack_results(
    table: pa.Table, tests: Mapping[str, FamilyTest], *, level: float, base: Result
) -> list[Result]:
    """best_attack_p and best_attack_auc of every tested model; table: audit/scores.parquet.

    The family is every attack with an AUC on that model; those without one are counted in the note. AUC: the best
    attack's, its limits at the level at which all of the family hold together.
    """
    scored = by_model_and_attack(table)
    results: list[Result] = []
    for model, found in tests.items():
        chosen = scored[model, found.best]
        limits = chosen.auc(found.together, cross_fitted=is_cross_fitted(model, found.best))
        silent = f"; without an AUC: {', '.join(found.silent)}" if found.silent else ""
        note = f"best of {len(found.family)}" + silent
        row = replace(
            base,
            model=model,
            attack=found.best,
            dataset="private vs nonmembers",
            level=level,
            note=note,
        )
        results.append(replace(row, metric="best_attack_p", value=found.test.p, n=found.n))
        results.append(
            replace(
                row,
                metric="best_attack_auc",
                value=limits.value,
                low=limits.low,
                high=limits.high,
                n=len(chosen.scores),
            )
        )
    return results
