"""Every divergence by name, and both losses of distillation without all logits."""

from stillage.functional.chunked import DistillationSums, distillation_sums
from stillage.functional.divergence import (
    DIVERGENCES,
    adaptive_kl,
    forward_kl,
    generalized_jsd,
    reverse_kl,
    skew_forward_kl,
    skew_reverse_kl,
    symmetric_kl,
    total_variation,
)

__all__ = [
    "DIVERGENCES",
    "DistillationSums",
    "adaptive_kl",
    "distillation_sums",
    "forward_kl",
    "generalized_jsd",
    "reverse_kl",
    "skew_forward_kl",
    "skew_reverse_kl",
    "symmetric_kl",
    "total_variation",
]
