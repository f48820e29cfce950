"""The best of all attacks on a model: its p and interval allow for their number.

Metrics: best_attack_p and best_attack_auc, one row of each per model; `attack` names the best one.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from stillage.audit.scores import BLIND, Scores
from stillage.functional.delong import fold_factor
from stillage.functional.multiplicity import MaxTest, max_statistic_test
from stillage.rng import generator
from stillage.run.results import measured_row
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
    together: float
    """Level of each attack's interval at which those of the whole family hold together."""

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
        scored = {name: scores.of(model, name) for name in scores.attacks(model)}
        family = tuple(name for name, one in scored.items() if one.has_both)
        if not family:
            continue
        records = scores.attacks_on(model)
        test = max_statistic_test(
            np.array([records.scores[name] for name in family]),
            records.is_member,
            generator(seed, "best_attack", model),
            n_permutations,
            clusters=records.clusters,
            inflation_A=np.array([fold_factor(scored[name].n_folds) for name in family]) ** 0.5,
            level=level,
        )
        tests[model] = FamilyTest(
            family=family,
            silent=tuple(name for name in scored if name not in family),
            n=len(records.ids),
            test=test,
            together=2 * float(ndtr(max(test.critical, float(ndtri((1 + level) / 2))))) - 1,
        )
    return tests


def best_attack_results(
    table: pa.Table, tests: Mapping[str, FamilyTest], *, level: float, base: Result
) -> list[Result]:
    """Return best_attack_p and best_attack_auc of every tested model.

    table: audit/scores.parquet. The AUC is the best attack's, with limits at the family's joint
    level; attacks without one are named in the note.
    """
    scores = Scores(table)
    results: list[Result] = []
    for model, tested in tests.items():
        chosen = scores.of(model, tested.best)
        row = replace(
            base,
            model=model,
            attack=tested.best,
            dataset="private vs nonmembers",
            level=level,
            tests=len(tested.family),
            note=f"without an AUC: {', '.join(tested.silent)}" if tested.silent else "",
        )
        results.append(replace(row, metric="best_attack_p", value=tested.test.p, n=tested.n))
        auc = chosen.auc(tested.together)
        results.append(measured_row(row, "best_attack_auc", auc, n=len(chosen.scores)))
    return results
