"""Numbers of a model while it trains, which change nothing of its training."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from transformers import PreTrainedModel


@dataclass(frozen=True, slots=True, kw_only=True)
class Monitor:
    """What is measured at the start, every so many steps, and after the last.

    measure(model) gets the student in eval mode, without gradients, on the first process alone. Its
    numbers go into metrics.jsonl and to the report, as a validation's do; what decides a training
    does not name it, so that a training continues with or without.
    """

    measure: Callable[[PreTrainedModel], Mapping[str, float]]
    every: int = 0  # steps; 0: after the last step alone

    def is_due(self, done: int, *, last: bool) -> bool:
        """Whether `done` steps, or none, are followed by a measurement."""
        return last or (self.every > 0 and done % self.every == 0)
