"""Word-level KD: a divergence from the teacher's distributions (arXiv:1503.02531).

Hinton, Vinyals and Dean 2015, section 2, applied per response token on the records' own text (Kim
and Rush, arXiv:1606.07947, section 3.1). The divergences are true ones: they are 0 where the
student equals the teacher.
"""

from __future__ import annotations

from dataclasses import dataclass

from stillage.distill.settings import check_divergence_settings, divergence_params
from stillage.run.ranges import ANY, POSITIVE, check_group
from stillage.types import Method, Step, Terms


@dataclass(frozen=True, slots=True, kw_only=True)
class Params:
    """kd_weight * divergence(teacher, student) + ce_weight * cross-entropy."""

    divergence: str = "fkl"
    """fkl KL(p||q), rkl KL(q||p), symmetric, jsd, tvd (total variation), sfkl and srkl (skewed),
    akl (adaptive)."""
    kd_weight: float = 1.0
    """Weight of the divergence; 0 makes no teacher pass at all."""
    ce_weight: float = 0.0
    """Weight of the cross-entropy on the record's tokens (DistiLLM: 0, MiniLLM's baseline: 0.5)."""
    kd_temperature: float = 1.0
    """Both distributions are softened by it before they are compared; no sampling temperature."""
    t_squared: bool = True
    """Multiply the divergence by kd_temperature squared, so that its gradient keeps its size
    (Hinton et al., section 2)."""
    alpha: float = 0.1
    """Skew of sfkl and srkl (arXiv:2402.03898)."""
    beta: float = 0.5
    """jsd: 0 is KL(p||q), 1 is KL(q||p) (arXiv:2306.13649)."""
    reverse_weight: float = 0.5
    """symmetric: share of KL(q||p)."""
    head_mass: float = 0.5
    """akl: teacher mass of the head (arXiv:2404.02657)."""

    def __post_init__(self) -> None:
        """ConfigError for a value out of range, or one that the divergence ignores."""
        check_divergence_settings(self)
        check_group(self, {"kd_weight": ANY, "ce_weight": ANY, "kd_temperature": POSITIVE})
        check_group(self, {"ce_weight" if self.ce_weight else "kd_weight": POSITIVE})


def terms(step: Step, params: Params) -> Terms:
    """{"kd": kd_weight [T^2] sum_t d(p_t, q_t), "ce": ce_weight sum_t -log q(y_t)}.

    p and q at T = kd_temperature for kd.
    """
    from stillage.distill.objective import sums, weighted

    both = sums(
        step,
        divergence=params.divergence,
        params=divergence_params(params),
        kd_temperature=params.kd_temperature,
        t_squared=params.t_squared,
        weights=(params.kd_weight, params.ce_weight),
    )
    return weighted(both, {"kd": params.kd_weight, "ce": params.ce_weight})


METHOD = Method(
    name="kd",
    paper="arXiv:1503.02531",
    params=Params,
    terms=terms,
    needs_teacher=lambda params: params.kd_weight > 0,
    presets={
        # As in DistiLLM's comparisons (arXiv:2402.03898): the teacher alone, temperature 1.
        "paper": {},
        # The scripts of MiniLLM and KD-LLMs; a mean per micro-batch there.
        "as_released": {"kd_weight": 0.5, "ce_weight": 0.5},
    },
)
