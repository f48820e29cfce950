"""YAML and flags become the same typed Config, and a wrong one is explained in three lines."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stillage.errors import ConfigError
from stillage.run import parse
from stillage.run.config import Config, DataConfig, DistillConfig, TrainConfig, filled
from stillage.run.flags import from_flags


def test_defaults_survive_a_round_trip() -> None:
    config = Config(
        seed=7,
        data=DataConfig(columns={"prompt": "question: x", "response": "no"}, slice_by=("a", "b")),
    )
    assert parse.build(parse.from_yaml(parse.to_yaml(config), "x")) == config


@given(
    seed=st.integers(0, 2**31 - 1),
    lr=st.floats(1e-9, 10, allow_nan=False),
    name=st.text(st.characters(codec="utf-8", exclude_categories=["C"]), min_size=1).filter(
        lambda text: not text.startswith("-") and text.strip() not in ("", "null")
    ),
    strict=st.booleans(),
)
def test_any_values_survive_a_round_trip(seed: int, lr: float, name: str, strict: bool) -> None:
    config = Config(
        seed=seed, student_train=TrainConfig(lr_peak=lr), data=DataConfig(columns={"prompt": name})
    )
    config = dataclasses.replace(config, audit=dataclasses.replace(config.audit, strict=strict))
    assert parse.build(parse.from_yaml(parse.to_yaml(config), "x")) == config


def test_a_config_and_its_saved_form_have_one_hash() -> None:
    """Numbers too: epochs 10 in Python, 10.0 after YAML."""
    config = Config(
        seed=3,
        student_train=TrainConfig(epochs=10, lr_peak=1),
        distill=DistillConfig(init_epochs=2),
    )
    again = parse.build(parse.from_yaml(parse.to_yaml(config), "x"))
    assert json.dumps(parse.to_plain(again)) == json.dumps(parse.to_plain(config))
    assert json.dumps(parse.to_plain(parse.build({}))) == json.dumps(parse.to_plain(Config()))


def test_flags_override_yaml_and_tables_merge() -> None:
    flat = parse.from_yaml(
        "seed: 3\ndata: {columns: {prompt: q, response: a}}\naudit: {attacks: [loss, zlib]}", "x"
    )
    flat |= from_flags(
        [
            "--seed",
            "4",
            "--data.columns.response",
            "b",
            "--audit.no-counterfactual",
            "--audit.strict",
            "--method=sft",
        ]
    )
    config = parse.build(flat)
    assert config.seed == 4
    assert config.data.columns == {"prompt": "q", "response": "b"}
    assert config.audit.attacks == ("loss", "zlib")
    assert config.audit.strict and not config.audit.counterfactual
    assert config.distill.method == "sft"


def test_yaml_scalars_stay_text_until_a_field_asks() -> None:
    config = parse.build(
        parse.from_yaml("student_train: {lr_peak: 1e-5}\ndata: {columns: {prompt: no}}", "x")
    )
    assert config.student_train.lr_peak == 1e-5
    assert config.data.columns == {"prompt": "no"}


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("sead: 1", ["sead", "seed"]),
        ("student_train: {lrpeak: 1}", ["lrpeak", "student_train.lr_peak"]),
        ("data: {source: [[1]]}", ["data.source"]),
        ("a: !!python/object/apply:os.system [ls]", ["tag"]),
        ("seed: [", ["YAML"]),
        ("- 1", ["not a table"]),
        ("_target_: os.system", ["_target_"]),
    ],
)
def test_wrong_yaml_is_explained(text: str, words: list[str]) -> None:
    with pytest.raises(ConfigError) as caught:
        parse.build(parse.from_yaml(text, "x.yaml"))
    assert all(word in str(caught.value) for word in words)
    assert len(str(caught.value).splitlines()) <= 3


@pytest.mark.parametrize(
    "flags",
    [
        ["--seed", "abc"],
        ["--student-train.schedule", "cosin"],
        ["--seed", "1", "2"],
        ["--audit.strict", "maybe"],
        ["7"],
    ],
)
def test_wrong_values_are_explained(flags: list[str]) -> None:
    with pytest.raises(ConfigError) as caught:
        parse.build(from_flags(flags))
    assert len(str(caught.value).splitlines()) <= 3
    assert any(word.strip("-") in str(caught.value) for word in flags)


def test_difference_names_the_fields() -> None:
    lines = parse.changed_numbers(
        Config(), Config(seed=2, data=DataConfig(columns={"prompt": "x"}))
    )
    assert lines == ["seed: 1 -> 2", "data.columns: {} -> -", "data.columns.prompt: - -> x"]


def test_shares_mean_the_same_in_python_and_in_the_file_that_keeps_them() -> None:
    """What is not named keeps its usual share of what is left, whoever wrote it; a second reading changes nothing."""
    given = Config(data=DataConfig(shares={"private": 0.5, "test": 0.0}))
    assert (
        given.data.shares["public"] == pytest.approx(0.5 * 0.25 / 0.7)
        and given.data.shares["test"] == 0
    )
    assert parse.build(parse.from_yaml(parse.to_yaml(given), "config.yaml")) == given
    assert DataConfig(shares={"private": 1.0}).shares == {"private": 1.0}


def test_cases_of_a_sweep_keep_their_settings_as_json() -> None:
    text = "sweep: {seed: [1, 2], cases: {size: {small: {student: {width: 64}}, plain: }}}"
    flat = parse.from_yaml(text, "x")
    assert flat["sweep.seed"] == ["1", "2"] and flat["sweep.cases.size"] == ["small", "plain"]
    assert json.loads(flat["case.size.small"][0]) == {"student.width": ["64"]}
    assert json.loads(flat["case.size.plain"][0]) == {}


@pytest.mark.parametrize("cases", ["[a]", "{size: }", "{size: {}}", "text"])
def test_cases_of_another_shape_are_refused(cases: str) -> None:
    with pytest.raises(ConfigError, match=r"sweep.cases in x names no cases"):
        parse.from_yaml(f"sweep: {{cases: {cases}}}", "x")


def test_a_wrong_setting_of_a_case_names_the_case() -> None:
    with pytest.raises(ConfigError, match="case small"):
        parse.from_yaml("sweep: {cases: {size: {small: {studnt.width: 64}}}}", "x")


def test_null_empties_a_list_and_an_empty_group_sets_nothing() -> None:
    flat = parse.from_yaml("audit: {attacks: null}\ndata:\nstudent: {path: ''}", "x")
    assert flat == {"audit.attacks": [], "student.path": [""]}
    assert parse.build(flat).audit.attacks == ()


def test_shares_of_flags_leave_the_others_in_proportion() -> None:
    below = from_flags(["--data.shares", "private", "0.5", "public", "0.3", "test", "0.2"])
    on_top = from_flags(["--data.shares.private", "0.2"])
    flat = below | parse.shares_over(below, on_top)
    shares = parse.build(flat).data.shares
    assert shares["private"] == 0.2 and sum(shares.values()) == pytest.approx(1)
    assert shares["public"] / shares["test"] == pytest.approx(0.3 / 0.2)
    assert parse.shares_over({}, on_top) == on_top and parse.shares_over(below, {}) == {}


def test_settings_of_a_finished_run_are_read_even_where_this_version_has_none(
    tmp_path: Path,
) -> None:
    assert parse.written_settings(tmp_path) == {}
    (tmp_path / "config.yaml").write_text("seed: 1e3\nolder: {name: no}\n", encoding="utf-8")
    assert parse.written_settings(tmp_path) == {"seed": "1e3", "older": {"name": "no"}}
    (tmp_path / "config.yaml").write_text("- a\n", encoding="utf-8")
    assert parse.written_settings(tmp_path) == {}


def test_plain_values_are_json_and_flat_ones_have_dotted_names() -> None:
    plain = parse.to_plain(Config())
    assert json.loads(json.dumps(plain)) == plain
    leaves = parse.flat_values(plain)
    assert leaves["student.width"] == 128 and leaves["out"] == "runs/unnamed"
    assert leaves["data.files"] == {}, "an empty table is a leaf"
    whole = parse.to_plain(Config(student_train=TrainConfig(epochs=10)))
    assert isinstance(parse.flat_values(whole)["student_train.epochs"], float)


def test_what_a_continued_run_may_change_is_no_difference() -> None:
    old = Config()
    new = dataclasses.replace(
        old,
        out=Path("elsewhere"),
        jobs=4,
        track="wandb",
        report=dataclasses.replace(old.report, examples=3),
    )
    assert parse.changed_numbers(old, new) == []
    new = dataclasses.replace(new, data=DataConfig(files={"private": "a"}))
    assert parse.changed_numbers(old, new) == ["data.files: {} -> -", "data.files.private: - -> a"]


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ({}, {"a": 0.5, "b": 0.3, "c": 0.2}),
        ({"a": 0.0}, {"b": 0.6, "c": 0.4, "a": 0.0}),
        ({"a": 1.0}, {"a": 1.0}),
        ({"a": -1.0}, {"a": -1.0}),
        ({"a": 0.2, "b": 0.2, "c": 0.2}, {"a": 0.2, "b": 0.2, "c": 0.2}),
    ],
)
def test_shares_that_nobody_names_share_what_is_left(
    given: dict[str, float], expected: dict[str, float]
) -> None:
    usual = {"a": 0.5, "b": 0.3, "c": 0.2}
    assert filled(given, usual) == {name: pytest.approx(x) for name, x in expected.items()}
