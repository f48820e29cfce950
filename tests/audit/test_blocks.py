"""Profiles of blocks: planted leaks are found in their block, nulls are compared on the same records, signs are right."""

from __future__ import annotations

import numpy as np
import pytest

from stillage.audit.block_auc import (
    Profile,
    block_results,
    block_table,
    gradient_profile,
    lens_profile,
    mope_profile,
    probe_profile,
    revert_profile,
)
from stillage.audit.membership import Audited
from stillage.functional.stats import auc_interval, paired_auc_test, roc_auc
from stillage.report.block_tables import WHOLE
from stillage.types import Result

N, HALF = 80, 40
BASE = Result(run="", stage="blocks", model="", metric="", value=float("nan"), seed=1)
AUDITED = Audited(
    ids=tuple(f"r{k:03d}" for k in range(N)),
    parts=("private",) * HALF + ("nonmembers",) * HALF,
    texts=("",) * N,
    groups=("",) * N,
)
MEMBER = AUDITED.is_member


def noise(*shape: int, seed: int = 1) -> np.ndarray:
    return np.random.default_rng(seed).normal(0, 1, shape)


def rows(results: list[Result], metric: str, **fields: str) -> list[Result]:
    found = [row for row in results if row.metric == metric]
    return [
        row for row in found if all(getattr(row, name) == value for name, value in fields.items())
    ]


def test_members_score_higher_in_every_measure() -> None:
    """What training does to a member (lower loss, smaller gradient, a sharper minimum) must raise every score."""
    leak = 8 * MEMBER
    loss, reference = 10 + noise(N) - leak, 10 + noise(N, seed=2)
    profiles = [
        mope_profile("student", loss + 1 + leak + noise(3, 2, N), loss),
        gradient_profile("student", 20 + noise(2, N) - leak),
        lens_profile("student", 20 + noise(2, N) - leak),
        revert_profile("student", np.stack([reference, loss]), loss, reference),
        probe_profile(
            "student",
            (noise(2, N, 5) + leak[:, None] / 4).astype(np.float32),
            AUDITED,
            1,
            n_shuffles=19,
        ),
    ]
    results = block_results(AUDITED, profiles, level=0.95, base=BASE)
    for profile in profiles:
        found = {
            row.block: row
            for row in rows(results, "block_auc", attack=profile.measure)
            if row.block != WHOLE
        }
        expected = {0: 0.5, 1: 1.0} if profile.measure == "revert" else {0: 1.0, 1: 1.0}
        assert {
            block: row.value for block, row in found.items() if block is not None
        } == pytest.approx(expected, abs=0.03)
        assert all(row.model == "student" and row.n == N for row in found.values())


def test_a_leak_in_one_block_is_found_there_and_beyond_the_null() -> None:
    scores = noise(3, N)
    scores[1] += 1.5 * MEMBER
    ours = Profile(model="student", measure="gradient", scores_SLN=scores[None])
    other = Profile(
        model="student_no_teacher", measure="gradient", scores_SLN=noise(1, 3, N, seed=3)
    )
    null = Profile(
        model="student_counterfactual", measure="gradient", scores_SLN=noise(1, 3, N, seed=2)
    )
    results = block_results(AUDITED, [ours, other, null], level=0.9, base=BASE)
    auc = rows(results, "block_auc", model="student")
    limits = auc_interval(scores[1], MEMBER, 0.9)
    assert (auc[1].value, auc[1].low, auc[1].high) == (limits.value, limits.low, limits.high)
    assert auc[1].low > 0.5 and not auc[0].low > 0.5 and not auc[2].low > 0.5
    excess = rows(results, "block_excess")
    assert [row.block for row in excess] == [0, 1, 2] and {row.model for row in excess} == {
        "student"
    }
    test = paired_auc_test(scores[1], null.scores_LN[1], MEMBER, 0.9)
    assert (excess[1].value, excess[1].low, excess[1].high) == (
        test.difference,
        test.low,
        test.high,
    )
    assert (
        excess[1].against == "student_counterfactual"
        and excess[1].p <= excess[1].p_adjusted
        and excess[1].tests == 3
    )
    assert excess[1].low > 0 > excess[0].low


def test_reverting_the_block_that_holds_the_leak_takes_it_away() -> None:
    reference = 5 + noise(N)
    loss = reference - 2.0 * MEMBER + 0.3 * noise(N, seed=2)
    reverted = np.stack([loss + 0.1 * noise(N, seed=3), reference + 0.3 * noise(N, seed=4)])
    results = block_results(
        AUDITED, [revert_profile("student", reverted, loss, reference)], level=0.95, base=BASE
    )
    whole = next(row for row in rows(results, "block_auc") if row.block == WHOLE)
    assert whole.value == roc_auc(reference - loss, MEMBER) > 0.95
    lost = rows(results, "block_revert")
    assert lost[0].high < 0.1 and lost[1].low > 0.2
    assert lost[1].value == pytest.approx(whole.value - roc_auc(reference - reverted[1], MEMBER))


def test_noise_is_averaged_over_draws_and_their_spread_is_said() -> None:
    noisy, loss = noise(4, 2, N), noise(N, seed=9)
    profile = mope_profile("teacher", noisy, loss)
    np.testing.assert_allclose(profile.scores_LN, noisy.mean(0) - loss)
    row = rows(block_results(AUDITED, [profile], level=0.95, base=BASE), "block_auc")[1]
    spread = np.std([roc_auc(one[1] - loss, MEMBER) for one in noisy], ddof=1)
    assert (
        row.value == roc_auc(noisy.mean(0)[1] - loss, MEMBER)
        and f"4 draws of noise {spread:.2g}" in row.note
    )


def test_the_probe_has_its_shuffles_and_the_wider_interval() -> None:
    found = probe_profile("student", noise(2, N, 6), AUDITED, 1, n_shuffles=19)
    results = block_results(AUDITED, [found], level=0.95, base=BASE)
    auc, null = rows(results, "block_auc"), rows(results, "block_probe_null")
    assert len(auc) == len(null) == 2 and "19 shuffles" in auc[0].note and 0 < auc[0].p <= 1
    assert null[0].low < null[0].value < null[0].high and abs(null[0].value - 0.5) < 0.1
    limits = auc_interval(found.scores_LN[0], MEMBER, n_folds=5)
    assert (auc[0].low, auc[0].high) == (limits.low, limits.high)
    assert not rows(results, "block_excess")


def test_missing_scores_are_counted_and_one_kind_alone_has_no_value() -> None:
    scores = noise(1, 2, N)
    scores[0, 0, :3], scores[0, 1, :HALF] = np.nan, np.nan
    found = rows(
        block_results(
            AUDITED, [Profile(model="m", measure="lens", scores_SLN=scores)], level=0.95, base=BASE
        ),
        "block_auc",
    )
    assert found[0].n == N - 3 and found[0].missing == 3
    assert np.isnan(found[1].value) and "one kind only" in found[1].reason


def test_near_duplicates_widen_the_interval() -> None:
    pairs = Audited(
        ids=AUDITED.ids,
        parts=AUDITED.parts,
        texts=AUDITED.texts,
        groups=tuple(f"g{k // 4}" for k in range(N)),
    )
    scores = np.repeat(noise(2, N // 4), 4, axis=1)[None] + 0.8 * MEMBER
    profile = Profile(model="student", measure="lens", scores_SLN=scores)
    alone, together = (
        block_results(a, [profile], level=0.95, base=BASE)[0] for a in (AUDITED, pairs)
    )
    assert together.value == alone.value and together.high - together.low > 1.4 * (
        alone.high - alone.low
    )


def test_the_table_has_every_score() -> None:
    whole = revert_profile("student", noise(2, N), noise(N), noise(N, seed=3))
    table = block_table(AUDITED, [mope_profile("teacher", noise(3, 2, N), noise(N)), whole])
    assert table.num_rows == 3 * 2 * N + 3 * N and set(table.column("block").to_pylist()) == {
        -1,
        0,
        1,
    }
    picked = [row for row in table.to_pylist() if row["measure"] == "revert" and row["block"] == 1]
    assert [row["score"] for row in picked] == whole.scores_LN[1].tolist()
    assert block_table(AUDITED, []).num_rows == 0
