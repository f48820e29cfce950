"""Gradient norm: training has already taken what a member could still teach.

Nasr et al. 2019, arXiv:1812.00910; on language models: Wang et al. 2024, arXiv:2402.17012. A member
has the smaller gradient; some code has it the other way.
"""

from __future__ import annotations

from stillage.types import Attack, GradientNorms, Query


def gradient_norm(norms: GradientNorms) -> float:
    """Minus the 2-norm of the gradient of the record's loss over all weights.

    score = -||grad_theta (1/T) sum_t -log q(y_t | before)||. NaN without scored tokens.
    """
    return -norms.total


GRADIENT_NORM = Attack(
    name="gradient_norm",
    paper="Nasr et al. 2019, arXiv:1812.00910; Wang et al. 2024, arXiv:2402.17012",
    access="weights",
    queries=(Query(party="target", transform="gradient"),),
    score=gradient_norm,
)
