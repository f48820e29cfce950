"""Sequence KD: the student learns what the teacher writes (arXiv:1606.07947).

Kim and Rush 2016, section 3.2: -log q(y) for the y that beam search finds in the teacher. Every
prompt is answered once, before the first step; the records' own responses are never trained (the
released scripts of MiniLLM and DistiLLM generate texts too, and then train on the records' own).
With kd_weight the teacher's distributions over its texts are targets as well. With stop_after only
the needed part of each text is asked for and trained; there the end of text is a target of its own,
since the teacher would have gone on.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, field, replace
from typing import Literal

from stillage.distill.settings import Sampling
from stillage.errors import ConfigError
from stillage.run.ranges import ANY, POSITIVE, SOME, check_group
from stillage.types import Method, Step, TeacherRollout, Terms


@dataclass(frozen=True, slots=True, kw_only=True)
class Params:
    """ce_weight * cross-entropy + kd_weight * KL(p || q), on the teacher's texts."""

    decoding: Literal["beam", "sampling", "greedy"] = "beam"
    """How the teacher writes: beam search (the paper), sampling (MiniLLM, DistiLLM), or greedy."""
    beams: int = 5
    """beam: width of the search (the paper's K)."""
    sampling: Sampling = field(default_factory=Sampling)
    """How the teacher draws its texts where decoding = sampling; max_new_tokens counts always."""
    ce_weight: float = 1.0
    """Weight of the cross-entropy on the teacher's tokens."""
    kd_weight: float = 0.0
    """Weight of the forward KL to the teacher on its own texts (soft targets); 0: no teacher pass
    while training."""
    stop_after: str = ""
    """The teacher's texts end after the first place with this text, e.g. ; - the student needs no
    more of them."""

    def __post_init__(self) -> None:
        """ConfigError for a value out of range, or one that the decoding ignores."""
        check_group(self, {"beams": SOME, "ce_weight": ANY, "kd_weight": ANY})
        check_group(self, {"ce_weight" if self.ce_weight else "kd_weight": POSITIVE})
        if self.decoding != "sampling":
            for name, unused in asdict(Sampling()).items():
                value = getattr(self.sampling, name)
                if name != "max_new_tokens" and value != unused:
                    what = f"{name} means nothing here."
                    fix = "Leave it out, or use decoding = sampling."
                    raise ConfigError(what, f"decoding = {self.decoding}, {name} = {value}", fix)


def terms(step: Step, params: Params) -> Terms:
    """{"ce": ce_weight sum_t -log q(y_t), "kd": kd_weight sum_t KL(p_t || q_t)}.

    y is the teacher's text. Where the text was cut (stop_after), the teacher's distribution over
    what comes next is no target: "end" has kd_weight * -log q(end of text) in its place.
    """
    from stillage.distill.objective import sums, weighted

    kd_weight, ce_weight = params.kd_weight, params.ce_weight
    weights = {"ce": ce_weight, "kd": kd_weight}
    if not (params.stop_after and kd_weight):
        return weighted(sums(step, weights=(kd_weight, ce_weight)), weights)
    cut_T, alone = step.extras["cut"], replace(step, teacher=None)
    both = sums(step, weights=(kd_weight, 0.0), weight_T=1 - cut_T)
    if ce_weight:
        both = both._replace(ce=sums(alone, weights=(0.0, ce_weight)).ce)
    ends = sums(alone, weights=(0.0, kd_weight), weight_T=cut_T).ce
    return weighted(both, weights) | {"end": kd_weight * ends}


def rollout(params: Params) -> TeacherRollout:
    """The teacher writes all texts before the first step."""
    decoding = params.sampling.decoding
    if params.decoding != "sampling":
        decoding = replace(decoding, sampling_temperature=0.0)
    return TeacherRollout(
        decoding=decoding,
        beams=params.beams if params.decoding == "beam" else 1,
        stop_after=params.stop_after,
        soft_targets=params.kd_weight > 0,
    )


METHOD = Method(
    name="seqkd",
    paper="arXiv:1606.07947",
    params=Params,
    terms=terms,
    rollout=rollout,
    presets={
        "paper": {},
        # What DistiLLM calls SeqKD, had its texts been read: sampled once, soft targets alone.
        "as_released": {"decoding": "sampling", "ce_weight": 0.0, "kd_weight": 1.0},
        # The same with MiniLLM's weights.
        "as_released_minillm": {"decoding": "sampling", "ce_weight": 0.5, "kd_weight": 0.5},
    },
)
