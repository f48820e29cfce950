"""The best of several attacks: found, tested with near-duplicates together, and only among attacks that scored."""

from __future__ import annotations

import math

import numpy as np
import pyarrow as pa
import pytest

from stillage.audit.best_attack import best_attack_results, family_tests
from stillage.audit.membership import Audited, score_rows
from stillage.audit.scores import Scores
from stillage.types import Result

BASE = Result(run="r", stage="audit", model="", metric="", value=math.nan, seed=3)
N = 160
AUDITED = Audited(
    ids=tuple(f"r{i:03}" for i in range(N)),
    parts=("private",) * 80 + ("nonmembers",) * 80,
    texts=("",) * N,
    groups=("",) * N,
)
TWINS = Audited(
    ids=AUDITED.ids,
    parts=AUDITED.parts,
    texts=AUDITED.texts,
    groups=tuple(f"g{i // 8}" for i in range(N)),
)


def table(audited: Audited, shifts: dict[str, float], *, clustered: bool = False) -> pa.Table:
    rng = np.random.default_rng(0)
    parts = []
    for attack, shift in shifts.items():
        noise = np.repeat(rng.normal(size=N // 8), 8) if clustered else rng.normal(size=N)
        parts.append(score_rows(audited, "student", attack, noise + shift * audited.is_member))
    return pa.concat_tables(parts)


def best_of(scores: pa.Table, level: float = 0.95, n_permutations: int = 2000) -> list[Result]:
    tests = family_tests(scores, level=level, seed=BASE.seed, n_permutations=n_permutations)
    return best_attack_results(scores, tests, level=level, base=BASE)


def by_metric(rows: list[Result]) -> dict[str, Result]:
    return {row.metric: row for row in rows}


def test_a_planted_attack_is_the_best_and_its_interval_allows_for_the_others() -> None:
    scores = table(AUDITED, {"loss": 0.0, "min_k": 0.0, "zlib": 1.0, "reference": 0.1})
    silent = score_rows(AUDITED, "student", "lowercase", np.full(N, np.nan))
    found = by_metric(best_of(pa.concat_tables([scores, silent]), n_permutations=400))
    best = found["best_attack_auc"]
    assert (best.attack, best.n, best.tests) == ("zlib", N, 4) and "lowercase" in best.note
    alone = Scores(scores).of("student", "zlib").auc(0.95)
    assert (
        best.value == alone.value
        and best.low < alone.low - 0.005
        and best.high > alone.high + 0.005
    )
    assert (
        found["best_attack_p"].value == pytest.approx(1 / 401)
        and found["best_attack_p"].attack == "zlib"
    )
    assert best_of(silent) == []


def test_the_order_of_the_rows_and_missing_scores_change_nothing_else() -> None:
    scores = table(AUDITED, {"loss": 0.3, "zlib": 0.2})
    shuffled = scores.take(np.random.default_rng(1).permutation(scores.num_rows))
    one, two = (best_of(part, 0.9, 100) for part in (scores, shuffled))
    assert sorted(row.metric for row in one) == ["best_attack_auc", "best_attack_p"]
    assert [(r.metric, r.attack, r.value) for r in one] == [
        (r.metric, r.attack, r.value) for r in two
    ]


def test_eight_copies_of_a_record_are_one_piece_of_evidence() -> None:
    shifts = {"loss": 0.9, "zlib": 0.0}
    naive = by_metric(best_of(table(AUDITED, shifts, clustered=True)))
    honest = by_metric(best_of(table(TWINS, shifts, clustered=True)))
    assert honest["best_attack_p"].value > 5 * naive["best_attack_p"].value
    assert honest["best_attack_auc"].low < naive["best_attack_auc"].low


def test_a_cross_fitted_attack_must_stand_out_more() -> None:
    plain, fitted = (
        by_metric(best_of(table(AUDITED, {"loss": 0.0, name: 0.35})))
        for name in ("zlib", "learned")
    )
    assert fitted["best_attack_p"].attack == "learned"
    assert fitted["best_attack_p"].value > 1.5 * plain["best_attack_p"].value
