"""GKD: Jensen-Shannon divergence on the student's own texts (arXiv:2306.13649).

Agarwal et al. 2024, algorithm 1: with probability student_fraction a step's prompts are answered by
the student of that very step, otherwise the records' own responses are used; then
sum_t JSD_beta(p_t, q_t), the text taken as given.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import partial

from stillage.distill.settings import Sampling, by_student
from stillage.run.ranges import ANY, SHARE, check_group
from stillage.types import Method, Source, Step, StudentRollout, StudentState, Terms


@dataclass(frozen=True, slots=True, kw_only=True)
class Params:
    """A Jensen-Shannon divergence, and the share of steps on the student's own texts."""

    student_fraction: float = 1.0
    """Probability that a step trains on the student's texts (lambda: 1 on-policy, 0 never)."""
    beta: float = 0.5
    """0 is KL(p||q), 1 is KL(q||p)."""
    sampling: Sampling = field(default_factory=Sampling)
    """How the student draws its texts."""
    capacity: int = 0
    """Keep this many of the student's texts, and train on a draw from those; 0: on the new ones."""

    def __post_init__(self) -> None:
        """ConfigError for a value outside its range."""
        check_group(self, {"student_fraction": SHARE, "beta": SHARE, "capacity": ANY})


def terms(step: Step, params: Params) -> Terms:
    """{"kd": sum_t JSD_beta(p_t, q_t)}.

    JSD_beta = beta KL(p || m) + (1 - beta) KL(q || m), m = beta p + (1 - beta) q.
    """
    from stillage.distill.objective import teacher_alone

    return teacher_alone(step, "jsd", {"beta": params.beta})


def source(params: Params, state: StudentState, draw: float, progress: float) -> Source:
    """The student writes with probability student_fraction."""
    return by_student(params.capacity) if draw < params.student_fraction else "data"


def rollout(params: Params) -> StudentRollout:
    """The student writes with a fixed probability."""
    return StudentRollout(
        decoding=params.sampling.decoding, source=partial(source, params), capacity=params.capacity
    )


METHOD = Method(
    name="gkd",
    paper="arXiv:2306.13649",
    params=Params,
    terms=terms,
    rollout=rollout,
    presets={
        "paper": {},
        # The baseline in DistiLLM's code: a buffer of 1000 old texts; its weight 0.9 is beta 0.1.
        "as_released": {"student_fraction": 0.5, "beta": 0.1, "capacity": 1000},
    },
)
