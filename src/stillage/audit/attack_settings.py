"""The settings that belong to each attack, and so decide when an audit is redone."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from functools import partial

from stillage.audit.attacks import ATTACKS
from stillage.run.audit_config import AuditConfig
from stillage.types import Attack, Transform

TAIL = {"fraction": "min_k_fraction", "count": "min_k_count", "window": "min_k_window"}
SCORED_WITH: Mapping[str, Mapping[str, str]] = {
    "min_k": TAIL,
    "min_k_plus_plus": TAIL,
    "dc_pdd": {"cap": "dc_pdd_cap"},
}
"""Attack -> argument of its score -> the setting that it has."""
ASKED_WITH: Mapping[Transform, Sequence[str]] = {
    "neighbours": (
        "neighbours",
        "neighbour_share",
        "neighbour_top_k",
        "masked_model",
        "masked_revision",
    ),
    "nonmember_prefix": ("prefix_records",),
    "member_prefix": ("prefix_records",),
    "noise": ("mope_copies", "mope_sigma", "mope_noise"),
}
"""Question -> the settings that make it."""


def attacks_of(audit: AuditConfig) -> list[Attack]:
    """The attacks that an audit names, with the settings that are theirs."""
    attacks = []
    for attack in (ATTACKS[name] for name in audit.attacks if name in ATTACKS):
        settings = SCORED_WITH.get(attack.name, {})
        given = {argument: getattr(audit, setting) for argument, setting in settings.items()}
        attacks.append(replace(attack, score=partial(attack.score, **given)))
    return attacks


def used_settings(attacks: Collection[Attack]) -> set[str]:
    """The settings that score the attacks, or make what they ask."""
    scored = {
        setting for attack in attacks for setting in SCORED_WITH.get(attack.name, {}).values()
    }
    asked: set[Transform] = {query.transform for attack in attacks for query in attack.queries}
    return scored | {setting for transform in asked for setting in ASKED_WITH.get(transform, ())}


def with_used_settings(audit: AuditConfig) -> AuditConfig:
    """Return the audit, settings of attacks that it does not name at their defaults."""
    unused = used_settings(ATTACKS.values()) - used_settings(attacks_of(audit))
    return replace(audit, **{setting: getattr(AuditConfig(), setting) for setting in unused})
