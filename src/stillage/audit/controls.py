"""Controls must be at chance: blind attackers, models that cannot know a member."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from stillage.audit.detectable import Visible, rounded_up, sight_of, worst
from stillage.audit.scores import Scored
from stillage.audit.validity import SHIFT, Check, Value, chance_p
from stillage.functional.multiplicity import holm

Family = Literal["blind", "trained", "untrained"]
FAMILY_LEVELS: Mapping[Family, float] = {"blind": 0.05, "trained": 0.02, "untrained": 0.02}
"""Chance that honest controls of a family fail together, at most. The blind attackers, who see what
no model need see, are tested by themselves, so that attacks on models never hide what they find. As
attacks on controls resemble each other, 2 to 3 % of simulated honest runs fail, where the bounds
add up to 9 % (benchmarks/simulations/checks.py)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Control:
    """An attacker who knows no member: blind, or on a trained or untrained control."""

    family: Family
    scored: Scored  # with members and nonmembers


def check_controls(
    controls: Mapping[str, Control], level: float = 0.95, *, drawn_by_us: bool = False
) -> Check:
    """Check that the controls are at chance, and that one that is not would be found.

    A control fails when its p-value for AUC = 0.5, Holm-adjusted within its family, is below
    FAMILY_LEVELS, so that no blind attacker's test depends on how many attacks on models there are.
    p comes from the interval (any level), on the logit scale on which it is symmetric. Undecided
    where some family sees no AUC below UNDECIDED_ABOVE even by the strictest of its tests, the one
    that a lone finding has to pass. drawn_by_us: the run drew the groups at random itself, so that
    chance alone may be the cause.
    """
    assert controls, "the blind attackers are always there"
    values: dict[str, Value] = {}
    above: list[str] = []  # controls that tell members, with their AUC and p
    below: list[str] = []  # controls that rank nonmembers above members
    luck: dict[str, float] = {}  # family of a failed control -> how often chance alone does so
    sights: dict[Family, Visible] = {}
    highest = 0.0
    for family, share in FAMILY_LEVELS.items():
        own = {name: one.scored for name, one in sorted(controls.items()) if one.family == family}
        if not own:
            continue
        aucs = {name: scored.auc(level) for name, scored in own.items()}
        adjusted = holm(np.array([chance_p(auc) for auc in aucs.values()])).tolist()
        for (name, auc), p in zip(aucs.items(), adjusted, strict=True):
            values[name] = (
                f"AUC {auc.value:.3f} [{auc.low:.3f}, {auc.high:.3f}], "
                f"adjusted p {p:.2g} (fails below {share:g})"
            )
            if p < share:
                side = above if auc.value > 0.5 else below
                side.append(f"{name} {auc.value:.3f} (p {p:.2g})")
                luck[family] = share
            highest = max(highest, auc.high)
        strictest = 1 - share / len(own)
        sights[family] = worst(
            [
                sight_of(
                    one.scores, one.is_member, strictest, clusters=one.clusters, n_folds=one.n_folds
                )
                for one in own.values()
            ]
        )
        values[f"smallest AUC found, {family}"] = sights[family].shown
    values["largest upper limit"] = highest
    least = worst([*sights.values()]).values
    values |= {name: value for name, value in least.items() if name != "smallest AUC found"}
    undecided = not luck and any(sight.is_blind for sight in sights.values())
    detail = _failed(above, below, luck, drawn_by_us) if luck else _passed(len(controls), sights)
    return Check(
        name="controls",
        passed=not luck,
        fault=SHIFT,
        detail=detail,
        values=values,
        undecided=undecided,
    )


def _failed(
    above: Sequence[str], below: Sequence[str], luck: Mapping[str, float], drawn_by_us: bool
) -> str:
    """Say which controls are away from chance, on which side, and what chance does."""
    said = []
    if above:
        said.append(
            "Without having learned a member, these already tell members from nonmembers:"
            f" {', '.join(above)}."
        )
    if below:
        said.append(
            f"Lower than chance, 0.5, without having learned a member: {', '.join(below)}."
            " The groups differ in a way that these attackers did not generalise, or by luck."
        )
    if drawn_by_us:
        often = " and ".join(f"{share:.0%} ({family})" for family, share in luck.items())
        said.append(
            f"This run drew the groups at random, and chance alone does so in up to {often} of"
            " such draws: draw again with another --seed."
        )
    return " ".join(said)


def _passed(count: int, sights: Mapping[Family, Visible]) -> str:
    """What may be said where no control is away from chance."""
    unseen = {family: sight for family, sight in sights.items() if sight.is_blind}
    if unseen:
        little = f"No control is away from chance, but little would be seen ({', '.join(unseen)})."
        return f"{little} {worst([*unseen.values()]).words}"
    seen = ", ".join(f"{family} {rounded_up(sight.smallest)}" for family, sight in sights.items())
    return (
        f"All {count} controls are at chance. An AUC as small as these would have been found"
        f" (80 % power): {seen}."
    )
