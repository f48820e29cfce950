"""The squared Hellinger distance as a divergence: `--plugin divergence.py --distill.params.divergence hellinger`."""

import torch


def hellinger(p: torch.Tensor, q: torch.Tensor) -> torch.Tensor:
    """Half the squared distance of the square roots: 0.5 sum_v (sqrt(p_v) - sqrt(q_v))^2, in [0, 1].

    p, q: log-probabilities [..., V] of teacher and student -> [...]. Read as float32 at least, like all divergences.
    """
    p, q = (x if x.dtype == torch.float64 else x.float() for x in (p, q))
    return 0.5 * ((p / 2).exp() - (q / 2).exp()).square().sum(-1)


DIVERGENCES = {"hellinger": hellinger}
