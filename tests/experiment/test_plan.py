"""The stages of a config: their order, their inputs, and what decides the key of each."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis.strategies import booleans, sampled_from, sets

from stillage import __version__
from stillage.errors import DataError, ModelError
from stillage.experiment.context import Context, make_context
from stillage.experiment.plan import keyed, plan
from stillage.run.config import (
    AuditConfig,
    Config,
    DistillConfig,
    GenerateConfig,
    LmConfig,
    ModelConfig,
    ReportConfig,
    TokenizerConfig,
    TrainConfig,
)
from stillage.run.stages import Stage, stage_keys
from stillage.run.stop import Stop

EVERY = ("distill", "evaluate", "audit")
SHADOWS = AuditConfig(shadows=2, attacks=("loss", "rmia"))
CONTROLS = ("teacher", "teacher_counterfactual", "student", "student_counterfactual")


def context_of(config: Config) -> Context:
    return make_context(config, Stop(), lambda *_: None)


def stages_of(config: Config) -> dict[str, Stage]:
    return {stage.name: stage for stage in plan(context_of(config))}


def changed(before: Config, after: Config) -> set[str]:
    """The stages whose key differs; those that only one has, too."""
    old, new = (stage_keys(plan(context_of(config))) for config in (before, after))
    return {name for name in {**old, **new} if old.get(name) != new.get(name)}


def test_the_stages_of_the_default_in_order() -> None:
    found = stages_of(Config())
    models = (*CONTROLS, "student_no_teacher")
    assert list(found) == ["data", "tokenizer", *models, "evaluate", "audit", "signal", "report"]
    assert found["data"].inputs == ()
    assert found["teacher"].inputs == ("data", "tokenizer")
    assert found["student"].inputs == ("data", "tokenizer", "teacher")
    assert found["student_counterfactual"].inputs == (
        "data",
        "tokenizer",
        "teacher_counterfactual",
    )
    assert found["student_no_teacher"].inputs == ("data", "tokenizer")
    assert found["evaluate"].inputs == found["audit"].inputs == ("data", "tokenizer", *models)
    assert found["signal"].inputs == (*found["audit"].inputs, "audit")


@settings(max_examples=40, deadline=None)
@given(
    method=sampled_from(["sft", "kd", "seqkd"]),
    wanted=sets(sampled_from(EVERY[1:])),
    starts=booleans(),
    shadows=booleans(),
    blocks=booleans(),
)
def test_every_stage_comes_after_its_inputs_and_the_report_reads_all(
    method: str, wanted: set[str], starts: bool, shadows: bool, blocks: bool
) -> None:
    config = Config(
        stages=tuple(name for name in EVERY if name == "distill" or name in wanted),
        distill=DistillConfig(method=method, init_epochs=float(starts)),
        audit=replace(SHADOWS if shadows else AuditConfig(), blocks=blocks),
    )
    stages = plan(context_of(config))
    names = [stage.name for stage in stages]
    assert len(set(names)) == len(names)
    for position, stage in enumerate(stages):
        assert set(stage.inputs) <= set(names[:position])
    assert names[-1] == "report" and list(stages[-1].inputs) == names[:-1]
    audits = "audit" in wanted
    assert ("audit" in names, "evaluate" in names) == (audits, "evaluate" in wanted)
    assert ("blocks" in names, "shadow_design" in names) == (audits and blocks, audits and shadows)
    assert ("student_init" in names) == starts


def test_a_run_without_training_has_no_tokenizer_of_its_own(tmp_path: Path) -> None:
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "config.json").write_text("{}")
    config = Config(
        stages=("evaluate",), student=ModelConfig(path=str(tmp_path / "model")), out=tmp_path
    )
    found = stages_of(config)
    assert list(found) == ["data", "evaluate", "report"]
    assert found["evaluate"].settings["given"].keys() == {"student"}
    assert [Path(path).name for path in found["evaluate"].outside] == ["config.json"]
    gone = ModelConfig(path=str(tmp_path / "gone"))
    with pytest.raises(ModelError, match="gone"):
        stages_of(replace(config, teacher=gone))


def test_shadows_are_planned_after_the_own_models_and_asked_by_the_audit_alone() -> None:
    found = stages_of(Config(audit=SHADOWS))
    shadows = [name for name in found if "shadow" in name]
    assert shadows == [
        "shadow_design",
        "teacher_shadow_01",
        "student_shadow_01",
        "teacher_shadow_02",
        "student_shadow_02",
    ]
    assert list(found).index("shadow_design") == list(found).index("evaluate") + 1
    assert set(shadows) <= set(found["audit"].inputs)
    assert not set(shadows) & {*found["evaluate"].inputs, *found["signal"].inputs}
    assert found["student_shadow_02"].inputs == ("data", "tokenizer", "teacher_shadow_02")
    assert found["teacher_shadow_02"].settings["shadow"] == 2
    assert "shadow" not in found["teacher"].settings


def test_more_shadows_later_keep_the_first_ones() -> None:
    more = changed(Config(audit=SHADOWS), Config(audit=replace(SHADOWS, shadows=4)))
    assert {"teacher_shadow_03", "student_shadow_04"} <= more
    assert not more & {"teacher_shadow_01", "student_shadow_02", "teacher", "evaluate"}


def test_a_measure_reads_its_settings_and_no_others() -> None:
    before = Config(audit=AuditConfig(blocks=True))
    assert changed(before, Config(audit=AuditConfig(blocks=True, block_records=7))) == {
        "blocks",
        "report",
    }
    assert changed(before, Config(audit=AuditConfig(blocks=True, signal_records=7))) == {
        "signal",
        "report",
    }
    more = changed(before, Config(audit=AuditConfig(blocks=True, max_records=7)))
    assert more == {"audit", "blocks", "signal", "report"}
    assert changed(before, Config(audit=AuditConfig(blocks=True, strict=True))) == set()


@pytest.mark.parametrize(
    ("after", "expected"),
    [
        (Config(jobs=2, threads=3), set()),
        (Config(out=Path("elsewhere")), set()),
        (Config(generate=GenerateConfig(records=5)), {"evaluate", "report"}),
        (Config(generate=GenerateConfig(batch_tokens=5)), set()),
        (Config(report=ReportConfig(examples=2)), {"report"}),
        (Config(audit=AuditConfig(attacks=("loss",))), {"audit", "signal", "report"}),
        (Config(audit=AuditConfig(batch_tokens=3)), set()),
        (
            Config(distill=DistillConfig(params={"divergence": "rkl"})),
            {"student", "student_counterfactual", "evaluate", "audit", "signal", "report"},
        ),
        (
            Config(student_train=TrainConfig(epochs=10, lr_peak=3e-3, checkpoint_every_s=1.0)),
            set(),
        ),
    ],
)
def test_a_setting_changes_the_stages_that_read_it(after: Config, expected: set[str]) -> None:
    assert changed(Config(), after) == expected


def test_a_new_tokenizer_or_seed_changes_all_that_is_trained() -> None:
    everything = set(stages_of(Config()))
    assert changed(Config(), Config(seed=2)) == everything
    tokenizer = Config(tokenizer=TokenizerConfig(vocab_size=99))
    assert changed(Config(), tokenizer) == everything - {"data"}


def test_a_corpus_decides_students_alone_by_its_content(tmp_path: Path) -> None:
    corpus = tmp_path / "corpus.txt"
    config = Config(lm=LmConfig(path=str(corpus)))
    with pytest.raises(DataError, match="plain-text corpus is missing") as caught:
        stages_of(config)
    assert str(corpus) in caught.value.values
    corpus.write_text("one")
    found = stages_of(config)
    reading = {name for name, stage in found.items() if "lm" in stage.settings}
    assert reading == {"student", "student_counterfactual", "student_no_teacher"}
    assert all(found[name].outside for name in reading) and not found["teacher"].outside
    before = stage_keys(list(found.values()))
    corpus.write_text("two")
    after = stage_keys(list(stages_of(config).values()))
    assert before["student"] != after["student"] and before["teacher"] == after["teacher"]


def test_a_cut_students_key_names_what_it_is_cut_from() -> None:
    found = stages_of(Config(student=ModelConfig(prune_teacher_to=1)))
    assert found["student"].settings["pruned"] == "teacher"
    assert "base" not in found["student"].settings and "pruned" not in found["teacher"].settings
    assert found["student_no_teacher"].settings["base"]["layers"] == 4
    assert found["student_no_teacher"].inputs == ("data", "tokenizer")


def test_a_start_is_an_input_and_no_teacher() -> None:
    found = stages_of(Config(distill=DistillConfig(init_epochs=1)))
    assert found["student"].inputs == ("data", "tokenizer", "teacher", "student_init")
    assert len(found["student"].settings["teacher"]) == 1
    assert found["student_no_teacher"].inputs == ("data", "tokenizer", "student_init")
    assert found["student_no_teacher"].settings["teacher"] == []
    assert found["student_init"].inputs == ("data", "tokenizer")


def test_a_given_teacher_is_no_stage_and_its_files_are_in_its_students_key(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text("{}")
    (tmp_path / "model.safetensors").write_text("w")
    teacher = ModelConfig(path=str(tmp_path))
    found = stages_of(Config(teacher=teacher, teacher_train=TrainConfig(epochs=0)))
    assert "teacher" not in found and found["student"].inputs == ("data", "tokenizer")
    names = {Path(path).name for path in found["student"].outside}
    assert names == {"config.json", "model.safetensors"}
    assert found["student_no_teacher"].outside == {}


def test_the_report_is_keyed_by_a_secret_of_its_run_unless_it_shows_texts(tmp_path: Path) -> None:
    config = Config(out=tmp_path)
    context = context_of(config)
    stages = plan(context)
    assert stages[-1].secret == "" and not (tmp_path / "report.key").exists()
    found = keyed(context, stages)
    assert [stage.name for stage in found] == [stage.name for stage in stages]
    assert found[:-1] == stages[:-1] and found[-1].inputs == stages[-1].inputs
    assert found[-1].secret == (tmp_path / "report.key").read_text().strip()
    assert plan(context)[-1].secret == found[-1].secret  # once it is there
    shown = context_of(replace(config, report=ReportConfig(show_text=True)))
    assert keyed(shown, plan(shown))[-1].secret == ""
    assert found[-1].settings["version"] == __version__


def test_no_key_is_made_for_stages_without_a_report(tmp_path: Path) -> None:
    context = context_of(Config(out=tmp_path))
    stages = plan(context)[:2]
    assert keyed(context, stages) == stages and not list(tmp_path.iterdir())
