"""Linear probes of membership on hidden states, beside those of shuffled labels."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from stillage.audit.blind import N_FOLDS, stratified_folds
from stillage.functional.stats import roc_auc
from stillage.rng import generator
from stillage.types import Array

PENALTIES = (1.0, 10.0, 100.0, 1e3, 1e4)
"""Ridge penalties on standardised features; a fold's training part chooses by leave-one-out."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Probed:
    """A probe's result on N records, and what it finds where there is nothing to find."""

    scores_N: Array  # out of fold: mid-ranks in the fold, in (0, 1); NaN without features
    null_P: Array  # AUC of the same procedure for each of P shuffles of the labels

    def p(self, auc: float) -> float:
        """Return (1 + number of shuffles with as large an AUC) / (1 + P), the p-value."""
        return (1 + int((self.null_P >= auc - 1e-12).sum())) / (1 + self.null_P.size)


def probe(
    features_NH: Array,
    is_member: Array,
    groups: Array,
    seed: int,
    *,
    n_shuffles: int = 199,
    names: tuple[str, ...] = (),
) -> Probed:
    """Score records by a cross-fitted ridge regression of membership on hidden states.

    Beside the scores, the AUCs of n_shuffles copies with shuffled labels. groups int[N]:
    near-duplicates share a number and a fold, and are shuffled together. 5 folds; features are
    standardised by their training part. Shuffles keep the folds, their numbers of members, and the
    sizes of groups. names: what else the draws are named by. Fewer than 2 groups of a kind: every
    score is 0.5, and there are no shuffles.
    """
    member = np.asarray(is_member, dtype=bool)
    scores = np.full(member.size, np.nan)
    kept = np.flatnonzero(np.isfinite(features_NH).all(1))
    inside, group = member[kept], np.asarray(groups)[kept]
    smaller = min(np.unique(group[inside]).size, np.unique(group[~inside]).size)
    if smaller < 2:
        scores[kept] = 0.5
        return Probed(scores_N=scores, null_P=np.zeros(0))
    fold = stratified_folds(inside, min(N_FOLDS, smaller), seed, group)
    rng = generator(seed, "probe", *names)
    labels_NP = np.stack(
        [inside, *(shuffled(inside, fold, group, rng) for _ in range(n_shuffles))], axis=1
    )
    ranks_NP = cross_fitted(np.asarray(features_NH, dtype=np.float64)[kept], labels_NP, fold)
    scores[kept] = ranks_NP[:, 0]
    null = [
        roc_auc(ranks, labels)
        for ranks, labels in zip(ranks_NP.T[1:], labels_NP.T[1:], strict=True)
    ]
    return Probed(scores_N=scores, null_P=np.array(null))


def cross_fitted(features_NH: Array, labels_NP: Array, fold: Array) -> Array:
    """Return mid-ranks within each fold of regressions fitted on the other folds.

    Ridge regressions, one per column of labels; float64[N, P].
    """
    from scipy.stats import rankdata
    from sklearn.linear_model import RidgeCV
    from sklearn.preprocessing import StandardScaler

    ranks_NP = np.empty(labels_NP.shape)
    for number in range(int(fold.max()) + 1):
        test = fold == number
        scaler = StandardScaler().fit(features_NH[~test])
        model = RidgeCV(alphas=PENALTIES, alpha_per_target=True)
        model.fit(scaler.transform(features_NH[~test]), labels_NP[~test].astype(np.float64))
        predicted = np.asarray(model.predict(scaler.transform(features_NH[test]))).reshape(
            int(test.sum()), -1
        )
        ranks_NP[test] = (rankdata(np.round(predicted, 9), axis=0) - 0.5) / test.sum()
    return ranks_NP


def shuffled(is_member: Array, fold: Array, groups: Array, rng: np.random.Generator) -> Array:
    """Exchange labels between groups of equal size in each fold, kept in order."""
    labels = np.array(is_member)
    for places in like_groups(fold, groups):
        labels[places] = is_member[places[rng.permutation(len(places))]]
    return labels


def like_groups(fold: Array, groups: Array) -> Iterable[Array]:
    """Yield the places int[G, size] of the records of groups that share fold and size."""
    by_group: dict[int, list[int]] = defaultdict(list)
    for place, group in enumerate(np.asarray(groups).tolist()):
        by_group[group].append(place)
    alike: dict[tuple[int, int], list[list[int]]] = defaultdict(list)
    for places in by_group.values():
        alike[int(fold[places[0]]), len(places)].append(places)
    return [np.array(places) for places in alike.values()]
