"""How far the teacher's signal on members is from the counterfactual teacher's.

On every record, KL(private teacher || counterfactual teacher) of the next-token distributions,
averaged over the scored tokens. On the student's own training texts that is all that can carry the
leak: with a KL of 0 both students would be taught the same. Beside it the same for the two
students: what arrived.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from itertools import compress
from typing import TYPE_CHECKING

import numpy as np

from stillage.audit.inheritance import of_ratio, spearman
from stillage.data.grouping import cluster_numbers
from stillage.functional.means import (
    independent,
    mean_interval,
    needed_for_quantile,
    quantile_interval,
)
from stillage.run.results import measured_row
from stillage.types import Array, Result

if TYPE_CHECKING:
    import pyarrow as pa

PAIRS: Mapping[str, str] = {
    "teacher": "teacher_counterfactual",
    "student": "student_counterfactual",
}
"""Each model and the one that it is compared with."""
QUANTILES = (0.1, 0.5, 0.9, 0.99)


@dataclass(frozen=True, slots=True, kw_only=True)
class Signals:
    """KL per record against counterfactual twins, nats per token; NaN without tokens."""

    ids: tuple[str, ...]
    parts: tuple[str, ...]  # public: the student's training records; private: members; nonmembers
    groups: tuple[str, ...]
    kl: Mapping[str, Array]  # "teacher", "student" -> float64[N]

    def of(self, part: str) -> Array:
        """Tell which records of a part every model has a number for; bool[N]."""
        own = np.array([name == part for name in self.parts], dtype=bool)
        return own & np.isfinite(list(self.kl.values())).all(0)


def signal_table(signals: Signals) -> pa.Table:
    """Return signal/signal.parquet: id, part, group, and a column of KL per model."""
    import pyarrow as pa

    names = {"id": signals.ids, "part": signals.parts, "group": signals.groups}
    columns = {name: pa.array(list(values), pa.string()) for name, values in names.items()}
    return pa.table(
        columns | {f"kl_{model}": pa.array(kl, pa.float64()) for model, kl in signals.kl.items()}
    )


def signal_results(
    signals: Signals, shown: Mapping[str, Mapping[str, float]], *, level: float, base: Result
) -> list[Result]:
    """Return signal_kl (mean), signal_kl_quantile and signal_spearman.

    The first two per model and part. signal_spearman without attack: between the teachers' KL and
    the students', on one part's records. With one: between the teachers' KL and the student's
    scores on members. shown: attack -> record id -> the student's score.
    """
    row = replace(base, level=level, unit="nats per token")
    results: list[Result] = []
    for part in dict.fromkeys(signals.parts):
        chosen = signals.of(part)
        if not chosen.any():
            continue
        ids, groups = (list(compress(names, chosen)) for names in (signals.ids, signals.groups))
        clusters = cluster_numbers(ids, groups)
        for model, kl in signals.kl.items():
            one = replace(row, model=model, dataset=part, n=int(chosen.sum()), against=PAIRS[model])
            results += distribution_rows(kl[chosen], clusters, one)
        if len(signals.kl) == 2:
            teacher, student = (signals.kl[name][chosen] for name in ("teacher", "student"))
            one = replace(row, model="student", dataset=part, metric="signal_spearman", unit="")
            one = replace(one, note="teachers' KL and students' KL")
            results.append(of_ratio(one, spearman(teacher, student, level, clusters=clusters)))
    return results + shown_rows(signals, shown, level, replace(row, unit=""))


def distribution_rows(values_N: Array, clusters_N: Array, row: Result) -> list[Result]:
    """Return mean and quantiles over records, near-duplicates counted once.

    A quantile beyond the sample has no interval.
    """
    mean, unit = mean_interval(values_N, row.level, clusters=clusters_N), row.unit
    results = [measured_row(row, "signal_kl", mean, unit=unit)]
    for q in QUANTILES:
        interval = quantile_interval(values_N, q, row.level, clusters=clusters_N)
        at = measured_row(replace(row, quantile=q), "signal_kl_quantile", interval, unit=unit)
        if np.isnan(interval.low):
            takes = f"it takes {needed_for_quantile(q, row.level)} records"
            worth = f"and these are worth {independent(values_N.size, clusters_N)}"
            at = replace(at, reason=f"{takes} that are no near-duplicates, {worth}")
        results.append(at)
    return results


def shown_rows(
    signals: Signals, shown: Mapping[str, Mapping[str, float]], level: float, row: Result
) -> list[Result]:
    """Correlate the student's scores on members with the teachers' KL, by rank.

    One row per attack: whether the student shows those members most on which the teachers differ
    most.
    """
    results: list[Result] = []
    private, clusters = signals.of("private"), cluster_numbers(signals.ids, signals.groups)
    row = replace(row, model="student", dataset="private", metric="signal_spearman")
    row = replace(row, note="teachers' KL and the student's score")
    for attack, scores in shown.items():
        known = np.array([scores.get(id_, np.nan) for id_ in signals.ids])
        chosen = private & np.isfinite(known)
        if chosen.sum() > 1:
            teacher, together = signals.kl["teacher"][chosen], clusters[chosen]
            correlation = spearman(teacher, known[chosen], level, clusters=together)
            results.append(of_ratio(replace(row, attack=attack), correlation))
    return results
