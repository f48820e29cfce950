"""The signal audit: means, quantiles and correlations of KL per record, against plain numpy and scipy."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import spearmanr

from stillage.audit.teacher_divergence import Signals, signal_results, signal_table
from stillage.types import Result

BASE = Result(run="", stage="signal", model="", metric="", value=float("nan"), seed=1)


def signals(n: int = 60, groups: tuple[str, ...] = ()) -> Signals:
    rng = np.random.default_rng(4)
    teacher = rng.exponential(1.0, 2 * n)
    teacher[3] = np.nan
    return Signals(
        ids=tuple(f"r{k:03d}" for k in range(2 * n)),
        parts=("public",) * n + ("private",) * n,
        groups=groups or ("",) * (2 * n),
        kl={"teacher": teacher, "student": 0.3 * teacher + rng.exponential(0.2, 2 * n)},
    )


def test_mean_and_quantiles_per_role_with_intervals() -> None:
    made = signals()
    results = signal_results(made, {}, level=0.95, base=BASE)
    public = made.kl["teacher"][:60][np.isfinite(made.kl["teacher"][:60])]
    mean = next(
        r for r in results if (r.metric, r.model, r.dataset) == ("signal_kl", "teacher", "public")
    )
    assert (
        mean.value == pytest.approx(public.mean())
        and mean.n == 59
        and mean.unit == "nats per token"
    )
    error = public.std(ddof=1) / np.sqrt(59)
    below, above = (abs(limit - public.mean()) / error for limit in (mean.low, mean.high))
    assert 2.0 < below < 2.6 < above < 4.0  # a long tail on the right: the upper limit lies further
    quantiles = [
        r
        for r in results
        if (r.metric, r.model, r.dataset) == ("signal_kl_quantile", "teacher", "public")
    ]
    assert [r.value for r in quantiles] == pytest.approx(
        np.quantile(public, [0.1, 0.5, 0.9, 0.99]).tolist()
    )
    assert all(r.low <= r.value <= r.high for r in quantiles[:3]) and quantiles[1].quantile == 0.5
    assert {quantiles[1].low, quantiles[1].high} <= set(public.tolist())  # order statistics
    assert (
        np.isnan(quantiles[3].low)
        and "it takes 368 records that are no near-duplicates" in quantiles[3].reason
    )


def test_near_duplicates_count_once_in_the_interval() -> None:
    made = signals()
    copies = Signals(
        ids=tuple(f"r{k:03d}" for k in range(480)),
        parts=tuple(np.repeat(made.parts, 4)),
        groups=tuple(np.repeat([f"g{k}" for k in range(120)], 4)),
        kl={name: np.repeat(v, 4) for name, v in made.kl.items()},
    )
    one, four = (signal_results(x, {}, level=0.95, base=BASE)[0] for x in (made, copies))
    assert four.value == pytest.approx(one.value) and four.high - four.low == pytest.approx(
        one.high - one.low, rel=0.15
    )


def test_correlations_with_what_the_student_shows() -> None:
    made = signals()
    scores = {id_: -kl for id_, kl in zip(made.ids, made.kl["teacher"], strict=True)}
    scores.pop("r100")
    shown = {"loss": scores, "absent": {}}
    results = [
        r
        for r in signal_results(made, shown, level=0.95, base=BASE)
        if r.metric == "signal_spearman"
    ]
    by = {(r.dataset, r.attack): r for r in results}
    assert set(by) == {("public", ""), ("private", ""), ("private", "loss")}
    assert by["private", "loss"].value == pytest.approx(-1) and by["private", "loss"].n == 59
    both = [made.kl[name][60:] for name in ("teacher", "student")]
    assert by["private", ""].value == pytest.approx(spearmanr(*both).statistic)


def test_one_pair_alone_and_the_table() -> None:
    made = signals()
    alone = Signals(
        ids=made.ids, parts=made.parts, groups=made.groups, kl={"teacher": made.kl["teacher"]}
    )
    assert {r.metric for r in signal_results(alone, {}, level=0.95, base=BASE)} == {
        "signal_kl",
        "signal_kl_quantile",
    }
    table = signal_table(made)
    assert (
        table.column_names == ["id", "part", "group", "kl_teacher", "kl_student"]
        and table.num_rows == 120
    )
