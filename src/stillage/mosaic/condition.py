"""What an experiment is made of: conditions to train, and points to compare.

A condition is one training: what its corpus holds of the canaries, and how the model is trained. A
point is a condition seen by an experiment: its place on the axis, and the curve of exact copies
that says what it is worth. Conditions are equal by value, so that experiments share them.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from stillage.mosaic.kinds import Kind

if TYPE_CHECKING:
    from stillage.run.config import Config


@dataclass(frozen=True, slots=True, kw_only=True)
class Arm:
    """What differs from the config in a whole row of conditions: one thing at most."""

    layers: int = 0  # of the model from scratch; 0: the config's
    width: int = 0
    heads: int = 0
    path: str = ""  # of another given model
    lr_peak: float = 0.0  # 0: the config's
    sampling_temperature: float = 0.0  # of the canaries; 0: the config's
    scan: str = ""  # folder of the scan whose targets are the canaries

    @property
    def is_usual(self) -> bool:
        """Whether nothing differs."""
        return self == Arm()


USUAL = Arm()


@dataclass(frozen=True, slots=True, kw_only=True)
class Condition:
    """One training: `exact` copies of each canary, and `near` near-copies of a kind."""

    exact: int = 1
    near: int = 0
    kind: Kind | None = None
    arm: Arm = field(default_factory=Arm)
    method: str = ""  # of the student taught by the model so trained; empty: that model itself


@dataclass(frozen=True, slots=True, kw_only=True)
class ExperimentPoint:
    """A condition in an experiment."""

    condition: Condition
    series: str = ""  # line of the figure, e.g. "n = 5"
    x: float = 0.0
    label: str = ""  # where the axis has names, e.g. "masked"

    @property
    def curve(self) -> Condition:
        """The condition with one exact copy, where the point's curve begins.

        Its arm and method are the point's.
        """
        return Condition(arm=self.condition.arm, method=self.condition.method)


@dataclass(frozen=True, slots=True, kw_only=True)
class MosaicExperiment:
    """One question about near-copies: its settings, its points, its figure."""

    name: str
    title: str  # of its section in the report
    axis: str  # what x is, with its unit
    params: type  # frozen dataclass of its settings: mosaic.params.NAME.SETTING
    points: Callable[[Any, Config], Sequence[ExperimentPoint]]
    """(params, config) -> what is trained and compared. ConfigError for what cannot be."""
    shows: str = "rho"  # "auc" (copies), "rho", "recital" (extraction) or "distance"
    published: tuple[tuple[str, float, float], ...] = ()
    """(series, x, value) of the published figure, for orientation: GPT-Neo 1.3B, ratio attack."""
    note: str = ""  # what to know when reading the figure


def near_condition(kind: Kind, copies: int, arm: Arm = USUAL, method: str = "") -> Condition:
    """The canary once, and copies - 1 near-copies of a kind."""
    return Condition(exact=1, near=copies - 1, kind=kind, arm=arm, method=method)


def exact_curve(point: ExperimentPoint, copies: int) -> list[Condition]:
    """The conditions with 1 .. copies exact copies, against which a point is read."""
    return [replace(point.curve, exact=count) for count in range(1, copies + 1)]
