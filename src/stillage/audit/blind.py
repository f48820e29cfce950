"""Blind attackers: they read the records and no model.

If they can tell members from nonmembers, the split is to blame. Das et al. 2024, arXiv:2406.16201.
Always run; a membership score means nothing where these are above chance.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from stillage.audit.blind_features import (
    character_features,
    has_prompt,
    length_features,
    pair_features,
    place_features,
    token_tfidf,
    word_features,
)
from stillage.errors import DataError
from stillage.rng import generator
from stillage.types import Array

BLIND: tuple[str, ...] = (
    "bag_of_words",
    "character_ngrams",
    "first_last_and_place",
    "length_and_zlib",
    "prompt_and_response",
    "model_tokens",
)
N_FOLDS = 5
"""Folds share training records: intervals of their scores are wider (n_folds of auc_interval)."""


def blind_scores(
    texts: Sequence[str],
    is_member: Array,
    seed: int,
    *,
    clusters: Array | None = None,
    readers: Sequence[Sequence[Array]] = (),
) -> dict[str, Array]:
    """Return each blind attacker's out-of-fold scores, float64[n]; higher: a member.

    texts: everything that belongs to a record, as blind_features.marked_text. readers: the ids
    int[T] of all records as each audited model reads them, laid out and cut; without any,
    model_tokens is left out, as prompt_and_response is where no record has a prompt. Each of 5
    folds is scored by a logistic regression fitted on the others; scores are mid-ranks within the
    fold, in (0, 1), as the intercepts of two fits do not compare. clusters int[n]: near-duplicates
    share a number and a fold; else a record's twin, always of its own kind, would give it away.
    With fewer than 2 clusters of a kind nothing can be fitted and every score is 0.5. DataError
    when the lengths differ.
    """
    member = np.asarray(is_member, dtype=bool)
    if len(texts) != member.size:
        raise DataError(
            "Each text needs a membership.",
            f"{len(texts)} texts, {member.size} labels",
            "Give one each.",
        )
    cluster = np.arange(member.size) if clusters is None else np.asarray(clusters)
    smaller = min(np.unique(cluster[kind]).size for kind in (member, ~member))
    views: dict[str, Callable[[], Any]] = {
        "bag_of_words": lambda: word_features(texts),
        "character_ngrams": lambda: character_features(texts),
        "first_last_and_place": lambda: place_features(texts),
        "length_and_zlib": lambda: length_features(texts),
    }
    if any(map(has_prompt, texts)):
        views["prompt_and_response"] = lambda: pair_features(texts)
    if readers:
        views["model_tokens"] = lambda: token_tfidf(readers)
    if smaller < 2:
        return {name: np.full(member.size, 0.5) for name in views}
    fold = stratified_folds(member, min(N_FOLDS, smaller), seed, cluster)
    return {name: _cross_fitted(features(), member, fold) for name, features in views.items()}


def stratified_folds(is_member: Array, n_folds: int, seed: int, clusters: Array) -> Array:
    """Assign each record a fold, int[n], near-duplicates together.

    Each kind of cluster (members only, nonmembers only, both) is dealt out by itself: the largest
    first, else in a random order that `seed` decides, each to the emptiest fold.
    """
    rng, fold = generator(seed, "blind", "folds"), np.empty(is_member.size, dtype=np.int64)
    number = np.unique(clusters, return_inverse=True)[1]
    groups = np.split(np.argsort(number, kind="stable"), np.cumsum(np.bincount(number))[:-1])
    share = np.array([is_member[group].mean() for group in groups])
    for kind in (share == 1, share == 0, (share > 0) & (share < 1)):
        count = np.zeros(n_folds, dtype=np.int64)
        for index in sorted(
            rng.permutation(np.flatnonzero(kind)).tolist(), key=lambda index: -groups[index].size
        ):
            chosen = int(count.argmin())
            fold[groups[index]] = chosen
            count[chosen] += groups[index].size
    return fold


def _cross_fitted(features_NF: Any, is_member: Array, fold: Array) -> Array:  # noqa: ANN401
    """Mid-ranks per fold of a logistic regression on the others; 0.5: no feature."""
    from scipy.stats import rankdata
    from sklearn.linear_model import LogisticRegression

    scores = np.full(is_member.size, 0.5)
    for number in range(int(fold.max()) + 1 if features_NF.shape[1] else 0):
        test = fold == number
        model = LogisticRegression(C=1.0, max_iter=300, solver="liblinear", random_state=0)
        decision = model.fit(features_NF[~test], is_member[~test]).decision_function(
            features_NF[test]
        )
        scores[test] = (rankdata(np.round(decision, 9)) - 0.5) / test.sum()
    return scores
