"""Learned attacks: a logistic regression on features of the replies to each token.

The features are of a fixed size. Two teachers of the classifier: records whose membership the
attacker knows (cross-fitted, so that no record is judged by a classifier that was told its own
membership), or shadow pipelines (nobody's membership is needed). After LT-MIA, arXiv:2604.03199 (of
which the abstract alone was read).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from stillage.functional.moments import check_shadows, mean_without, moments
from stillage.types import Array, FittedAttack, ShadowAttack, TokenStats

if TYPE_CHECKING:
    from sklearn.pipeline import Pipeline

LEVELS = (0.05, 0.25, 0.5, 0.75)  # quantiles over a record's tokens
FEATURES = 20


def token_features(stats: TokenStats) -> Array:
    """Return float64[20]: how likely, surprising and certain a record's tokens were.

    log-probability: mean, standard deviation, smallest, quantiles. Standardised by the model's own
    distribution: mean, smallest, mean of the lowest fifth. log(1 + rank): mean, largest, quantiles.
    Share of greedy hits. Entropy: mean, standard deviation. log of the number of tokens. NaN where
    there is no finite token.
    """
    logp, mean, variance, rank = (
        np.asarray(one, dtype=np.float64)
        for one in (stats.logp_T, stats.mean_T, stats.var_T, stats.rank_T)
    )
    if not logp.size or not np.isfinite(logp).all():
        return np.full(FEATURES, np.nan)
    entropy, rank = -mean, np.log1p(rank)
    z = np.sort((logp + entropy) / np.sqrt(np.maximum(variance, 1e-8)))
    lowest = z[: max(1, -(-z.size // 5))].mean()
    of_logp = (logp.mean(), logp.std(), logp.min(), *np.quantile(logp, LEVELS))
    of_rank = (rank.mean(), rank.max(), *np.quantile(rank, LEVELS))
    rest = (stats.greedy_T.mean(), entropy.mean(), entropy.std(), np.log(logp.size))
    return np.array([*of_logp, z.mean(), z[0], lowest, *of_rank, *rest])


def learned(
    stats: Sequence[TokenStats], texts: Sequence[str], is_member_N: Array, fold_N: Array
) -> Array:
    """Mid-ranks in (0, 1) by a classifier fitted on the other folds.

    float64[N]. Ranks within each fold, because the intercepts of two fits do not compare. NaN for a
    record without features. texts are not read.
    """
    from scipy.stats import rankdata

    features_NF = np.array([token_features(one) for one in stats])
    member, fold = np.asarray(is_member_N), np.asarray(fold_N)
    fine, scores = np.isfinite(features_NF).all(axis=1), np.full(len(features_NF), np.nan)
    for number in np.unique(fold):
        test, others = fine & (fold == number), fine & (fold != number)
        if not member[others].any() or member[others].all():
            scores[test] = 0.5  # nothing to learn from
        elif test.any():
            model = _classifier().fit(features_NF[others], member[others])
            odds = model.decision_function(features_NF[test])
            scores[test] = (rankdata(np.round(odds, 9)) - 0.5) / test.sum()
    return scores


def learned_shadow(target_NF: Array, shadow_KNF: Array, in_KN: Array) -> Array:
    """Log-odds of a classifier fitted to the shadows' features.

    float64[N]. It learned, on every shadow's features of every record, which records the shadow
    met. To a record's features their difference from the mean over OUT shadows is added (over the
    others, for an OUT shadow itself). NaN for a record without features, under the target or under
    two OUT shadows. DataError as check_shadows.
    """
    check_shadows(target_NF, shadow_KNF, in_KN, least=2, attack="learned_shadow")
    shadow, is_in = np.asarray(shadow_KNF, dtype=np.float64), np.asarray(in_KN, dtype=bool)
    target = np.asarray(target_NF, dtype=np.float64)
    out = [moments(shadow[:, :, feature], ~is_in) for feature in range(shadow.shape[2])]
    rows = []
    for values_NF, in_N in zip(shadow, is_in, strict=True):
        others = [mean_without(o, v, ~in_N) for o, v in zip(out, values_NF.T, strict=True)]
        rows.append(_beside(values_NF, others))
    rows_KNX = np.array(rows)
    asked_NX = _beside(target, [np.where(one.count_N >= 2, one.mean_N, np.nan) for one in out])
    known, fine = np.isfinite(rows_KNX).all(axis=2), np.isfinite(asked_NX).all(axis=1)
    scores = np.full(len(target), np.nan)
    labels = is_in[known]
    if fine.any() and labels.any() and not labels.all():
        scores[fine] = _classifier().fit(rows_KNX[known], labels).decision_function(asked_NX[fine])
    return scores


def _beside(values_NF: Array, means: Sequence[Array]) -> Array:
    """Return features and their differences from the means, [N, 2F]."""
    return np.hstack([values_NF, values_NF - np.array(means).T])


def _classifier() -> Pipeline:
    """Return a logistic regression on standardised features; deterministic."""
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    return make_pipeline(StandardScaler(), LogisticRegression(C=0.1, max_iter=500))


LEARNED = FittedAttack(
    name="learned",
    paper="after LT-MIA, arXiv:2604.03199 (abstract); cross-fitted on known members and nonmembers",
    learns="both",
    score=learned,
)

LEARNED_SHADOW = ShadowAttack(
    name="learned_shadow",
    paper="after LT-MIA, arXiv:2604.03199 (abstract); fitted on shadow pipelines",
    statistic="features",
    least=2,
    score=learned_shadow,
)
