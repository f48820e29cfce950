"""A setting counts for an audit where an attack of it uses it, and nowhere else."""

from __future__ import annotations

from dataclasses import fields, replace

import numpy as np
import pytest

from stillage.audit.attack_settings import (
    ASKED_WITH,
    SCORED_WITH,
    attacks_of,
    with_used_settings,
)
from stillage.audit.attacks import ATTACKS
from stillage.experiment.context import make_context
from stillage.experiment.plan import plan
from stillage.run.audit_config import AuditConfig
from stillage.run.config import Config
from stillage.run.stages import stage_keys
from stillage.run.stop import watch_signals
from stillage.types import TokenStats

OTHER = {
    "neighbours": 3,
    "neighbour_share": 0.5,
    "neighbour_top_k": 2,
    "masked_model": "a-folder",
    "masked_revision": "0" * 40,
    "prefix_records": 2,
    "mope_copies": 2,
    "mope_sigma": 0.1,
    "mope_noise": "absolute",
    "min_k_fraction": 0.5,
    "min_k_count": 3,
    "min_k_window": 2,
    "dc_pdd_cap": 0.3,
}
USES = {name: set(SCORED_WITH.get(name, {}).values()) for name in ATTACKS}
for name, attack in ATTACKS.items():
    USES[name] |= {
        setting for query in attack.queries for setting in ASKED_WITH.get(query.transform, ())
    }


def test_the_tables_name_settings_and_attacks_that_there_are() -> None:
    named = {
        setting
        for settings in (*ASKED_WITH.values(), *(found.values() for found in SCORED_WITH.values()))
        for setting in settings
    }
    assert (
        named == set(OTHER)
        and named <= {field.name for field in fields(AuditConfig)}
        and set(SCORED_WITH) <= set(ATTACKS)
    )
    assert with_used_settings(AuditConfig()) == AuditConfig()
    assert USES["loss"] == set() and USES["mope"] == {"mope_copies", "mope_sigma", "mope_noise"}
    assert (
        USES["con_recall"] == {"prefix_records"}
        and "masked_model" in USES["self_prompted_variation"]
    )


@pytest.mark.parametrize("attack", ATTACKS)
def test_an_attack_keeps_its_own_settings_and_no_other(attack: str) -> None:
    changed = AuditConfig(attacks=("loss", attack), **OTHER)
    found, default = with_used_settings(changed), AuditConfig()
    for setting in OTHER:
        kept = changed if setting in USES[attack] else default
        assert getattr(found, setting) == getattr(kept, setting), setting
    assert [one.name for one in attacks_of(changed)] == ["loss", attack]


def test_min_k_by_count_and_by_n_grams() -> None:
    logp_T = np.log([0.5, 0.1, 0.4, 0.05], dtype=np.float32)
    record = TokenStats(
        ids_T=np.arange(4),
        logp_T=logp_T,
        mean_T=logp_T - 1,
        var_T=np.ones(4),
        rank_T=np.ones(4),
        greedy_T=np.zeros(4, dtype=bool),
    )
    audit = AuditConfig(attacks=("min_k", "min_k_plus_plus"), min_k_count=2, min_k_window=2)
    expected = np.sort([logp_T[:2].mean(), logp_T[1:3].mean(), logp_T[2:].mean()])[:2].mean()
    assert [one.score(record) for one in attacks_of(audit)] == pytest.approx([expected, 1.0])


def test_a_setting_of_an_attack_that_is_not_asked_for_repeats_nothing() -> None:
    def key(audit: AuditConfig) -> str:
        with watch_signals() as stop:
            return stage_keys(
                plan(make_context(Config(audit=audit), stop, lambda name, facts: None))
            )["audit"]

    plain, asking = AuditConfig(attacks=("loss", "zlib")), AuditConfig(attacks=("loss", "mope"))
    assert key(replace(plain, mope_sigma=0.1, neighbours=7, min_k_fraction=0.5)) == key(plain)
    assert key(replace(asking, neighbours=7)) == key(asking) != key(replace(asking, mope_sigma=0.1))
