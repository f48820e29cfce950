"""Which models a config means, who teaches whom, and which records that needs."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis.strategies import booleans, sampled_from

from stillage.audit.attacks import ATTACKS
from stillage.distill.methods import METHODS
from stillage.distill.settings import params_from
from stillage.errors import ConfigError
from stillage.experiment.specs import (
    INIT,
    OUTSIDE,
    ModelSpec,
    check_files,
    if_any,
    missing_controls,
    model_specs,
    needed_parts,
    outside_specs,
    reads_corpus,
)
from stillage.run.config import (
    AuditConfig,
    Config,
    DataConfig,
    DistillConfig,
    LmConfig,
    ModelConfig,
    TrainConfig,
)


def parts_of(config: Config) -> dict[str, tuple[str, str]]:
    method = METHODS[config.distill.method]
    found = model_specs(config, method, method.params())
    return {spec.name: (spec.trained_on or "", spec.teacher) for spec in found}


def test_the_default_has_every_control() -> None:
    assert parts_of(Config()) == {
        "teacher": ("private", ""),
        "teacher_counterfactual": ("counterfactual", ""),
        "student": ("public", "teacher"),
        "student_counterfactual": ("public", "teacher_counterfactual"),
        "student_no_teacher": ("public", ""),
    }


def test_no_audit_needs_no_controls_and_no_nonmembers() -> None:
    config = Config(stages=("distill", "evaluate"))
    assert list(parts_of(config)) == ["teacher", "student"]
    method = METHODS["kd"]
    assert needed_parts(config, model_specs(config, method, method.params())) == (
        "private",
        "public",
        "test",
    )


def test_a_given_teacher_has_no_counterfactual_twin() -> None:
    config = Config(teacher=ModelConfig(path="t"), teacher_train=TrainConfig(epochs=0))
    assert parts_of(config) == {
        "teacher": ("", ""),
        "student": ("public", "teacher"),
        "student_no_teacher": ("public", ""),
    }


def test_without_a_teacher_the_student_is_its_own_control() -> None:
    config = Config(distill=DistillConfig(method="sft"))
    assert parts_of(config)["student"] == ("public", "") and "student_no_teacher" not in parts_of(
        config
    )


def test_an_audit_of_given_models_trains_nothing() -> None:
    config = Config(
        stages=("audit",), student=ModelConfig(path="s"), audit=AuditConfig(reference="r")
    )
    assert parts_of(config) == {"student": ("", ""), "outside_reference": ("", "")}


@pytest.mark.parametrize(
    "config",
    [
        Config(stages=("audit",)),
        Config(teacher_train=TrainConfig(epochs=0)),
        Config(student_train=TrainConfig(epochs=0)),
    ],
)
def test_noise_is_refused(config: Config) -> None:
    with pytest.raises(ConfigError):
        parts_of(config)


def test_files_without_counterfactual_records_leave_that_control_out_and_say_so() -> None:
    files = {"private": "a", "public": "b", "nonmembers": "c", "test": "d"}
    config = Config(data=DataConfig(files=files))
    method = METHODS["kd"]
    specs = model_specs(config, method, method.params())
    assert [spec.name for spec in specs] == ["teacher", "student", "student_no_teacher"]
    assert "data.files names no counterfactual records" in " ".join(missing_controls(config, specs))
    check_files(config, specs)
    everything = Config(data=DataConfig(files={**files, "counterfactual": "e"}))
    specs = model_specs(everything, method, method.params())
    assert "teacher_counterfactual" in [spec.name for spec in specs]
    assert missing_controls(everything, specs) == []


def test_a_role_without_a_file_is_refused_before_anything_is_read() -> None:
    config = Config(data=DataConfig(files={"private": "a", "public": "b", "test": "d"}))
    method = METHODS["kd"]
    with pytest.raises(ConfigError, match="No file is named for nonmembers"):
        check_files(config, model_specs(config, method, method.params()))


def test_the_common_start_and_the_teachers_are_no_students() -> None:
    config = Config(distill=DistillConfig(init_epochs=1.0), student_train=TrainConfig(epochs=1))
    method = METHODS[config.distill.method]
    found = {spec.name: spec.is_student for spec in model_specs(config, method, method.params())}
    assert INIT in found
    assert {name for name, is_student in found.items() if is_student} == {
        "student",
        "student_counterfactual",
        "student_no_teacher",
    }


GIVEN = ModelConfig(path="given")
UNTRAINED = TrainConfig(epochs=0)
PRUNED = ModelConfig(prune_teacher_to=1)
EVERY = ("distill", "evaluate", "audit")


def specs_of(config: Config) -> list[ModelSpec]:
    method = METHODS[config.distill.method]
    return model_specs(config, method, params_from(method, config.distill.params))


def expected_names(config: Config) -> list[str]:
    """The names of the models, written down from the documentation of each setting."""
    teaches = config.distill.method != "sft"
    pruned = config.student.prune_teacher_to > 0
    audits = "audit" in config.stages
    trained = config.teacher_train.epochs > 0
    twin = audits and config.audit.counterfactual and trained and (teaches or pruned)
    control = audits and config.audit.no_teacher and (teaches or pruned) and (trained or not pruned)
    found = ["teacher"] * (teaches or pruned or audits) + ["teacher_counterfactual"] * twin
    found += ["student_init"] * (config.distill.init_epochs > 0) + ["student"]
    found += ["student_counterfactual"] * twin + ["student_minimal"] * config.distill.minimal
    return found + ["student_no_teacher"] * control


@settings(max_examples=60, deadline=None)
@given(
    method=sampled_from(["sft", "kd", "gkd", "seqkd"]),
    audits=booleans(),
    counterfactual=booleans(),
    no_teacher=booleans(),
    start=sampled_from(["scratch", "pruned", "given", "init"]),
    teacher_is_given=booleans(),
)
def test_every_combination_has_the_models_that_its_settings_name(
    method: str,
    audits: bool,
    counterfactual: bool,
    no_teacher: bool,
    start: str,
    teacher_is_given: bool,
) -> None:
    config = Config(
        stages=EVERY if audits else EVERY[:2],
        data=DataConfig(needed_until="\n"),
        teacher=GIVEN if teacher_is_given else ModelConfig(),
        teacher_train=UNTRAINED if teacher_is_given else TrainConfig(),
        student={"pruned": PRUNED, "given": GIVEN}.get(start, ModelConfig()),
        distill=DistillConfig(
            method=method, init_epochs=float(start == "init"), minimal=method == "seqkd"
        ),
        audit=AuditConfig(counterfactual=counterfactual, no_teacher=no_teacher),
    )
    specs = specs_of(config)
    names = [spec.name for spec in specs]
    assert names == expected_names(config)
    for position, spec in enumerate(specs):
        for other in (spec.teacher, spec.pruned_from, spec.starts_from):
            assert not other or other in names[:position]
        assert (spec.trained_on is not None) == spec.is_trained
        assert spec.is_trained or spec.start.source
        private = {"private", "counterfactual"} & {spec.trained_on}
        assert bool(private) == (spec.is_trained and spec.name.startswith("teacher"))


def test_a_student_cut_from_its_teacher_and_its_control() -> None:
    """The control is cut from a teacher before anybody has trained that."""
    config = Config(student=PRUNED, teacher=ModelConfig(layers=3))
    by_name = {spec.name: spec for spec in specs_of(config)}
    assert by_name["student"].pruned_from == "teacher"
    assert by_name["student_counterfactual"].pruned_from == "teacher_counterfactual"
    assert by_name["student_no_teacher"].pruned_from == ""
    assert by_name["student_no_teacher"].base == config.teacher
    assert by_name["student"].base is None


def test_a_student_without_a_teacher_may_still_be_cut_from_one() -> None:
    config = Config(student=PRUNED, distill=DistillConfig(method="sft"))
    student = next(spec for spec in specs_of(config) if spec.name == "student")
    assert (student.teacher, student.pruned_from) == ("", "teacher")


def test_one_cut_from_a_given_teacher_has_no_control_and_that_is_said() -> None:
    config = Config(student=PRUNED, teacher=GIVEN, teacher_train=UNTRAINED)
    said = missing_controls(config, specs_of(config))
    assert len(said) == 1 and "one cut from a given teacher carries what that one saw" in said[0]
    unasked = replace(config, audit=AuditConfig(no_teacher=False))
    assert missing_controls(unasked, specs_of(unasked)) == []
    unaudited = replace(config, stages=EVERY[:2])
    assert missing_controls(unaudited, specs_of(unaudited)) == []


def test_a_student_that_is_given_and_not_trained_is_the_last_model() -> None:
    config = Config(student=GIVEN, student_train=UNTRAINED)
    student = specs_of(config)[-1]
    assert student == ModelSpec(name="student", start=GIVEN)
    assert (
        not student.is_trained and ModelSpec(name="s", start=GIVEN, train=TrainConfig()).is_trained
    )


def test_the_minimal_student_stops_where_the_needed_part_ends() -> None:
    distill = DistillConfig(method="seqkd", params={"max_new_tokens": "9"}, minimal=True)
    config = Config(data=DataConfig(needed_until="\nWhy:"), distill=distill)
    by_name = {spec.name: spec for spec in specs_of(config)}
    assert dict(by_name["student_minimal"].params) == {
        "max_new_tokens": "9",
        "stop_after": "\nWhy:",
    }
    assert dict(by_name["student"].params) == {"max_new_tokens": "9"}
    assert by_name["student_minimal"].teacher == "teacher"


def test_a_fine_tuned_start_is_that_of_the_lowest_loss_whatever_the_student_does() -> None:
    """Limits in steps and tokens are the student's: its start is trained for its epochs."""
    train = TrainConfig(max_steps=7, max_trained_tokens=99, keep="last")
    config = Config(distill=DistillConfig(init_epochs=1.5), student_train=train)
    specs = specs_of(config)
    initial = next(spec for spec in specs if spec.name == "student_init")
    assert initial.train == replace(train, max_steps=0, max_trained_tokens=0, keep="best")
    assert (initial.method, initial.params) == ("init", (("epochs", "1.5"),))
    starts = {spec.name: spec.starts_from for spec in specs}
    assert [name for name, start in starts.items() if start == "student_init"] == [
        "student",
        "student_counterfactual",
        "student_no_teacher",
    ]


REFUSED = {
    "minimal without distill": (
        Config(stages=("audit",), student=GIVEN, distill=DistillConfig(minimal=True)),
        "no student is",
    ),
    "minimal untrained": (
        Config(student=GIVEN, student_train=UNTRAINED, distill=DistillConfig(minimal=True)),
        "no student is",
    ),
    "minimal without an end": (
        Config(distill=DistillConfig(method="seqkd", minimal=True)),
        "only for what is needed",
    ),
    "minimal by kd": (
        Config(data=DataConfig(needed_until="x"), distill=DistillConfig(minimal=True)),
        "only for what is needed",
    ),
    "minimal that stops elsewhere": (
        Config(
            data=DataConfig(needed_until="x"),
            distill=DistillConfig(method="seqkd", params={"stop_after": "y"}, minimal=True),
        ),
        "only for what is needed",
    ),
    "negative start": (Config(distill=DistillConfig(init_epochs=-1)), "cannot be fine-tuned"),
    "start of an adapter": (
        Config(student=ModelConfig(lora_rank=2), distill=DistillConfig(init_epochs=1)),
        "cannot be fine-tuned",
    ),
    "start of a cut student": (
        Config(student=PRUNED, distill=DistillConfig(init_epochs=1)),
        "cannot be fine-tuned",
    ),
    "start without validation": (
        Config(student_train=TrainConfig(validate_every=0), distill=DistillConfig(init_epochs=1)),
        "nothing is validated",
    ),
    "a reference alone": (
        Config(stages=("audit",), audit=AuditConfig(reference="r")),
        "no model to look at",
    ),
    "a teacher of noise": (Config(teacher_train=UNTRAINED), "teacher is neither given nor trained"),
    "a student of noise": (Config(student_train=UNTRAINED), "student is neither given nor trained"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_cannot_be_is_refused_in_three_lines(name: str) -> None:
    config, words = REFUSED[name]
    with pytest.raises(ConfigError, match=words) as caught:
        specs_of(config)
    assert len(str(caught.value).splitlines()) == 3


def test_training_is_asked_for_by_any_of_its_three_limits() -> None:
    assert if_any(UNTRAINED) is None
    assert if_any(TrainConfig(epochs=0, max_steps=1))
    assert if_any(TrainConfig(epochs=0, max_trained_tokens=1))
    assert if_any(TrainConfig(epochs=0.1))


def test_a_reference_beside_a_training_is_a_model_only_where_an_attack_asks_it() -> None:
    config = Config(audit=AuditConfig(reference="r", reference_revision="a" * 40))
    specs = specs_of(config)
    outside = [ATTACKS["reference_outside"]]
    (found,) = outside_specs(specs, config, outside)
    assert found.name == OUTSIDE and not found.is_trained
    assert (found.start.path, found.start.revision) == ("r", "a" * 40)
    with pytest.raises(ConfigError, match=r"given as audit\.reference"):
        outside_specs(specs, config, [ATTACKS["reference"]])  # asks the student without a teacher
    alone = [spec for spec in specs if spec.name != "student_no_teacher"]
    assert outside_specs(alone, config, [ATTACKS["reference"]]) == [found]
    assert outside_specs(specs, Config(), outside) == []
    assert outside_specs(specs, replace(config, stages=("audit",)), outside) == []


def test_the_parts_that_a_run_needs() -> None:
    audit = Config(stages=("audit",), student=GIVEN)
    assert needed_parts(audit, specs_of(audit)) == ("private", "nonmembers")
    evaluate = Config(stages=("evaluate",), student=GIVEN)
    assert needed_parts(evaluate, specs_of(evaluate)) == ("test",)
    both = Config(distill=DistillConfig(method="sft"))
    assert set(needed_parts(both, specs_of(both))) == {"private", "public", "test", "nonmembers"}
    assert "counterfactual" in needed_parts(Config(), specs_of(Config()))


def test_files_are_not_asked_for_where_records_are_chosen_for_each_model() -> None:
    files = {"private": "a", "public": "b"}
    config = Config(data=DataConfig(files=files))
    with pytest.raises(ConfigError, match="No file is named for") as caught:
        check_files(config, specs_of(config))
    assert "test" in caught.value.what and "--data.files." in caught.value.fix
    chosen = replace(config, data=DataConfig(files=files, train_on={"teacher": "private"}))
    check_files(chosen, specs_of(chosen))
    check_files(Config(), specs_of(Config()))


def test_students_read_the_corpus_and_teachers_do_not() -> None:
    config = Config(lm=LmConfig(path="corpus.txt"))
    reading = {spec.name for spec in specs_of(config) if reads_corpus(config, spec)}
    assert reading == {"student", "student_counterfactual", "student_no_teacher"}
    assert not any(reads_corpus(Config(), spec) for spec in specs_of(Config()))
