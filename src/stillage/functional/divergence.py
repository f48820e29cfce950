"""Divergences of the student's next-token distribution q from the teacher's, p.

Every function takes log-probabilities p, q of shape [..., V] and returns [...] in nats: >= 0, and 0
iff p equals q. No mask, no reduction, no temperature: `functional.chunked` applies those. Half
precision is read as float32; float64 is kept.

A probability of exactly zero (log-probability -inf) is read as exp(LOG_ZERO), so that every value
and gradient is finite where the formula says infinity. Mixtures are formed in log space, so that
nothing underflows.
"""

from __future__ import annotations

import functools
import inspect
import math
from collections.abc import Callable, Mapping

import torch
from torch import Tensor

from stillage.errors import ConfigError, did_you_mean

LOG_ZERO = -1e5
"""Stands for log 0; far below any log-probability that finite logits of a real model give."""


def forward_kl(p: Tensor, q: Tensor) -> Tensor:
    """Compute KL(p || q) = sum_v p (log p - log q), large where q misses what p says.

    The teacher's entropy is subtracted (Kullback & Leibler 1951; Hinton et al. 2015 without T^2).
    """
    p, q = _read(p), _read(q)
    return _not_negative(_expect(p.exp(), p - q))


def reverse_kl(p: Tensor, q: Tensor) -> Tensor:
    """Compute KL(q || p), large where q says what p would not (MiniLLM, eq. 1)."""
    return forward_kl(q, p)


def symmetric_kl(p: Tensor, q: Tensor, reverse_weight: float = 0.5) -> Tensor:
    """Compute (1 - w) KL(p || q) + w KL(q || p).

    As sum_v ((1 - w) p - w q) (log p - log q). reverse_weight w in [0, 1]: 0 is forward KL, 1 is
    reverse KL. ConfigError outside.
    """
    _check("reverse_weight", reverse_weight)
    p, q = _read(p), _read(q)
    return _not_negative(_expect((1 - reverse_weight) * p.exp() - reverse_weight * q.exp(), p - q))


def generalized_jsd(p: Tensor, q: Tensor, beta: float = 0.5) -> Tensor:
    """Compute beta KL(p || m) + (1 - beta) KL(q || m), m = beta p + (1 - beta) q.

    beta in [0, 1]; the limits are the KLs themselves: 0 is KL(p || q), 1 is KL(q || p) (GKD,
    Agarwal et al. 2024, eq. 1). ConfigError outside.
    """
    _check("beta", beta)
    if beta in (0.0, 1.0):
        return forward_kl(p, q) if beta == 0.0 else reverse_kl(p, q)
    p, q = _read(p), _read(q)
    m = _mixture(p, q, beta)
    return _not_negative(beta * _expect(p.exp(), p - m) + (1 - beta) * _expect(q.exp(), q - m))


def total_variation(p: Tensor, q: Tensor) -> Tensor:
    """Compute 0.5 sum_v |p - q|, in [0, 1] (f-distill, Wen et al. 2023)."""
    return 0.5 * (_read(p).exp() - _read(q).exp()).abs().sum(-1)


def skew_forward_kl(p: Tensor, q: Tensor, alpha: float = 0.1) -> Tensor:
    """Compute KL(p || alpha p + (1 - alpha) q), at most -log alpha.

    alpha in [0, 1): 0 is forward KL (DistiLLM, Ko et al. 2024, eq. 4). ConfigError outside.
    """
    _check("alpha", alpha, below_one=True)
    if alpha == 0.0:
        return forward_kl(p, q)
    p, q = _read(p), _read(q)
    return _not_negative(_expect(p.exp(), p - _mixture(p, q, alpha)))


def skew_reverse_kl(p: Tensor, q: Tensor, alpha: float = 0.1) -> Tensor:
    """Compute KL(q || (1 - alpha) p + alpha q), at most -log alpha.

    alpha in [0, 1): 0 is reverse KL (DistiLLM, section 3.1). ConfigError outside.
    """
    return skew_forward_kl(q, p, alpha)


def adaptive_kl(p: Tensor, q: Tensor, head_mass: float = 0.5) -> Tensor:
    """Weigh forward KL (likely tokens) against reverse KL (unlikely ones).

    w KL(p || q) + (1 - w) KL(q || p), w = g_head / (g_head + g_tail), g = sum |p - q| over the
    part, no gradient; 0/0 is 1/2. tail = the least probable tokens with cumulative teacher mass <=
    1 - head_mass (the published alpha = 1 - head_mass). head_mass in [0, 1]; ConfigError outside.
    Source: AKL, Wu et al. 2024.
    """
    _check("head_mass", head_mass)
    p, q = _read(p), _read(q)
    p_exp, q_exp, gap = p.exp(), q.exp(), p - q
    with torch.no_grad():
        distance = (p_exp - q_exp).abs()
        total = distance.sum(-1)
        head = distance.masked_fill_(_tail(p_exp, 1 - head_mass), 0.0).sum(-1)
        weight = torch.where(total > 0, head / total.clamp(min=torch.finfo(total.dtype).tiny), 0.5)
    return _not_negative(weight * _expect(p_exp, gap) - (1 - weight) * _expect(q_exp, gap))


DIVERGENCES: dict[str, Callable[..., Tensor]] = {
    "fkl": forward_kl,
    "rkl": reverse_kl,
    "symmetric": symmetric_kl,
    "jsd": generalized_jsd,
    "tvd": total_variation,
    "sfkl": skew_forward_kl,
    "srkl": skew_reverse_kl,
    "akl": adaptive_kl,
}
"""Every divergence by the name that flags and configurations use."""


def resolve(
    divergence: str | Callable[..., Tensor], params: Mapping[str, float]
) -> Callable[[Tensor, Tensor], Tensor]:
    """Fill in a divergence's parameters; ConfigError for an unknown name or parameter."""
    if isinstance(divergence, str) and divergence not in DIVERGENCES:
        values = f"divergence = {divergence!r}; known: {', '.join(DIVERGENCES)}"
        fix = did_you_mean(divergence, DIVERGENCES, "Choose one of these.")
        raise ConfigError("Unknown divergence.", values, fix)
    function = DIVERGENCES[divergence] if isinstance(divergence, str) else divergence
    known = list(inspect.signature(function).parameters)[2:]
    if unknown := sorted(set(params) - set(known)):
        accepted = ", ".join(known) or "none"
        raise ConfigError(
            "The divergence does not take this parameter.",
            f"{getattr(function, '__name__', divergence)}: {', '.join(unknown)}",
            f"Its parameters: {accepted}.",
        )
    return functools.partial(function, **params)


def _read(logp: Tensor) -> Tensor:
    """Return float32 or better, without infinities; a clamped entry gets no gradient."""
    logp = logp.float() if logp.dtype in (torch.float16, torch.bfloat16) else logp
    return logp.clamp(min=LOG_ZERO)


def _expect(weight: Tensor, value: Tensor) -> Tensor:
    """Sum weight value over v, without keeping the product: [..., V] -> [...]."""
    return torch.linalg.vecdot(weight, value)


def _mixture(a: Tensor, b: Tensor, weight_a: float) -> Tensor:
    """Compute log(w exp(a) + (1 - w) exp(b)), 0 < w < 1."""
    return torch.logaddexp(a + math.log(weight_a), b + math.log1p(-weight_a))


def _not_negative(d: Tensor) -> Tensor:
    """Take out the tiny negative that rounding can leave; the gradient stays."""
    return d + (d.detach().clamp(min=0) - d.detach())


def _tail(p_exp: Tensor, mass: float) -> Tensor:
    """Mark the least probable tokens of cumulative mass <= `mass`, bool [..., V]."""
    ascending, order = p_exp.sort(dim=-1, stable=True)
    return torch.empty_like(order, dtype=torch.bool).scatter_(
        -1, order, ascending.cumsum(-1) <= mass
    )


def _check(name: str, value: float, *, below_one: bool = False) -> None:
    if not (0 <= value < 1 if below_one else 0 <= value <= 1):
        interval = "[0, 1)" if below_one else "[0, 1]"
        raise ConfigError(
            f"{name} is outside {interval}.", f"{name} = {value}", f"Choose {name} in {interval}."
        )
