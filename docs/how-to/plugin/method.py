"""Distillation that trusts the teacher where the teacher agrees with the record: `--plugin method.py --method trust`."""

from __future__ import annotations

from dataclasses import dataclass

from stillage.run.ranges import ANY, check_group
from stillage.types import Method, Step


@dataclass(frozen=True, kw_only=True)
class Params:
    """Forward KL, each token weighted by the teacher's own probability of the record's token."""

    power: float = 0.5
    """The weight is p(y_t)^power; 0: every token counts alike (that is `kd`)."""

    def __post_init__(self) -> None:
        """ConfigError for a value outside its range."""
        check_group(self, {"power": ANY})


def terms(step: Step, params: Params) -> dict:
    """{"kd": sum_t p(y_t)^power KL(p_t || q_t)}: sums over tokens, which the loop divides once."""
    from stillage.distill.objective import sums
    from stillage.functional.readout import token_logp

    weight_T = (params.power * token_logp(step.teacher, step.labels_T)).exp()
    return {"kd": sums(step, divergence="fkl", weights=(1.0, 0.0), weight_T=weight_T).kd}


TRUST = Method(
    name="trust",
    paper="your own",
    params=Params,
    terms=terms,
    needs_teacher=lambda params: True,
    presets={"paper": {}},
)
METHODS = {"trust": TRUST}
