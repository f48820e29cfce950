"""Fine-tuning without a teacher: cross-entropy on the responses.

Teacher forcing: Williams and Zipser 1989. Also trains teachers, and is the control that tells what
a student knows by itself.
"""

from __future__ import annotations

from dataclasses import dataclass

from stillage.types import Method, Step, Terms


@dataclass(frozen=True, slots=True, kw_only=True)
class Params:
    """Cross-entropy has nothing to set."""


def terms(step: Step, params: object) -> Terms:
    """{"ce": sum_t -log q(label_t)}, in nats."""
    from stillage.distill.objective import sums

    return {"ce": sums(step).ce}


METHOD = Method(
    name="sft",
    paper="Williams and Zipser 1989, Neural Computation 1(2)",
    params=Params,
    terms=terms,
    needs_teacher=lambda params: False,
    presets={"paper": {}},
)
