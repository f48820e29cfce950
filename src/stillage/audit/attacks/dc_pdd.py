"""DC-PDD: probabilities calibrated by how common each token is in general."""

from __future__ import annotations

import math

import numpy as np

from stillage.types import Array, Attack, Query, TokenStats


def dc_pdd(stats: TokenStats, frequency_V: Array, cap: float = 0.01) -> float:
    """Mean of min(cap, q(y_t) log(1 / f(y_t))) over the record's tokens, nats.

    High where the model finds rare tokens probable. Only the first occurrence of each token counts.
    frequency_V float[V], > 0: the tokens' smoothed shares in a reference corpus. cap = 0.01 as
    published. NaN without scored tokens or with NaN among them.
    """
    if not len(stats.ids_T) or np.isnan(stats.logp_T).any():
        return math.nan
    first_T = np.unique(stats.ids_T, return_index=True)[1]
    q_T = np.exp(np.asarray(stats.logp_T, dtype=np.float64)[first_T])
    frequency_T = np.asarray(frequency_V, dtype=np.float64)[np.asarray(stats.ids_T)[first_T]]
    surprise_T = -np.log(frequency_T)
    return float(np.minimum(q_T * surprise_T, cap).mean())


DC_PDD = Attack(
    name="dc_pdd",
    paper="Zhang et al. 2024, arXiv:2409.14781",
    access="logprob",
    queries=(Query(party="target"), Query(party="target", transform="frequency")),
    score=dc_pdd,
)
