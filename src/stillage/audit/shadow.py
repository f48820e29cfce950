"""Shadow pipelines' replies, the attacks that read them, and memorization."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import compress
from typing import TYPE_CHECKING
from zlib import crc32

import numpy as np

from stillage.audit.attacks.learned import token_features
from stillage.audit.attacks.loss import loss
from stillage.audit.counterfactual import Counterfactual, counterfactual_memorization
from stillage.audit.inheritance import of_ratio, spearman
from stillage.audit.membership import Audited, LeftOut, score_rows, score_schema
from stillage.functional.tails import mean_or_nan
from stillage.rng import generator
from stillage.run.results import measured_row
from stillage.types import Array, Result, ShadowAttack, Statistic, TokenStats

if TYPE_CHECKING:
    import pyarrow as pa

LOG = logging.getLogger("stillage")
LEAST_CONFIDENT = 1e-7  # 1 - q at least: float32 log-probabilities know no finer
METRICS: tuple[str, ...] = ("token_accuracy", "log_probability")
"""Of counterfactual memorization: share of greedy hits (Zhang et al.), and nats per token."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Kept:
    """What is kept of one model's replies about N records; NaN where it said nothing."""

    log_probability: Array  # float64[N]
    features: Array  # float64[N, F]
    token_accuracy: Array  # float64[N]: share of tokens that are the model's first choice
    read: tuple[int, ...] = ()  # a hash of the scored tokens of each record

    def statistic(self, name: Statistic) -> Array:
        """Return what an attack asks for."""
        if name == "confidence":
            return confidence(self.log_probability)
        return self.features if name == "features" else self.log_probability

    def compared(self, name: Statistic, target: Kept) -> Array:
        """Return what an attack asks for; NaN where the target read other tokens."""
        values = self.statistic(name)
        other = self.other(target).reshape(-1, *[1] * (values.ndim - 1))
        return np.where(other, np.nan, values)

    def other(self, target: Kept) -> Array:
        """Tell of which records the target read other tokens; bool[N]."""
        if not self.read or not target.read:
            return np.zeros(len(self.log_probability), dtype=bool)
        return np.array(self.read) != np.array(target.read)


def keep(stats: Sequence[TokenStats]) -> Kept:
    """Return the numbers that the shadow attacks need."""
    return Kept(
        log_probability=np.array([loss(one) for one in stats]),
        features=np.array([token_features(one) for one in stats]),
        token_accuracy=np.array([mean_or_nan(one.greedy_T) for one in stats]),
        read=tuple(crc32(np.asarray(one.ids_T, np.int32).tobytes()) for one in stats),
    )


def confidence(log_probability_N: Array) -> Array:
    """Return log(q / (1 - q)), q = exp(mean log-probability), 1 - q at least 1e-7."""
    logq = np.minimum(np.asarray(log_probability_N, dtype=np.float64), -LEAST_CONFIDENT)
    return logq - np.log(-np.expm1(logq))


def shadow_scores(
    audited: Audited,
    targets: Mapping[str, Kept],
    shadows: Sequence[Kept],
    in_KN: Array,
    attacks: Sequence[ShadowAttack],
) -> tuple[pa.Table, list[LeftOut]]:
    """Run every attack on every target: rows of audit/scores.parquet.

    Also returns what is left out, for want of shadows. shadows: of the kind of the targets
    (teachers or students), in the order of the design in_KN.
    """
    import pyarrow as pa

    tables, left_out = [score_schema().empty_table()], []
    whole = [np.isfinite(one.log_probability).all() for one in shadows]
    if missing := [number for number, is_whole in enumerate(whole, 1) if not is_whole]:
        LOG.warning(
            "shadows %s have records without a log-probability: those count as missing", missing
        )
    for name, target in targets.items():
        other = max((int(one.other(target).sum()) for one in shadows), default=0)
        if other:
            LOG.warning(
                "%s read %d of %d records as other tokens than the shadows: they get no score",
                name,
                other,
                len(target.log_probability),
            )
    for attack in attacks:
        if len(shadows) < 2 * attack.least:
            needed = f"it needs {2 * attack.least} shadow pipelines (audit.shadows)"
            why = f"{needed}, and there are {len(shadows)}"
            LOG.warning("the attack %s is left out: %s", attack.name, why)
            left_out += [LeftOut(model=name, attack=attack.name, why=why) for name in targets]
            continue
        for name, target in targets.items():
            replies = np.array([one.compared(attack.statistic, target) for one in shadows])
            scores = attack.score(target.statistic(attack.statistic), replies, in_KN)
            tables.append(score_rows(audited, name, attack.name, scores))
    return pa.concat_tables(tables), left_out


def memorized(
    shadows: Sequence[Kept], in_KN: Array, metric: str, rng: np.random.Generator, level: float
) -> tuple[Counterfactual, Array]:
    """Measure the memorization of the records, bool[N], that all shadows score."""
    values_KN = np.array([getattr(one, metric) for one in shadows], dtype=np.float64)
    fine_N: Array = np.atleast_1d(np.isfinite(values_KN).all(axis=0))
    values_KN, in_KN = values_KN[:, fine_N], in_KN[:, fine_N]
    return counterfactual_memorization(values_KN, in_KN, rng, level=level), fine_N


def counterfactual_rows(
    audited: Audited,
    shadows: Mapping[str, Sequence[Kept]],
    in_KN: Array,
    *,
    level: float,
    base: Result,
) -> tuple[pa.Table, list[Result]]:
    """Return audit/counterfactual.parquet, with its means and rank correlation.

    A row is of one kind of model, metric and record. shadows: kind ("teacher", "student") -> its
    shadows. Result metrics: counterfactual_memorization (mean over records; a record without a
    number is counted in nan_scores), counterfactual_spearman (teacher's and student's, same
    records).
    """
    import pyarrow as pa

    tables, results = [counterfactual_schema().empty_table()], []
    base = replace(base, level=level, dataset="private and nonmembers")
    for metric in METRICS:
        value: dict[str, Array] = {}
        for kind, kept in shadows.items():
            rng = generator(base.seed, "counterfactual", kind, metric)
            measured, fine_N = memorized(kept, in_KN, metric, rng, level)
            value[kind] = np.full(fine_N.size, np.nan)
            value[kind][fine_N] = measured.value_N
            tables.append(_table(audited, kind, metric, measured, fine_N))
            row = replace(base, model=kind, unit=metric, shadows=len(kept))
            n, lost = int(fine_N.sum()), int((~fine_N).sum())
            if lost:
                results.append(replace(row, metric="nan_scores", value=float(lost), n=n + lost))
            name = "counterfactual_memorization"
            results.append(measured_row(row, name, measured.mean, unit=metric, n=n))
        if {"teacher", "student"} <= set(value):
            both = np.isfinite(value["teacher"]) & np.isfinite(value["student"])
            teacher, student = value["teacher"][both], value["student"][both]
            ratio = spearman(teacher, student, level, clusters=audited.clusters[both])
            row = replace(base, model="student", metric="counterfactual_spearman", unit=metric)
            results.append(of_ratio(row, ratio))
    return pa.concat_tables(tables), results


def _table(
    audited: Audited, kind: str, metric: str, measured: Counterfactual, fine_N: Array
) -> pa.Table:
    """Return the rows of one kind of model and one metric."""
    import pyarrow as pa

    records = (audited.ids, audited.parts, audited.groups)
    texts = [list(compress(column, fine_N)) for column in records]
    named = [[name] * len(texts[0]) for name in (kind, metric)]
    numbers = [measured.value_N, measured.low_N, measured.high_N, measured.n_in_N, measured.n_out_N]
    columns, schema = [*named, *texts, *numbers], counterfactual_schema()
    return pa.table(dict(zip(schema.names, columns, strict=True)), schema=schema)


def counterfactual_schema() -> pa.Schema:
    """Return the columns of audit/counterfactual.parquet."""
    import pyarrow as pa

    text = [(name, pa.string()) for name in ("model", "metric", "id", "part", "group")]
    numbers = [(name, pa.float64()) for name in ("memorization", "low", "high")]
    return pa.schema([*text, *numbers, ("n_in", pa.int64()), ("n_out", pa.int64())])
