"""ROC, AUC, paired test and TPR against brute force, scikit-learn, exact rules and simulated coverage."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import binomtest, norm
from sklearn.metrics import roc_auc_score
from sklearn.metrics import roc_curve as sklearn_roc_curve

from stillage.errors import DataError
from stillage.functional.binomial import clustered_proportion
from stillage.functional.bootstrap import resamples
from stillage.functional.stats import (
    auc_interval,
    clopper_pearson,
    finite,
    paired_auc_test,
    pooled_auc_interval,
    pooled_auc_test,
    roc_auc,
    roc_band,
    roc_curve,
    tpr_at_fpr,
)
from stillage.rng import generator

tied_scores = st.lists(st.integers(-3, 3), min_size=1, max_size=25)


def labelled(
    inside: list[float] | np.ndarray, outside: list[float] | np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    scores = np.concatenate([np.asarray(inside, float), np.asarray(outside, float)])
    return scores, np.arange(scores.size) < len(inside)


def binormal(
    rng: np.random.Generator, auc: float, n_in: int, n_out: int
) -> tuple[np.ndarray, np.ndarray]:
    return labelled(rng.normal(norm.ppf(auc) * math.sqrt(2), 1, n_in), rng.normal(0, 1, n_out))


@given(tied_scores, tied_scores)
def test_auc_is_the_share_of_pairs_won_with_ties_half(
    inside: list[int], outside: list[int]
) -> None:
    pairs = [(i > o) + 0.5 * (i == o) for i in inside for o in outside]
    scores, member = labelled(inside, outside)
    assert roc_auc(scores, member) == pytest.approx(np.mean(pairs), abs=1e-12)
    assert roc_auc(scores, member) == pytest.approx(roc_auc_score(member, scores), abs=1e-12)
    assert roc_auc(-scores, member) == pytest.approx(
        1 - roc_auc(scores, member), abs=1e-12
    )  # never folded


@given(tied_scores, tied_scores)
def test_roc_curve_is_that_of_scikit_learn(inside: list[int], outside: list[int]) -> None:
    scores, member = labelled(inside, outside)
    roc = roc_curve(scores, member)
    fpr, tpr, thresholds = sklearn_roc_curve(member, scores, drop_intermediate=False)
    np.testing.assert_allclose(roc.fpr, fpr, atol=1e-12)
    np.testing.assert_allclose(roc.tpr, tpr, atol=1e-12)
    np.testing.assert_array_equal(roc.thresholds, thresholds)
    assert np.trapezoid(roc.tpr, roc.fpr) == pytest.approx(roc_auc(scores, member), abs=1e-12)


def brute_delong_variance(inside: np.ndarray, outside: np.ndarray) -> float:
    wins = (inside[:, None] > outside[None]) + 0.5 * (inside[:, None] == outside[None])
    return wins.mean(1).var(ddof=1) / len(inside) + wins.mean(0).var(ddof=1) / len(outside)


@given(st.integers(0, 10**6), st.integers(5, 40), st.integers(5, 40))
def test_interval_is_logit_delong_from_all_pairs(seed: int, n_in: int, n_out: int) -> None:
    scores, member = binormal(generator(seed, "delong"), 0.7, n_in, n_out)
    scores = np.round(scores, 1)
    auc, variance = roc_auc(scores, member), brute_delong_variance(scores[member], scores[~member])
    if not 0 < auc < 1:
        return
    half = 1.959963984540054 * math.sqrt(variance) / (auc * (1 - auc))
    edge = 0.025 ** (1 / min(n_in, n_out))
    found = auc_interval(scores, member)
    assert found.low == pytest.approx(
        min(edge, 1 / (1 + math.exp(half - math.log(auc / (1 - auc))))), abs=1e-9
    )
    assert found.high == pytest.approx(
        max(1 - edge, 1 / (1 + math.exp(-half - math.log(auc / (1 - auc))))), abs=1e-9
    )
    assert found.low <= found.value == auc <= found.high


@pytest.mark.parametrize("n", [1, 2, 20, 800])
def test_perfect_and_reversed_scores_get_the_exact_binomial_limit(n: int) -> None:
    scores, member = labelled(np.arange(n) + 1.0, -np.arange(n) - 1.0)
    found, mirror = auc_interval(scores, member), auc_interval(-scores, member)
    assert (found.value, found.high, mirror.value, mirror.low) == (1, 1, 0, 0)
    exact = binomtest(n, n).proportion_ci(0.95, "exact").low
    assert found.low == pytest.approx(0 if n == 1 else exact) and mirror.high == pytest.approx(
        1 - found.low
    )


def test_one_misplaced_pair_never_narrows_the_interval_of_perfect_separation() -> None:
    scores, member = labelled(np.arange(100) + 0.5, -np.arange(100) + 0.0)
    swapped = scores.copy()
    swapped[0], swapped[100] = scores[100], scores[0]
    assert auc_interval(swapped, member).low <= auc_interval(scores, member).low


@given(st.integers(2, 60), st.integers(2, 60), st.floats(-5, 5))
def test_all_equal_scores_are_exactly_chance_with_an_interval_around_it(
    n_in: int, n_out: int, value: float
) -> None:
    found = auc_interval(*labelled([value] * n_in, [value] * n_out))
    assert found.value == 0.5 and 0 <= found.low < 0.5 < found.high <= 1
    assert found.high - 0.5 == pytest.approx(0.5 - found.low)


def test_each_record_twice_in_a_cluster_gives_the_interval_of_the_records_once() -> None:
    scores, member = binormal(generator(0, "cluster"), 0.75, 60, 80)
    once = auc_interval(scores, member)
    clusters = np.tile(np.arange(140), 2)
    twice = auc_interval(np.tile(scores, 2), np.tile(member, 2), clusters=clusters)
    assert (twice.low, twice.high) == pytest.approx((once.low, once.high), abs=2e-3)  # Student's t
    blind = auc_interval(np.tile(scores, 2), np.tile(member, 2))
    assert blind.high - blind.low < 0.75 * (once.high - once.low)
    assert auc_interval(scores, member, clusters=range(140)) == once


def test_inflated_clusters_that_span_both_classes_still_cover() -> None:
    rng, covered = generator(1, "spanning"), 0
    for _ in range(
        400
    ):  # each cluster: 3 members and 2 nonmembers share a random effect; true AUC from the difference
        shared = rng.normal(0, 1, 60)
        inside, outside = (
            shared.repeat(3) + rng.normal(0.5, 1, 180),
            shared.repeat(2) + rng.normal(0, 1, 120),
        )
        groups = np.concatenate([np.arange(60).repeat(3), np.arange(60).repeat(2)])
        covered += auc_interval(*labelled(inside, outside), clusters=groups).contains(
            norm.cdf(0.5 / 2)
        )
    assert 0.92 <= covered / 400 <= 0.98


def coverage_of_auc(auc: float, n: int, repetitions: int) -> float:
    rng = generator(int(auc * 1000), "coverage", n)
    return float(
        np.mean([auc_interval(*binormal(rng, auc, n, n)).contains(auc) for _ in range(repetitions)])
    )


@pytest.mark.parametrize("auc", [0.5, 0.75, 0.95])
def test_auc_interval_covers(auc: float) -> None:
    assert (
        0.93 <= coverage_of_auc(auc, 100, 1000) <= 0.975
    )  # 94-97 %, within three simulation errors


@pytest.mark.slow
@pytest.mark.parametrize("n", [100, 300])
@pytest.mark.parametrize("auc", [0.5, 0.6, 0.7, 0.8, 0.9, 0.95])
def test_auc_interval_covers_94_to_97_percent(auc: float, n: int) -> None:
    assert 0.94 - 0.004 <= coverage_of_auc(auc, n, 10_000) <= 0.97 + 0.004  # two simulation errors


def test_worst_distribution_is_covered_near_one() -> None:
    """3 % of members below every nonmember: true AUC .97, and about one sample in twenty separates perfectly."""
    rng, covered = generator(3, "worst"), 0
    for _ in range(1000):
        inside = np.where(rng.random(100) < 0.03, -10, 10) + rng.normal(0, 1, 100)
        covered += auc_interval(*labelled(inside, rng.normal(0, 1, 100))).contains(0.97)
    assert covered / 1000 >= 0.93


@settings(max_examples=25)
@given(st.integers(0, 10**6))
def test_paired_test_is_delong_with_all_pairs(seed: int) -> None:
    rng = generator(seed, "paired")
    a, member = binormal(rng, 0.7, 30, 40)
    b = 0.5 * a + rng.normal(0, 1, 70)
    wins = [(s[member][:, None] > s[~member][None]).astype(float) for s in (a, b)]
    change = wins[0] - wins[1]
    error = math.sqrt(change.mean(1).var(ddof=1) / 30 + change.mean(0).var(ddof=1) / 40)
    found = paired_auc_test(a, b, member)
    assert found.difference == pytest.approx(change.mean(), abs=1e-12)
    assert found.p == pytest.approx(2 * norm.sf(abs(change.mean()) / error), rel=1e-9)
    assert found.high - found.difference == pytest.approx(1.959963984540054 * error, rel=1e-9)
    swapped = paired_auc_test(b, a, member)
    assert (swapped.difference, swapped.p) == pytest.approx((-found.difference, found.p))


def test_paired_test_without_variance() -> None:
    perfect, member = labelled(np.arange(20) + 1.0, -np.arange(20) - 1.0)
    same = paired_auc_test(perfect, 3 * perfect + 1, member)
    assert same.difference == 0 and same.p == 1 and same.low < 0 < same.high
    opposite = paired_auc_test(perfect, -perfect, member)
    assert opposite.difference == 1 and opposite.p == 2.0**-19 and opposite.low > 0.5


def test_paired_test_rejects_at_its_level_under_the_null() -> None:
    rng, rejected = generator(5, "null"), 0
    for _ in range(600):
        a, member = binormal(rng, 0.7, 100, 100)
        shared = rng.normal(0, 1, 200)
        rejected += paired_auc_test(a + shared, a + rng.permutation(shared), member).p < 0.05
    assert 0.02 <= rejected / 600 <= 0.085


@given(
    tied_scores,
    st.lists(st.integers(-3, 3), min_size=6, max_size=60),
    st.sampled_from([0.1, 0.25, 0.5]),
)
def test_threshold_is_the_smallest_that_the_nonmembers_allow(
    inside: list[int], outside: list[int], fpr: float
) -> None:
    scores, member = labelled(inside, outside)
    if len(outside) * fpr < 3 and len({*inside, *outside}) > 1:
        with pytest.raises(DataError, match=f"3/fpr = {math.ceil(3 / fpr)}"):
            tpr_at_fpr(scores, member, fpr)
        return
    allowed = math.floor(fpr * len(outside) + 1e-9)
    smallest = min(t for t in [*outside, -math.inf] if sum(o > t for o in outside) <= allowed)
    rate = tpr_at_fpr(scores, member, fpr)
    assert rate.threshold == smallest
    assert rate.value == np.mean([i > smallest for i in inside])
    assert rate.achieved_fpr == np.mean([o > smallest for o in outside]) <= fpr
    assert (
        rate.low <= rate.value <= rate.high
        and rate.achieved_fpr_low <= rate.achieved_fpr <= rate.achieved_fpr_high
    )
    assert (rate.n, rate.n_nonmembers) == (len(inside), len(outside))


def test_tpr_threshold_ignores_members_and_warns_when_nonmembers_are_few() -> None:
    outside = np.arange(300.0)
    few, many = (
        tpr_at_fpr(*labelled(inside, outside), 0.01) for inside in ([5.0] * 9, [1000.0] * 9)
    )
    assert few.threshold == many.threshold == 296 and (few.value, many.value) == (0, 1)
    assert few.achieved_fpr == 0.01 and "1000 are advised" in few.warning
    assert tpr_at_fpr(*labelled([5.0], outside), 0.1).warning == ""
    nearly_all = tpr_at_fpr(
        *labelled([0.0, 5.0], outside), 1 - 1e-13
    )  # fewer than all nonmembers, however near to it
    assert nearly_all.threshold == 0 and nearly_all.value == 0.5
    with pytest.raises(DataError, match="between 0 and 1"):
        tpr_at_fpr(*labelled([5.0], outside), 0.0)


def test_achieved_fpr_interval_covers_the_true_rate_of_the_printed_threshold() -> None:
    rng, covered, repetitions = generator(7, "tpr"), 0, 400
    for _ in range(repetitions):
        rate = tpr_at_fpr(*labelled(rng.normal(1.5, 1, 80), rng.normal(0, 1, 200)), 0.05)
        covered += rate.achieved_fpr_low <= norm.sf(rate.threshold) <= rate.achieved_fpr_high
    assert covered / repetitions >= 0.94


def test_roc_band_covers_pointwise_and_is_sensible_at_perfect_separation() -> None:
    rng, grid = generator(9, "band"), np.array([0.02, 0.05, 0.2, 0.5, 1.0])
    truth = norm.sf(norm.isf(grid) - 1)
    covered = np.zeros(5)
    for _ in range(300):
        band = roc_band(*labelled(rng.normal(1, 1, 150), rng.normal(0, 1, 150)), grid)
        assert (band.low <= band.tpr + 1e-12).all() and (band.tpr <= band.high + 1e-12).all()
        covered += (band.low <= truth) & (truth <= band.high)
    assert (covered / 300 >= 0.93).all()
    perfect = roc_band(*labelled(np.arange(800) + 1.0, -np.arange(800.0)))
    assert (perfect.high == 1).all() and perfect.low[perfect.fpr > 0.01].min() > 0.99
    assert perfect.low[0] == 0 and perfect.low[-1] == 1 and (np.diff(perfect.low) >= 0).all()


def test_pooled_interval_over_seeds() -> None:
    rng = generator(11, "pooled")
    run = binormal(rng, 0.8, 100, 100)
    one, alone = pooled_auc_interval([run]), auc_interval(*run)
    assert (one.low, one.high) == pytest.approx((alone.low, alone.high))
    fresh = pooled_auc_interval([binormal(rng, 0.8, 100, 100) for _ in range(8)])
    assert fresh.high - fresh.low < 0.75 * (alone.high - alone.low)
    copies = pooled_auc_interval(
        [run] * 8, same_records=True
    )  # eight copies of one run are one run
    assert (copies.low, copies.high) == pytest.approx((alone.low, alone.high))
    perfect = labelled(np.arange(50) + 1.0, -np.arange(50.0))
    assert pooled_auc_interval([perfect] * 3).low == pytest.approx(0.025 ** (1 / 150))
    spread = pooled_auc_interval([binormal(rng, auc, 2000, 2000) for auc in (0.6, 0.75, 0.9)])
    assert (
        spread.low < 0.6 and spread.high > 0.85
    )  # seeds that disagree are not averaged into certainty
    with pytest.raises(DataError, match="same records"):
        pooled_auc_interval([run, binormal(rng, 0.8, 90, 110)], same_records=True)
    with pytest.raises(DataError, match="No run"):
        pooled_auc_interval([])


def pooled_coverage(seeds: int, scatter: float, *, same_records: bool, repetitions: int) -> float:
    """Latent difference ~ N(1, scatter) per seed; the target is the mean AUC over such seeds."""
    rng, covered = generator(13, "hierarchy", seeds, str(scatter), str(same_records)), 0
    truth = norm.cdf(1 / math.sqrt(2 + scatter**2))
    for _ in range(repetitions):
        fixed = 0.8 * rng.normal(0, 1, 200)
        runs = []
        for _ in range(seeds):
            noise = fixed + 0.6 * rng.normal(0, 1, 200) if same_records else rng.normal(0, 1, 200)
            runs.append(labelled(noise[:100] + rng.normal(1, scatter), noise[100:]))
        covered += pooled_auc_interval(runs, same_records=same_records).contains(truth)
    return covered / repetitions


@pytest.mark.parametrize("same_records", [False, True])
def test_pooled_interval_covers(same_records: bool) -> None:
    assert pooled_coverage(3, 0.2, same_records=same_records, repetitions=300) >= 0.91


@pytest.mark.slow
@pytest.mark.parametrize("same_records", [False, True])
@pytest.mark.parametrize("scatter", [0.0, 0.1, 0.3])
@pytest.mark.parametrize("seeds", [3, 5])
def test_pooled_interval_covers_for_any_scatter(
    seeds: int, scatter: float, same_records: bool
) -> None:
    assert pooled_coverage(seeds, scatter, same_records=same_records, repetitions=3000) >= 0.93


def paired_runs(
    rng: np.random.Generator, seeds: int, shift: float
) -> list[tuple[np.ndarray, np.ndarray, np.ndarray]]:
    """Two models' scores of the same 80 records per seed; the first is better by `shift` standard deviations."""
    runs = []
    for _ in range(seeds):
        shared, member = binormal(rng, 0.6, 40, 40)
        runs.append(
            (
                shared + rng.normal(shift, 0.2) * member + rng.normal(0, 1, 80),
                shared + rng.normal(0, 1, 80),
                member,
            )
        )
    return runs


def test_pooled_differences_of_one_seed_and_of_copies() -> None:
    rng = generator(17, "pooled pairs")
    a, b, member = paired_runs(rng, 1, 0.5)[0]
    alone = paired_auc_test(a, b, member)
    assert pooled_auc_test([(a, b, member)]) == alone
    copies = pooled_auc_test(
        [(a, b, member)] * 6, same_records=True
    )  # six copies of one seed are one seed
    assert (copies.low, copies.high, copies.p) == pytest.approx((alone.low, alone.high, alone.p))
    same = pooled_auc_test([(a, a, member), (b, b, member)])
    assert (same.difference, same.p) == (0, 1) and same.low < 0 < same.high
    twice = [tuple(np.repeat(x, 2) for x in run) for run in ((a, b, member), (b, a, member))]
    honest = pooled_auc_test(twice, clusters=[np.repeat(np.arange(80), 2)] * 2)
    plain = pooled_auc_test([(a, b, member), (b, a, member)])
    assert (honest.low, honest.high) == pytest.approx((plain.low, plain.high), abs=0.01)
    with pytest.raises(DataError, match="No run"):
        pooled_auc_test([])


def test_pooled_differences_agree_with_the_hierarchical_bootstrap() -> None:
    """Draw seeds, then records within each drawn seed, both models on one draw (Davison and Hinkley 1997, section 3.8)."""
    rng = generator(18, "pooled pairs")
    runs = paired_runs(rng, 12, 0.6)
    found = pooled_auc_test(runs)
    drawn, means = [resamples(member, rng) for *_, member in runs], []
    for _ in range(150):
        values = []
        for seed in rng.integers(12, size=12).tolist():
            rows = np.repeat(np.arange(80), next(drawn[seed]))
            a, b, member = (x[rows] for x in runs[seed])
            values.append(roc_auc(a, member) - roc_auc(b, member))
        means.append(np.mean(values))
    assert found.difference == pytest.approx(np.mean(means), abs=0.01)
    # the bootstrap adds the records' scatter to seeds that hold it already: wider, never by more than sqrt(2)
    half, wide = (found.high - found.low) / 2, 1.96 * float(np.std(means))
    assert 0.6 < half / wide < 1.2


@pytest.mark.parametrize("seeds", [1, 3])
def test_pooled_differences_reject_at_their_level_under_the_null(seeds: int) -> None:
    rng = generator(19, "pooled null", seeds)
    rejected = sum(pooled_auc_test(paired_runs(rng, seeds, 0.0)).p < 0.05 for _ in range(300))
    assert rejected / 300 <= (
        0.2 if seeds == 1 else 0.085
    )  # one seed cannot see how much seeds differ


@given(st.integers(1, 200), st.data())
def test_clopper_pearson_is_scipys(n: int, data: st.DataObject) -> None:
    count = data.draw(st.integers(0, n))
    exact, found = binomtest(count, n).proportion_ci(0.95, "exact"), clopper_pearson(count, n)
    assert (found.low, found.high) == pytest.approx((exact.low, exact.high), abs=1e-9)


def test_a_clustered_proportion_is_clopper_pearsons_where_nobody_has_a_twin() -> None:
    hits = generator(3, "hits").random(40) < 0.3
    assert clustered_proportion(hits, np.arange(40)) == clopper_pearson(int(hits.sum()), 40)
    assert (
        clustered_proportion(np.ones(40, bool), np.arange(40) // 4).low
        == clopper_pearson(10, 10).low
    )
    twice = clustered_proportion(np.repeat(hits, 2), np.repeat(np.arange(40), 2))
    once = clustered_proportion(hits, np.arange(40))
    assert (
        twice.value == once.value
        and abs(twice.low - once.low) < 0.01
        and abs(twice.high - once.high) < 0.01
    )


def test_a_clustered_proportion_covers_where_the_plain_one_does_not() -> None:
    """60 clusters of 1 to 9 records with a common chance of their own (mean 0.3): 95 % intervals, 1,500 draws."""
    rng, plain, clustered = generator(4, "clusters"), 0, 0
    for _ in range(1500):
        sizes = rng.integers(1, 10, size=60)
        clusters = np.repeat(np.arange(60), sizes)
        hits = rng.random(sizes.sum()) < np.repeat(rng.beta(0.6, 1.4, size=60), sizes)
        plain += clopper_pearson(int(hits.sum()), hits.size).contains(0.3)
        clustered += clustered_proportion(hits, clusters).contains(0.3)
    assert plain < 0.85 * 1500
    assert 0.93 * 1500 <= clustered <= 0.99 * 1500


@pytest.mark.parametrize(("count", "n"), [(0, 0), (3, 2), (-1, 5)])
def test_clopper_pearson_refuses_impossible_counts(count: int, n: int) -> None:
    with pytest.raises(DataError, match=f"n = {n}"):
        clopper_pearson(count, n)


def test_bad_input_is_refused_with_its_numbers() -> None:
    scores, member = (
        np.array([1.0, np.nan, 2.0, np.nan, np.inf]),
        np.array([True, True, False, False, False]),
    )
    with pytest.raises(DataError, match="2 of 5 scores are NaN"):
        roc_auc(scores, member)
    kept, kept_member, dropped = finite(scores, member)
    assert kept.tolist() == [1.0, 2.0] and kept_member.tolist() == [True, False] and dropped == 3
    with pytest.raises(DataError, match="3 members, 0 nonmembers"):
        auc_interval(np.arange(3.0), np.ones(3, bool))
    with pytest.raises(DataError, match="one length"):
        roc_curve(np.arange(3.0), np.ones(4, bool))
    with pytest.raises(DataError, match="true or false"):
        roc_auc(np.arange(3.0), np.array([0, 1, 2]))
    with pytest.raises(DataError, match="level = 95"):
        auc_interval(np.arange(4.0), np.array([1, 0, 1, 0]), level=95)
    assert roc_auc(np.array([np.inf, -np.inf]), np.array([1, 0])) == 1


def test_cross_fitted_scores_get_a_wider_interval() -> None:
    scores, member = binormal(generator(15, "folds"), 0.6, 200, 200)
    plain, folds = auc_interval(scores, member), auc_interval(scores, member, n_folds=5)

    def logit_width(low: float, high: float) -> float:
        return math.log(high / (1 - high)) - math.log(low / (1 - low))

    assert logit_width(folds.low, folds.high) == pytest.approx(
        1.5 * logit_width(plain.low, plain.high)
    )
    pooled = pooled_auc_interval([(scores, member)], n_folds=5)
    assert (pooled.low, pooled.high) == pytest.approx((folds.low, folds.high))
    shared = pooled_auc_interval([(scores, member)] * 2, same_records=True, n_folds=5)
    assert (shared.low, shared.high) == pytest.approx((folds.low, folds.high))


def test_pooling_counts_near_duplicates_once() -> None:
    rng = generator(11, "pool")
    scores, member = rng.normal(size=120), np.arange(120) < 60
    once = [(scores, member), (scores[::-1].copy(), member[::-1].copy())]
    twice = [(np.repeat(a, 2), np.repeat(b, 2)) for a, b in once]
    pairs = [np.repeat(np.arange(120), 2)] * 2
    honest, naive, plain = (
        pooled_auc_interval(twice, clusters=pairs),
        pooled_auc_interval(twice),
        pooled_auc_interval(once),
    )
    assert honest.low == pytest.approx(plain.low, abs=2e-3) and honest.high == pytest.approx(
        plain.high, abs=2e-3
    )
    assert naive.high - naive.low < 0.8 * (plain.high - plain.low)
