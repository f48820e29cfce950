"""A reading of audit/scores.parquet: by model and attack, or record by record."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

import numpy as np

from stillage.audit.attacks import FITTED_ATTACKS
from stillage.audit.blind import N_FOLDS
from stillage.data.grouping import cluster_numbers
from stillage.errors import DataError
from stillage.functional.stats import Interval, auc_interval
from stillage.types import Array

if TYPE_CHECKING:
    import pyarrow as pa

LOG = logging.getLogger("stillage")
BLIND = "blind"
"""The model name under which attacks that see no model are listed."""


def folds_of(model: str, attack: str) -> int:
    """Count an attack's folds, if it learns from members and nonmembers; else 0."""
    is_fitted = attack in FITTED_ATTACKS and FITTED_ATTACKS[attack].learns == "both"
    return N_FOLDS if model == BLIND or is_fitted else 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Scored:
    """One attack on one model, in the table's order; arrays of shape [n]."""

    scores: Array
    is_member: Array
    clusters: Array  # int: equal for near-duplicates
    n_folds: int = 0  # as `folds_of`
    dropped: int = 0  # records left out, as they have no score
    ids: Array = field(default_factory=lambda: np.array([]))
    groups: Array = field(default_factory=lambda: np.array([]))  # of near-duplicates; "": alone

    @property
    def has_both(self) -> bool:
        """Whether there are members and nonmembers."""
        return 0 < int(self.is_member.sum()) < len(self.is_member)

    @property
    def by_id(self) -> dict[str, float]:
        """The score of each record."""
        return dict(zip(self.ids.tolist(), self.scores.tolist(), strict=True))

    def auc(self, level: float) -> Interval:
        """Compute the AUC with its interval, wider over folds. Errors as stats.roc_auc."""
        return auc_interval(
            self.scores, self.is_member, level, clusters=self.clusters, n_folds=self.n_folds
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Aligned:
    """Scores of the same records under several names: models, or attacks."""

    ids: tuple[str, ...]
    is_member: Array  # bool[n]
    clusters: Array  # int[n]: equal for near-duplicates
    scores: Mapping[str, Array]  # name -> float64[n]

    def kept(self, *names: str) -> tuple[list[Array], Array, Array]:
        """Keep the records that all names have a score for.

        Returns scores, membership and clusters.
        """
        fine = np.isfinite([self.scores[name] for name in names]).all(axis=0)
        scores = [self.scores[name][fine] for name in names]
        return scores, self.is_member[fine], self.clusters[fine]

    def compares(self, *names: str) -> bool:
        """Tell whether all have scores of members and nonmembers in common."""
        if not set(names) <= set(self.scores):
            return False
        member = self.kept(*names)[1]
        both = bool(member.any()) and not member.all()
        if not both:
            LOG.warning(
                "%s share no members and nonmembers with a finite score: not compared",
                ", ".join(names),
            )
        return both


class Scores:
    """A reading of audit/scores.parquet."""

    def __init__(self, table: pa.Table) -> None:
        """Read the table's columns."""
        names = ("model", "attack", "id", "part", "group", "score")
        if missing := [name for name in names if name not in table.column_names]:
            raise DataError(
                "These scores were written by an older version.",
                f"missing columns: {', '.join(missing)}",
                "Audit again, with the command that made them and another --out.",
            )
        self.model, self.attack, self.id, part, self.group, self.score = (
            table.column(name).to_numpy(zero_copy_only=False) for name in names
        )
        self.is_member = part == "private"
        self.cluster = cluster_numbers(self.id.tolist(), self.group.tolist())
        self.pairs: list[tuple[str, str]] = list(
            dict.fromkeys(zip(self.model.tolist(), self.attack.tolist(), strict=True))
        )
        """(model, attack), in the table's order."""

    @property
    def models(self) -> list[str]:
        """The models, in the table's order."""
        return list(dict.fromkeys(model for model, _ in self.pairs))

    def attacks(self, model: str) -> list[str]:
        """List the attacks on a model, in the table's order."""
        return [attack for name, attack in self.pairs if name == model]

    def of(self, model: str, attack: str, *, with_missing: bool = False) -> Scored:
        """Give one attack's scores of one model; records without a score only if asked."""
        chosen = (self.model == model) & (self.attack == attack)
        kept = chosen if with_missing else chosen & np.isfinite(self.score)
        return Scored(
            scores=self.score[kept],
            is_member=self.is_member[kept],
            clusters=self.cluster[kept],
            n_folds=folds_of(model, attack),
            dropped=int(chosen.sum() - kept.sum()),
            ids=self.id[kept],
            groups=self.group[kept],
        )

    def aligned(self, models: Sequence[str] | None = None) -> dict[str, Aligned]:
        """Join each attack's scores of some models by record; none named: all but blind.

        DataError where two models of one attack were scored on different records.
        """
        chosen = [name for name in models or self.models if name != BLIND]
        by_attack: dict[str, Aligned] = {}
        for model, attack in self.pairs:
            if model not in chosen:
                continue
            rows = np.flatnonzero((self.model == model) & (self.attack == attack))
            rows = rows[np.argsort(self.id[rows], kind="stable")]
            ids = tuple(self.id[rows])
            one = by_attack.setdefault(attack, self.joined(rows, {}))
            if one.ids != ids:
                raise DataError(
                    f"The {attack} attack scored different records on different models.",
                    f"{len(one.ids)} records on {next(iter(one.scores))}, {len(ids)} on {model}",
                    "Score the same records with every model.",
                )
            scores = self.score[rows].astype(np.float64)
            by_attack[attack] = replace(one, scores={**one.scores, model: scores})
        return by_attack

    def attacks_on(self, model: str) -> Aligned:
        """Give every attack's scores of one model, by record id; NaN where one has none."""
        ids, first = np.unique(self.id[self.model == model].astype(str), return_index=True)
        scores: dict[str, Array] = {}
        for attack in self.attacks(model):
            one = self.of(model, attack)
            scores[attack] = np.full(ids.size, np.nan)
            scores[attack][np.searchsorted(ids, one.ids.astype(str))] = one.scores
        return self.joined(np.flatnonzero(self.model == model)[first], scores)

    def joined(self, rows: Array, scores: Mapping[str, Array]) -> Aligned:
        """Put scores beside what the table says of these rows' records."""
        return Aligned(
            ids=tuple(self.id[rows]),
            is_member=self.is_member[rows],
            clusters=self.cluster[rows],
            scores=scores,
        )
