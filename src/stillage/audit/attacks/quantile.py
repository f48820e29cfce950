"""Quantile regression: a member beats all but the best nonmembers of its kind.

Bertran et al. 2023, arXiv:2307.03694. The threshold of each record is a quantile regression on what
can be told from its text alone, fitted on nonmembers the attacker knows; no shadow model is needed.
Cross-fitted.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from stillage.audit.blind_features import length_features
from stillage.functional.tails import mean_or_nan
from stillage.types import Array, FittedAttack, TokenStats

LEVEL = 0.9  # 1 - the false-positive rate that the threshold aims at
PENALTY = 1e-3  # on the sum of the absolute weights of the standardised features
FEWEST = 20  # nonmembers to fit on


def quantile(
    stats: Sequence[TokenStats],
    texts: Sequence[str],
    is_member_N: Array,
    fold_N: Array,
    *,
    level: float = LEVEL,
) -> Array:
    """Mean log-probability minus a quantile of nonmembers with such a text.

    float64[N], nats per token; the `level` quantile. s(x) - q(x), q linear in sizes and
    compressibility of the text and in the number of tokens (pinball loss; section 3). A record of
    fold f, member or nonmember, gets the q of the nonmembers of the other folds, so that no
    nonmember that is judged was fitted and both kinds are treated alike. NaN for a record without a
    finite log-probability, and for all of a fold with fewer than 20 nonmembers outside it.
    """
    from sklearn.linear_model import QuantileRegressor

    score_N = np.array([mean_or_nan(one.logp_T) for one in stats])
    member, fold = np.asarray(is_member_N), np.asarray(fold_N)
    tokens_N = np.log1p([len(one.logp_T) for one in stats])
    features_NF = np.column_stack([length_features(texts), tokens_N])
    fine, scores = np.isfinite(score_N), np.full(len(score_N), np.nan)
    for number in np.unique(fold):
        known, test = fine & ~member & (fold != number), fine & (fold == number)
        if known.sum() < FEWEST or not test.any():
            continue
        centre, spread = features_NF[known].mean(axis=0), features_NF[known].std(axis=0)
        scaled_NF = np.clip((features_NF - centre) / np.where(spread > 0, spread, 1.0), -5, 5)
        model = QuantileRegressor(quantile=level, alpha=PENALTY, solver="highs")
        model.fit(scaled_NF[known], score_N[known])
        scores[test] = score_N[test] - model.predict(scaled_NF[test])
    return scores


QUANTILE = FittedAttack(
    name="quantile",
    paper="Bertran et al. 2023, arXiv:2307.03694, on features of the text, cross-fitted",
    learns="nonmembers",
    score=quantile,
)
