"""Run the attacks that learn from known members; none is judged by its own label."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from stillage.audit.blind import N_FOLDS, stratified_folds
from stillage.audit.membership import Audited, score_rows, score_schema
from stillage.functional.readings import text_read
from stillage.types import Array, FittedAttack, TokenStats

if TYPE_CHECKING:
    import pyarrow as pa


def fold_of_records(audited: Audited, seed: int) -> Array:
    """Return each record's fold, int[N], as for blind attackers; all 0 for too few."""
    clusters, member = audited.clusters, audited.is_member
    smaller = min(np.unique(clusters[kind]).size for kind in (member, ~member))
    if smaller < 2:
        return np.zeros(member.size, dtype=np.int64)
    return stratified_folds(member, min(N_FOLDS, smaller), seed, clusters)


def fitted_scores(
    audited: Audited,
    stats: Mapping[str, Mapping[str, TokenStats]],
    attacks: Sequence[FittedAttack],
    seed: int,
) -> pa.Table:
    """Rows of scores.parquet of each attack and model; stats: model -> id -> tokens."""
    import pyarrow as pa

    tables, fold = [score_schema().empty_table()], fold_of_records(audited, seed)
    for attack in attacks:
        for model, by_id in stats.items():
            said = [by_id[id_] for id_ in audited.ids]
            texts = [
                text_read(one.span, text) for one, text in zip(said, audited.texts, strict=True)
            ]
            scores = attack.score(said, texts, audited.is_member, fold)
            tables.append(score_rows(audited, model, attack.name, scores))
    return pa.concat_tables(tables)
