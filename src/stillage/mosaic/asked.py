"""The experiments that a config asks for, with their points and conditions."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from stillage.errors import ConfigError, did_you_mean
from stillage.mosaic.condition import Condition, ExperimentPoint, MosaicExperiment, exact_curve
from stillage.mosaic.experiments import EXPERIMENTS
from stillage.mosaic.experiments.exact_copies_experiment import EXACT_COPIES
from stillage.run.config import Config
from stillage.run.own_settings import own_settings


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """One experiment as a config asks for it."""

    experiment: MosaicExperiment
    points: tuple[ExperimentPoint, ...]
    copies: int  # N of its points: how long their exact curves are


def asked_experiments(config: Config) -> list[Asked]:
    """List the experiments asked for, in the order of the report.

    ConfigError for an unknown name or setting, none at all, and as the experiments raise it.
    """
    named = config.mosaic.experiments
    for name in named:
        if name not in EXPERIMENTS:
            raise ConfigError(
                "There is no such experiment.",
                f"mosaic.experiments: {name}",
                did_you_mean(name, EXPERIMENTS, f"Choose from: {', '.join(EXPERIMENTS)}."),
            )
    if not named:
        fix = f"Choose from: {', '.join(EXPERIMENTS)}."
        raise ConfigError("No experiment is asked for.", "mosaic.experiments: none", fix)
    kinds = {name: one.params for name, one in EXPERIMENTS.items()}
    # those of experiments that are not asked for are read too: one config serves all of them
    params = own_settings(kinds, config.mosaic.params, "mosaic.params")
    found = []
    for name, one in EXPERIMENTS.items():
        if name in named:
            points = tuple(one.points(params[name], config))
            copies = curve_copies(points, config.mosaic.copies)
            found.append(Asked(experiment=one, points=points, copies=copies))
    return found if EXACT_COPIES.name in named else [*curve_shown(found), *found]


def curve_shown(asked: Sequence[Asked]) -> list[Asked]:
    """Show the exact copies that are trained anyway.

    Only where nobody asks for them by name.
    """
    trained = sorted(
        (one for one in conditions_of(asked) if one == Condition(exact=one.exact)),
        key=lambda condition: condition.exact,
    )
    if len(trained) < 2:
        return []
    points = tuple(ExperimentPoint(condition=one, x=one.exact) for one in trained)
    return [Asked(experiment=EXACT_COPIES, points=points, copies=len(points))]


def curve_copies(points: Sequence[ExperimentPoint], usual: int) -> int:
    """Return N of an experiment, the length of its exact curve.

    The copies of its near-copy conditions, else the usual.
    """
    doses = {point.condition.near + 1 for point in points if point.condition.kind is not None}
    assert len(doses) <= 1, "the points of an experiment share one curve's length"
    copies = doses.pop() if doses else usual
    if copies < 2:
        raise ConfigError(
            "One copy is no dose: a near-copy is compared with 1 to N exact ones.",
            f"copies: {copies}",
            "Set mosaic.copies, and copies in mosaic.params, to 2 or more.",
        )
    return copies


def conditions_of(asked: Sequence[Asked]) -> list[Condition]:
    """List every condition once: the points', their curves', and students' teachers."""
    found: dict[Condition, None] = {}
    for one in asked:
        for point in one.points:
            curve = [] if one.experiment.shows == "auc" else exact_curve(point, one.copies)
            for condition in (*curve, point.condition):
                if condition.method:
                    found.setdefault(teacher_condition(condition))
                found.setdefault(condition)
    return list(found)


def teacher_condition(condition: Condition) -> Condition:
    """Return the condition whose model teaches a student."""
    return replace(condition, method="")
