"""What a run gives its attacks: their settings, the material of their questions, and why some cannot be asked."""

from __future__ import annotations

import logging
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from stillage.audit.attacks import ATTACKS
from stillage.audit.prefix import Prefixes
from stillage.errors import ModelError
from stillage.experiment import ask
from stillage.experiment.attack_settings import attacks_of
from stillage.run.audit_config import AuditConfig
from stillage.run.config import Config
from stillage.run.progress import unheard
from stillage.types import Part, Record

RECORDS = [
    Record(id=f"r{k}", prompt="Where?", response=f"In the {a} garden.")
    for k, a in enumerate(["red", "old"] * 6)
]
NONE = Prefixes(nonmembers=(), members=(), kept=())


def context(folder: Path, **audit: Any) -> Any:  # noqa: ANN401 - a stand-in for Context
    config = Config(audit=AuditConfig(**audit))
    return SimpleNamespace(
        config=config, cache=folder, run=folder, asked=(), doing=lambda stage, model: unheard
    )


def with_public(monkeypatch: pytest.MonkeyPatch, records: list[Record]) -> None:
    def found(_: object, part: Part) -> list[Record]:
        return records if part == "public" else []

    monkeypatch.setattr(ask, "records_of", found)


def test_without_public_records_and_masked_model_the_reasons_are_given(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with_public(monkeypatch, [])
    attacks = [ATTACKS[name] for name in ("neighbour", "dc_pdd", "recall", "con_recall", "mope")]
    missing = ask.material_of(context(tmp_path), attacks, RECORDS, NONE).missing
    assert set(missing) == {"neighbours", "frequency", "nonmember_prefix", "member_prefix"}
    assert (
        "no masked model" in missing["neighbours"] and "no public records" in missing["frequency"]
    )
    assert not ask.material_of(context(tmp_path), [ATTACKS["loss"]], RECORDS, NONE).missing


def test_a_masked_model_that_is_given_and_not_there_is_an_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with_public(monkeypatch, RECORDS)
    with pytest.raises(ModelError, match="no folder"):
        ask.material_of(
            context(tmp_path, masked_model="./nowhere"), [ATTACKS["neighbour"]], RECORDS, NONE
        )


def test_a_given_masked_model_makes_the_neighbours(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from stillage.models.masked_train import small_masked

    small_masked([record.response for record in RECORDS], 1, tmp_path / "made", steps=2)
    folder = next((tmp_path / "made").iterdir())
    with_public(monkeypatch, [])
    settings = context(tmp_path, masked_model=str(folder), neighbours=3)
    material = ask.material_of(settings, [ATTACKS["neighbour"]], RECORDS, NONE)
    assert not material.missing and [len(texts) for texts in material.neighbours] == [3] * len(
        RECORDS
    )


def test_only_attacks_that_need_prefixes_take_records_away(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    parts = ["private"] * 6 + ["nonmembers"] * 6
    settings = context(tmp_path, prefix_records=1)
    with caplog.at_level(logging.INFO):
        for name, nonmembers, members in (("loss", 0, 0), ("recall", 1, 0), ("con_recall", 1, 1)):
            found = ask.prefixes_of(settings, [ATTACKS[name]], RECORDS, parts, [""] * 12)
            assert (len(found.nonmembers), len(found.members)) == (nonmembers, members)
            assert len(found.kept) == 12 - nonmembers - members
    assert "with their near-duplicates 2 are not evaluated" in caplog.text


def test_settings_reach_the_scores() -> None:
    names = ("min_k", "min_k_plus_plus", "dc_pdd", "loss")
    found = {
        a.name: a
        for a in attacks_of(AuditConfig(attacks=names, min_k_fraction=0.5, dc_pdd_cap=0.3))
    }
    settings = {name: getattr(attack.score, "keywords", {}) for name, attack in found.items()}
    tail = {"fraction": 0.5, "count": 0, "window": 1}
    assert settings == {"min_k": tail, "min_k_plus_plus": tail, "dc_pdd": {"cap": 0.3}, "loss": {}}
    noise = ask.noise_of(context(Path(), mope_noise="absolute", mope_sigma=0.01, mope_copies=3))
    assert (noise.relative, noise.sigma, noise.copies) == (False, 0.01, 3)


def test_models_of_one_start_share_its_replies(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    small: Any,  # noqa: ANN401
) -> None:
    """Two students from one seed are asked once, a teacher of another once, a given model never."""
    from stillage.audit.questions import Material
    from stillage.experiment.specs import ModelSpec
    from stillage.run.config import ModelConfig, TrainConfig

    start = ModelConfig(layers=1, width=16, heads=2, context=32)
    trained = {"train": TrainConfig(), "trained_on": "public"}
    specs: list[Any] = [
        ModelSpec(name="teacher", start=replace(start, width=32), **trained),
        ModelSpec(name="student", start=start, **trained),
        ModelSpec(name="student_no_teacher", start=start, **trained),
        ModelSpec(name="other", start=replace(start, path="given")),
    ]
    settings = context(tmp_path)
    settings.models = settings.specs = specs
    monkeypatch.setattr(ask, "tokenizer_of", lambda *_: small.tokenizer())
    records = tuple(replace(record, prompt="w1 w2", response="w3 w4") for record in RECORDS[:2])
    attacks = [ATTACKS["reference_init"]]
    said, keys = ask.initial_of(settings, attacks, Material(records=records))
    assert set(keys) == {"teacher", "student", "student_no_teacher"} and set(keys.values()) == set(
        said
    )
    assert keys["student"] == keys["student_no_teacher"] != keys["teacher"]
    assert all(set(replies.replies["as_is"]) == {"r0", "r1"} for replies in said.values())
    assert ask.initial_of(settings, [ATTACKS["loss"]], Material(records=records)) == ({}, {})
    said, keys = ask.initial_of(
        settings, [ATTACKS["reference_teacher_init"]], Material(records=records)
    )
    assert list(keys) == ["teacher"] and list(said) == [keys["teacher"]]
