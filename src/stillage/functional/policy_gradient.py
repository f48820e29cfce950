"""Policy gradient on the reverse KL (MiniLLM, arXiv:2306.08543, section 2).

y_t are the tokens of a text; p the teacher, q the student, q_old the student that wrote (with the
teacher: the mixture).
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from stillage.types import Array


def rewards(logq_T: Array, logp_T: Array, *, scaling: float, clip: float) -> Array:
    """Compute r_t = (log p(y_t) - log q_old(y_t)) / scaling, within +-clip (0: none)."""
    reward_T = (logp_T - logq_T) / scaling
    return np.clip(reward_T, -clip, clip) if clip else reward_T


def rewards_to_go(reward_T: Array, *, gamma: float, length_norm: bool, own: bool) -> Array:
    """Sum rewards R_t = r_t + gamma R_{t+1}, float32.

    own=False: what token t is credited with: R_{t+1}, 0 for the last token. length_norm: divided by
    the number of rewards in the sum (1 where there are none).
    """
    total, found_T = 0.0, np.zeros(len(reward_T))
    for t in reversed(range(len(reward_T))):
        total = float(reward_T[t]) + gamma * total
        found_T[t] = total
    count_T = np.arange(len(reward_T), 0, -1)
    if not own:
        found_T, count_T = np.append(found_T[1:], 0.0), count_T - 1
    return (found_T / np.maximum(count_T, 1) if length_norm else found_T).astype(np.float32)


def whiten(texts: list[Array]) -> list[Array]:
    """Compute (x - mean) / sqrt(variance + 1e-8) over all tokens of all texts."""
    every = np.concatenate([np.zeros(0), *texts]).astype(np.float64)
    mean, scale = (every.mean(), 1 / np.sqrt(every.var() + 1e-8)) if len(every) else (0.0, 1.0)
    return [((values - mean) * scale).astype(np.float32) for values in texts]


def importance_weights(logq_T: Array, logp_T: Array, teacher_share: float) -> Array:
    """Compute w_t = q_old(y_t) / ((1 - a) q_old(y_t) + a p(y_t)) of single tokens."""
    if teacher_share == 0:
        return np.ones(len(logq_T), np.float32)
    share = float(teacher_share)
    own = np.log1p(-share) if share < 1 else -np.inf
    return np.exp(logq_T - np.logaddexp(own + logq_T, np.log(share) + logp_T)).astype(np.float32)


def clipped_policy_loss(
    logq_T: Tensor, old_logq_T: Tensor, advantage_T: Tensor, weight_T: Tensor, *, clip: float
) -> Tensor:
    """Sum max(-A_t rho_t, -A_t clip(rho_t)), rho_t = w_t q(y_t) / q_old(y_t).

    The ratio with the writing mixture is clipped to 1 +- clip, as in PPO (arXiv:1707.06347, eq. 7).
    """
    ratio_T = torch.exp(logq_T - old_logq_T) * weight_T
    return torch.maximum(
        -advantage_T * ratio_T, -advantage_T * ratio_T.clamp(1 - clip, 1 + clip)
    ).sum()
