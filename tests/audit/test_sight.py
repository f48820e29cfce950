"""The checks on whether the auditor could see: pure, on planted numbers; each with what it must not refuse."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest

from stillage.audit.reading import (
    Losses,
    check_reading,
    in_quarters,
    reading_results,
    unigram_nats,
)
from stillage.audit.sight import (
    Other,
    Share,
    check_adapters,
    check_layout,
    check_positive_control,
    check_prompts,
    check_repeats,
    check_share_read,
    lower,
    repeated,
)
from stillage.functional.stats import Interval
from stillage.rng import generator
from stillage.types import Array, Record, Result, TokenStats

MEMBER = np.arange(40) < 20


def stats(logp: Array, ids: Array) -> TokenStats:
    return TokenStats(
        ids_T=ids.astype(np.int32),
        logp_T=logp.astype(np.float32),
        mean_T=logp,
        var_T=logp,
        rank_T=ids,
        greedy_T=ids > 0,
    )


def losses(model_Q: Array, member_Q: Array | None = None) -> Losses:
    """40 records of 8 tokens; nats of each quarter, of nonmembers and of members. The guess: 6 nats a quarter."""
    rows = np.where(MEMBER[:, None], model_Q if member_Q is None else member_Q, model_Q)
    return Losses(
        model_NQ=rows,
        guesses={"guess": np.full((40, 4), 6.0)},
        tokens_NQ=np.full((40, 4), 2.0),
        is_member=MEMBER,
    )


def other(used: Array, another: Array, is_member: Array = MEMBER) -> Other:
    return Other(
        model="teacher",
        what="in another way",
        fix="choose it",
        used_N=used,
        other_N=another,
        is_member=is_member,
    )


def test_token_frequencies_leave_a_records_own_half_out() -> None:
    ids = [np.array([0, 0]), np.array([1, 1]), np.array([1])]
    first, second, third = unigram_nats(ids, np.array([False, False, True]), 4)
    # the first is scored by the second: token 0 unseen, p = (0 + 1/4) / (2 + 1); token 1 in the third by the first's table
    np.testing.assert_allclose(first, -np.log([1 / 12, 1 / 12]))
    np.testing.assert_allclose(second, -np.log([1 / 12, 1 / 12]))
    np.testing.assert_allclose(third, -np.log([1 / 12]))
    assert in_quarters([np.arange(8.0), np.zeros(1)]).tolist() == [[1, 5, 9, 13], [0, 0, 0, 0]]


def test_who_reads_nowhere_is_refused_and_who_reads_somewhere_is_not() -> None:
    worse, better, start = np.full(4, 7.0), np.full(4, 3.0), np.array([3.0, 7.0, 7.0, 7.0])
    for seen in (losses(better), losses(worse, better), losses(better, worse), losses(start)):
        assert check_reading({"teacher": seen}).passed
    for unseen in (losses(worse), losses(np.full(4, 6.0)), losses(np.full(4, 5.9))):
        found = check_reading({"student": losses(better), "teacher": unseen})
        assert (
            not found.passed and found.fault == "unusable scores" and "teacher with" in found.detail
        )
    broken = losses(np.full(4, np.nan), better)
    assert check_reading({"teacher": broken}).passed


def test_a_model_from_elsewhere_must_read_more_than_a_quarter() -> None:
    """Its first token alone is guessed well in texts cut to a few characters, or written in another case."""
    start, better = np.array([3.0, 7.0, 7.0, 7.0]), np.full(4, 3.0)
    given = replace(losses(start), in_parts=False)
    found = check_reading({"student": given})
    assert not found.passed and "student with 3.00 on members (guess: 3.00)" in found.detail
    for seen in (losses(better), losses(start, better), losses(better, np.full(4, 7.0))):
        assert check_reading({"student": replace(seen, in_parts=False)}).passed


def test_how_well_each_model_reads_what_it_never_met() -> None:
    rng = np.random.default_rng(0)
    records = [Record(id=str(n), prompt="", response="abcd") for n in range(30)]

    def said(nats: float) -> dict[str, TokenStats]:
        return {
            record.id: stats(-nats * rng.uniform(0.9, 1.1, 4), np.arange(4)) for record in records
        }

    base = Result(run="", stage="audit", model="", metric="", value=math.nan)
    given = {"student": said(1.0), "reference": said(1.5)}
    rows = reading_results(given, records, np.arange(30), level=0.95, base=base)
    assert [(row.model, row.metric, row.dataset, row.n) for row in rows] == [
        (name, "nonmember_bits_per_byte", "nonmembers", 30) for name in given
    ]
    assert rows[1].value / rows[0].value == pytest.approx(1.5, rel=0.05)
    assert rows[0].low < rows[0].value < rows[0].high
    nothing = {"student": {record.id: stats(np.zeros(0), np.zeros(0)) for record in records}}
    assert reading_results(nothing, records, np.arange(30), level=0.95, base=base) == []


def test_the_share_that_was_read() -> None:
    full = Share(cut=50, n=100, response=0.5, must=True)
    assert check_share_read({"student": full}).passed
    for much in (
        Share(cut=51, n=100, response=1.0, must=True),
        Share(cut=0, n=100, response=0.49, must=True),
    ):
        found = check_share_read({"student": full, "teacher": much})
        assert (
            not found.passed
            and "Raise data.max_tokens" in found.detail
            and "student:" not in found.detail
        )
    trained_so = check_share_read({"teacher": Share(cut=100, n=100, response=0.1, must=False)})
    assert (
        trained_so.passed
        and "10.0% of the responses' tokens were scored, and 100.0%" in trained_so.detail
    )


@pytest.mark.parametrize("side", [MEMBER, ~MEMBER])
def test_another_layout_must_be_clearly_better(side: Array) -> None:
    rng = generator(1, "layout")
    used = rng.normal(3, 1, 40)
    noise = rng.normal(0, 0.05, 40)
    better = check_layout([other(used, used - 1.0 * side + noise)])
    assert not better.passed and "in another way" in better.detail and "choose it" in better.detail
    for same in (noise, noise - 0.02, noise + 0.5):
        assert check_layout([other(used, used + same)]).passed
    assert check_layout([other(used[:1], used[:1] - 1, np.array([True]))]).passed


def test_other_layouts_of_chance_are_rarely_better() -> None:
    rng = generator(2, "chance")
    assert (
        sum(lower(rng.normal(size=32), rng.normal(size=32)) for _ in range(2000)) <= 6
    )  # 0.05 % of one side: 1


def test_prompts_that_say_nothing_are_no_fault_and_prompts_that_are_missing_are() -> None:
    used = generator(3, "prompts").normal(3, 0.3, 40)
    assert "likelier with their own" in check_prompts([other(used, used + 1)]).detail
    unread = check_prompts([other(used, used + np.where(np.arange(40) % 2, 0.1, -0.1))])
    assert unread.passed and "no likelier" in unread.detail
    assert unread.says_nothing and not check_prompts([other(used, used + 1)]).says_nothing
    missing = check_prompts([], [other(used, used + 0.01)])
    assert not missing.passed and "data.columns" in missing.detail
    assert check_prompts([], [other(used, used + 1)]).passed  # plain text is what it learned from


def test_the_same_scores_for_other_tokens() -> None:
    rng = generator(4, "repeats")
    ids = [rng.integers(1, 50, 12) for _ in range(100)]
    honest = [stats(-rng.exponential(2, 12), one) for one in ids]
    assert check_repeats({"teacher": honest}).passed
    batch = [stats(honest[k % 50].logp_T, one) for k, one in enumerate(ids)]
    found = check_repeats({"student": honest, "teacher": batch})
    assert not found.passed and "100 of 100 under teacher" in found.detail
    twins = [stats(honest[k % 50].logp_T, ids[k % 50]) for k in range(100)]
    by_heart = [stats(np.zeros(12) - 1e-7, one) for one in ids]
    short = [stats(-np.ones(3), one[:3]) for one in ids]
    for fine in (twins, by_heart, short, [stats(np.zeros(0), np.zeros(0, int))] * 2):
        assert not repeated(fine).any()


def test_an_adapter_of_zeros_changes_nothing() -> None:
    assert check_adapters({"teacher": 0.1}).passed
    found = check_adapters({"teacher": 0.1, "student": 0.0})
    assert not found.passed and "adapter of student changes nothing" in found.detail


def test_the_teacher_is_the_positive_control() -> None:
    seen = {
        "loss": Interval(value=0.9, low=0.85, high=0.94),
        "min_k": Interval(value=0.6, low=0.4, high=0.77),
    }
    chance = {"loss": Interval(value=0.52, low=0.45, high=0.58)}
    assert (
        "sees the members in the teacher (loss"
        in check_positive_control({"teacher": seen, "student": chance}, ()).detail
    )
    given = check_positive_control({"teacher": chance}, ())
    assert given.passed and "or this is not the model" in given.detail
    assert (
        "keeps nothing that these attacks find"
        in check_positive_control({"teacher": chance}, {"teacher"}).detail
    )
    assert "No teacher" in check_positive_control({"student": seen}, ()).detail
    assert "swapped?" in check_positive_control({"teacher": chance, "student": seen}, ()).detail
