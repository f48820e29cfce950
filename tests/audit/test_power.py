"""The rows that say what an attack on a model would have found, and how many records would show it harmless."""

from __future__ import annotations

import math

import numpy as np
import pyarrow as pa
import pytest

from stillage.audit.detectable import power_results
from stillage.audit.membership import Audited, blind_rows, score_rows
from stillage.functional.power import records_for_tpr, records_needed, smallest_auc, smallest_tpr
from stillage.functional.stats import tpr_at_fpr
from stillage.types import Result

BASE = Result(run="r", stage="audit", model="", metric="", value=math.nan, seed=3)


def audited(n: int, copies: int = 1) -> Audited:
    return Audited(
        ids=tuple(f"r{i:04}" for i in range(2 * n)),
        parts=("private",) * n + ("nonmembers",) * n,
        texts=("",) * 2 * n,
        groups=tuple("" if copies == 1 else f"g{i // copies}" for i in range(2 * n)),
    )


def rows(table: pa.Table, **more: float) -> dict[tuple[str, str], Result]:
    asked = {"harmless_auc": 0.6, "harmless_tpr": 0.05, "level": 0.95, **more}
    found = power_results(table, {"student": 0.99}, fprs=(0.1, 0.01), base=BASE, **asked)
    return {(row.attack, row.metric): row for row in found}


def test_each_attack_says_what_it_would_have_found_and_how_many_records_would_do() -> None:
    given, rng = audited(400), np.random.default_rng(0)
    loss = score_rows(given, "student", "loss", rng.normal(size=800))
    learned = score_rows(given, "student", "learned", rng.normal(size=800))
    silent = score_rows(given, "student", "zlib", np.where(given.is_member, 1.0, np.nan))
    blind = blind_rows(given, {"bag_of_words": rng.normal(size=800)})
    found = rows(pa.concat_tables([loss, learned, silent, blind]))
    assert set(found) == {
        (attack, metric)
        for attack in ("loss", "learned")
        for metric in ("detectable_auc", "detectable_tpr", "family_tpr")
    }
    auc, tpr = found["loss", "detectable_auc"], found["loss", "detectable_tpr"]
    member = given.is_member
    assert auc.value == smallest_auc(member, level=0.99) and (auc.level, auc.n) == (0.99, 800)
    assert auc.needed == records_needed(0.6, 0.99)
    assert tpr.value == smallest_tpr(member, 0.01) and tpr.level == 0.95
    assert (tpr.fpr, tpr.needed) == (0.01, round(records_for_tpr(0.05, 0.01)))
    assert (
        found["learned", "detectable_auc"].value > auc.value
    )  # cross-fitted: its interval is wider
    family = found["loss", "family_tpr"]
    own = tpr_at_fpr(loss.column("score").to_numpy(), member, 0.01, level=0.99)
    assert (family.value, family.low, family.high) == (own.value, own.low, own.high)
    assert family.level == 0.99
    assert (family.fpr, family.needed) == (0.01, round(records_for_tpr(0.05, 0.01, 0.99)))
    never = rows(loss, harmless_tpr=0.005)["loss", "detectable_tpr"]
    assert (never.needed, never.note) == (0, "no number of records would do")


def test_copies_count_once_and_a_handful_finds_nothing() -> None:
    noise = np.repeat(np.random.default_rng(1).normal(size=80), 10)
    plain, copied = (rows(score_rows(audited(400, n), "student", "loss", noise)) for n in (1, 10))
    assert copied["loss", "detectable_auc"].value == pytest.approx(
        smallest_auc(np.arange(80) < 40, level=0.99), abs=1e-3
    )
    assert copied["loss", "detectable_auc"].value > plain["loss", "detectable_auc"].value
    needed = [found["loss", "detectable_auc"].needed for found in (plain, copied)]
    assert needed[1] == pytest.approx(10 * needed[0], rel=0.01)
    tiny = rows(score_rows(audited(5), "student", "loss", np.arange(10.0)))
    assert all(
        math.isnan(row.value) and row.reason == "too few records to find anything"
        for row in tiny.values()
    )
    assert tiny["loss", "detectable_tpr"].needed == 300
