"""Student initialisation: brief fine-tuning, best weights (arXiv:2306.08543).

MiniLLM, section 3.1, phase 1; DistiLLM (arXiv:2402.03898) starts its students the same way: a few
epochs, and the weights of the lowest validation loss. The on-policy methods then take the result as
their student (student.path), since a student that cannot write yet has nothing to learn from its
own texts.
"""

from __future__ import annotations

from dataclasses import dataclass

from stillage.distill.methods.sft import terms
from stillage.run.ranges import POSITIVE, check_group
from stillage.types import Method


@dataclass(frozen=True, slots=True, kw_only=True)
class Params:
    """Fine-tuning with a budget of its own; the other options count as given."""

    epochs: float = 3.0
    """Passes over the records, instead of the training's own `epochs` (max_steps comes first)."""

    def __post_init__(self) -> None:
        """ConfigError for a budget that is none."""
        check_group(self, {"epochs": POSITIVE})


METHOD = Method(
    name="init",
    paper="arXiv:2306.08543",
    params=Params,
    terms=terms,
    needs_teacher=lambda params: False,
    budget=lambda params: {"epochs": params.epochs, "keep": "best", "keep_by": "loss"},
    presets={"paper": {}},
)
