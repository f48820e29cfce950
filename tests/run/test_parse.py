"""YAML and flags become the same typed Config, and a wrong one is explained in three lines."""

from __future__ import annotations

import dataclasses
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stillage.errors import ConfigError
from stillage.run import parse
from stillage.run.config import Config, DataConfig, DistillConfig, TrainConfig
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
    lines = parse.difference(Config(), Config(seed=2, data=DataConfig(columns={"prompt": "x"})))
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
