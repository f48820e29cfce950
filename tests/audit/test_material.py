"""What the attacks ask with: their settings, other texts and weights, and why some cannot be."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from stillage.audit.attack_settings import attacks_of
from stillage.audit.attacks import ATTACKS
from stillage.audit.audit_records import AuditRecords, choose_records
from stillage.audit.duplicates import Sides
from stillage.audit.given import AuditModel, AuditModels, AuditSettings
from stillage.audit.material import gather_material
from stillage.audit.partners import ask_starts
from stillage.audit.prefix import Prefixes
from stillage.audit.queries import Material
from stillage.data.split import Split
from stillage.errors import ModelError
from stillage.run.audit_config import AuditConfig
from stillage.run.config import ModelConfig
from stillage.types import Part, Record, Result

RECORDS = [
    Record(id=f"r{k}", prompt="Where?", response=f"In the {a} garden.")
    for k, a in enumerate(["red", "old"] * 6)
]
NONE = Prefixes(nonmembers=(), members=(), kept=())


def settings_of(cache: Path, **audit: Any) -> AuditSettings:  # noqa: ANN401 - of many kinds
    base = Result(run="", stage="audit", model="", metric="", value=0.0)
    return AuditSettings(audit=AuditConfig(**audit), base=base, cache=cache)


def chosen(public: list[Record]) -> AuditRecords:
    records = {"public": public}
    return AuditRecords(
        sides=Sides(split=Split(records_by_part=records, drawn_by_us=True, seed=1)),  # pyright: ignore[reportArgumentType]
        left={},
        records=tuple(RECORDS),
        parts=("private",) * 6 + ("nonmembers",) * 6,
        prefixes=NONE,
    )


def test_without_public_records_and_masked_model_the_reasons_are_given(
    tmp_path: Path,
) -> None:
    attacks = [ATTACKS[name] for name in ("neighbour", "dc_pdd", "recall", "con_recall", "mope")]
    missing = gather_material(attacks, chosen([]), [], settings_of(tmp_path)).missing
    assert set(missing) == {"neighbours", "frequency", "nonmember_prefix", "member_prefix"}
    assert (
        "no masked model" in missing["neighbours"] and "no public records" in missing["frequency"]
    )
    loss = [ATTACKS["loss"]]
    assert not gather_material(loss, chosen([]), [], settings_of(tmp_path)).missing


def test_a_masked_model_that_is_given_and_not_there_is_an_error(
    tmp_path: Path,
) -> None:
    settings = settings_of(tmp_path, masked_model="./nowhere")
    with pytest.raises(ModelError, match="no folder"):
        gather_material([ATTACKS["neighbour"]], chosen(RECORDS), [], settings)


def test_a_given_masked_model_makes_the_neighbours(tmp_path: Path) -> None:
    from stillage.models.masked_train import small_masked

    small_masked([record.response for record in RECORDS], 1, tmp_path / "made", steps=2)
    folder = next((tmp_path / "made").iterdir())
    settings = settings_of(tmp_path, masked_model=str(folder), neighbours=3)
    material = gather_material([ATTACKS["neighbour"]], chosen([]), [], settings)
    assert not material.missing and [len(texts) for texts in material.neighbours] == [3] * len(
        RECORDS
    )


def test_only_attacks_that_need_prefixes_take_records_away(
    caplog: pytest.LogCaptureFixture,
) -> None:
    halves: dict[Part, list[Record]] = {"private": RECORDS[:6], "nonmembers": RECORDS[6:]}
    split = Split(records_by_part=halves, drawn_by_us=True, seed=1, inclusion="bernoulli")
    audit = AuditConfig(prefix_records=1)
    with caplog.at_level(logging.INFO):
        for name, nonmembers, members in (("loss", 0, 0), ("recall", 1, 0), ("con_recall", 1, 1)):
            found = choose_records(split, [ATTACKS[name]], audit, 1, learns_public=False).prefixes
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
    noise = settings_of(Path(), mope_noise="absolute", mope_sigma=0.01, mope_copies=3).noise
    assert (noise.relative, noise.sigma, noise.copies) == (False, 0.01, 3)


def test_progress_is_told_with_its_stage_and_model(tmp_path: Path) -> None:
    told: list[tuple[str, Mapping[str, Any]]] = []
    settings = replace(
        settings_of(tmp_path), progress=lambda stage, facts: told.append((stage, facts))
    )
    settings.doing("student")("scoring {} records")(1, 2, 0.0)
    facts = {"model": "student", "doing": "scoring {} records", "done": 1, "of": 2}
    assert told == [("audit", facts)]


def test_models_of_one_start_share_its_replies(tmp_path: Path, small: Any) -> None:  # noqa: ANN401
    """Two students from one seed are asked once, a teacher of another once, a given model never."""
    student, teacher = small.model(1), small.model(2)

    def model(name: str, start: Any) -> AuditModel:  # noqa: ANN401
        return AuditModel(
            name=name,
            source=ModelConfig(),
            load_tokenizer=small.tokenizer,
            is_trained=start is not None,
            load_start=None if start is None else lambda: start,
        )

    models = AuditModels(
        audited=(
            model("teacher", teacher),
            model("student", student),
            model("student_no_teacher", student),
            model("other", None),
        )
    )
    records = tuple(replace(record, prompt="w1 w2", response="w3 w4") for record in RECORDS[:2])
    settings = settings_of(tmp_path)
    material = Material(records=records)
    said, keys = ask_starts(models, [ATTACKS["reference_init"]], material, settings)
    assert set(keys) == {"teacher", "student", "student_no_teacher"}
    assert set(keys.values()) == set(said)
    assert keys["student"] == keys["student_no_teacher"] != keys["teacher"]
    assert all(set(replies.replies["as_is"]) == {"r0", "r1"} for replies in said.values())
    assert ask_starts(models, [ATTACKS["loss"]], material, settings) == ({}, {})
    of_teacher = [ATTACKS["reference_teacher_init"]]
    said, keys = ask_starts(models, of_teacher, material, settings)
    assert list(keys) == ["teacher"] and list(said) == [keys["teacher"]]
