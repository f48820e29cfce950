"""ImitKD: the teacher's distributions on the student's texts (arXiv:2009.07253).

Lin et al. 2020, section 3: the share of the records' own texts falls exponentially from 1 while the
student learns to write; at step i of I it is data_rate_end^(i/I). The loss is KL(p_t || q_t)
against the whole distribution (their L_full). Their code (asappresearch/imitkd) ends at 1/200 in
translation and 1/10 in summarisation; there the student writes greedily and each record is drawn
for itself. Here it samples, and a step is all the records' own or all the student's.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import partial

from stillage.distill.settings import Sampling, by_student
from stillage.run.ranges import ANY, SHARE, check_group
from stillage.types import Method, Source, Step, StudentRollout, StudentState, Terms


@dataclass(frozen=True, slots=True, kw_only=True)
class Params:
    """Forward KL to the teacher, on texts that are more and more the student's."""

    data_rate_end: float = 0.005
    """Probability of the records' own texts at the last step; it falls exponentially from 1. 0: the
    student's from the first step, 1: never. 1/200 is the default of the authors' code and its value
    for translation; for summaries it has 1/10. Neither was tuned for instructions."""
    sampling: Sampling = field(default_factory=Sampling)
    """How the student draws its texts."""
    capacity: int = 0
    """Keep this many of the student's texts, and train on a draw from those; 0: on the new ones."""

    def __post_init__(self) -> None:
        """ConfigError for a value outside its range."""
        check_group(self, {"data_rate_end": SHARE, "capacity": ANY})


def terms(step: Step, params: Params) -> Terms:
    """{"kd": sum_t KL(p_t || q_t)}."""
    from stillage.distill.objective import teacher_alone

    return teacher_alone(step, "fkl")


def source(params: Params, state: StudentState, draw: float, progress: float) -> Source:
    """The records' own texts with probability data_rate_end^progress."""
    return "data" if draw < params.data_rate_end**progress else by_student(params.capacity)


def rollout(params: Params) -> StudentRollout:
    """The student writes more and more often."""
    return StudentRollout(
        decoding=params.sampling.decoding, source=partial(source, params), capacity=params.capacity
    )


METHOD = Method(
    name="imitkd",
    paper="arXiv:2009.07253",
    params=Params,
    terms=terms,
    rollout=rollout,
    presets={
        "paper": {},
        # The authors' own configurations: greedy answers, a share at the end for each kind of task.
        "as_released_translation": {"sampling_temperature": 0.0},
        "as_released_summaries": {"sampling_temperature": 0.0, "data_rate_end": 0.1},
        # The baseline in DistiLLM's code: every step a draw from up to 1000 of the student's texts.
        "as_released": {"data_rate_end": 0.0, "capacity": 1000},
    },
)
