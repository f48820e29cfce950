"""DistiLLM: skewed KL, student's texts as often as needed (arXiv:2402.03898).

Ko et al. 2024. Section 3.1: S(R)KL_a mixes a little of the other distribution into the reference,
which bounds the gradient. Section 3.2: a step trains on the student's texts with probability phi.
phi rises by 0.1 when the validation loss is loss_eps above the one that raised it last (at first:
the loss before training); most of those texts are drawn again from a replay buffer, so that few
have to be written.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from functools import partial
from typing import Literal

from stillage.distill.settings import Sampling
from stillage.run.ranges import ANY, BELOW_ONE, SHARE, SOME, check_group
from stillage.types import Method, Source, Step, StudentRollout, StudentState, Terms

THRESHOLD_STEP = 0.1


@dataclass(frozen=True, slots=True, kw_only=True)
class Params:
    """A skewed divergence, and the schedule of the student's own texts."""

    divergence: Literal["srkl", "sfkl"] = "srkl"
    """srkl KL(q || (1-a) p + a q), or sfkl KL(p || a p + (1-a) q)."""
    alpha: float = 0.1
    """a, the skew."""
    init_threshold: float = 0.0
    """phi at the start: probability that a step trains on the student's texts."""
    loss_eps: float = 0.1
    """phi rises when the validation loss is this much (nats per token) above the one it is compared
    with; without validations it stays (said once)."""
    replay_ratio: Literal["decreasing", "constant", "increasing"] = "decreasing"
    """Share of those steps whose texts are written anew: falls from 1 to 0 over the training, is
    1/2, or rises from 0 to 1."""
    capacity: int = 1000
    """Texts in the replay buffer; until it is full, all of the student's texts are new."""
    sampling: Sampling = field(default_factory=Sampling)
    """How the student draws its texts."""

    def __post_init__(self) -> None:
        """ConfigError for a value outside its range."""
        ranges = {"alpha": BELOW_ONE, "init_threshold": SHARE, "loss_eps": ANY, "capacity": SOME}
        check_group(self, ranges)


def terms(step: Step, params: Params) -> Terms:
    """{"kd": sum_t skewed divergence(p_t, q_t)}."""
    from stillage.distill.objective import teacher_alone

    return teacher_alone(step, params.divergence, {"alpha": params.alpha})


def writing_probability(params: Params, threshold: float, progress: float) -> float:
    """Probability of new texts although the buffer is full: phi times the ratio."""
    shares = {"decreasing": 1 - progress, "constant": 0.5, "increasing": progress}
    return threshold * shares[params.replay_ratio]


def source(params: Params, state: StudentState, draw: float, progress: float) -> Source:
    """New texts of the student, old ones, or the records' own."""
    if draw < writing_probability(params, state.threshold, progress):
        return "student"
    if draw < state.threshold:
        return "replay" if state.buffered >= params.capacity else "student"
    return "data"


def validated(params: Params, state: StudentState, loss: float) -> StudentState:
    """Raise phi and replace the loss to compare with, when the loss is too high."""
    if state.reference_loss is None:
        return replace(state, reference_loss=loss)
    if loss < state.reference_loss + params.loss_eps:
        return state
    return replace(state, threshold=min(state.threshold + THRESHOLD_STEP, 1.0), reference_loss=loss)


def rollout(params: Params) -> StudentRollout:
    """The student writes as often as the validation loss asks for."""
    return StudentRollout(
        decoding=params.sampling.decoding,
        source=partial(source, params),
        validated=partial(validated, params),
        start=StudentState(threshold=params.init_threshold),
        capacity=params.capacity,
    )


METHOD = Method(
    name="distillm",
    paper="arXiv:2402.03898",
    params=Params,
    terms=terms,
    rollout=rollout,
    presets={
        "paper": {},
        # The script of the smallest GPT-2; the others are as in the paper.
        "as_released": {"divergence": "sfkl"},
    },
)
