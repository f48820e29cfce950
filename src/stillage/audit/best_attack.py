"""The best of all attacks on a model: its p and interval allow for their number.

Metrics: best_attack_p and best_attack_auc, one row of each per model; `attack` names the best one.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from stillage.audit.blind import N_FOLDS
from stillage.audit.scores import BLIND, Scores, is_cross_fitted
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
    """Test the attacks on each model together; a model without an AUC is left out.

    table: audit/scores.parquet. max_statistic_test, near-duplicates together; `together` comes from
    the critical value of the same shuffles in place of the normal one.
    """
    from scipy.special import ndtr, ndtri

    scores = Scores(table)
    tests: dict[str, FamilyTest] = {}
    for model in (name for name in scores.models if name != BLIND):
        asked = scores.attacks(model)
        family = [name for name in asked if scores.of(model, name).has_both]
        if not family:
            continue
        records = scores.attacks_on(model)
        test = max_statistic_test(
            np.array([records.scores[name] for name in family]),
            records.is_member,
            generator(seed, "best_attack", model),
            n_permutations,
            clusters=records.clusters,
            inflation_A=np.array(
                [fold_factor(N_FOLDS if is_cross_fitted(model, name) else 0) for name in family]
            )
            ** 0.5,
            level=level,
        )
        together = 2 * float(ndtr(max(test.critical, float(ndtri((1 + level) / 2))))) - 1
        silent = tuple(name for name in asked if name not in family)
        tests[model] = FamilyTest(
            family=tuple(family), silent=silent, n=len(records.ids), test=test, together=together
        )
    return tests


def best_attack_results(
    table: pa.Table, tests: Mapping[str, FamilyTest], *, level: float, base: Result
) -> list[Result]:
    """Return best_attack_p and best_attack_auc of every tested model.

    table: audit/scores.parquet. The family is every attack with an AUC on that model; those without
    one are named in the note. AUC: the best attack's, with limits at the family's joint level.
    """
    scores = Scores(table)
    results: list[Result] = []
    for model, tested in tests.items():
        chosen = scores.of(model, tested.best)
        limits = chosen.auc(tested.together, cross_fitted=is_cross_fitted(model, tested.best))
        silent = f"without an AUC: {', '.join(tested.silent)}" if tested.silent else ""
        row = replace(
            base,
            model=model,
            attack=tested.best,
            dataset="private vs nonmembers",
            level=level,
            tests=len(tested.family),
            note=silent,
        )
        results.append(replace(row, metric="best_attack_p", value=tested.test.p, n=tested.n))
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
