"""Flags by their short names, and the two names of a part that an audit reads."""

from __future__ import annotations

import pytest

from stillage.errors import ConfigError
from stillage.run.flags import ALIASES, from_flags, setting_kinds, setting_path, to_args
from stillage.run.parse import build, from_yaml


@pytest.mark.parametrize("alias", ALIASES)
def test_a_short_name_sets_what_the_long_one_sets(alias: str) -> None:
    flag, long = (f"--{name.replace('_', '-')}" for name in (alias, ALIASES[alias]))
    assert from_flags([flag, "true"]) == from_flags([long, "true"]) != {}
    assert from_yaml(f"{alias}: true", "x") == from_yaml(f"{ALIASES[alias]}: true", "x")


def test_no_short_name_hides_a_setting() -> None:
    assert not set(ALIASES) & set(setting_kinds())


def test_members_are_the_private_records_in_every_spelling() -> None:
    config = build(from_flags(["--members", "a.jsonl", "--nonmembers", "b.jsonl"]))
    files = config.data.files
    assert files["private"] == "a.jsonl" and len(files) == 2
    for words in (
        ["--data.files.members", "a.jsonl", "--data.files.nonmembers=b.jsonl"],
        ["--data.files", "members", "a.jsonl", "nonmembers", "b.jsonl"],
    ):
        assert build(from_flags(words)).data.files == files
    text = "data: {files: {members: a.jsonl, nonmembers: b.jsonl}}"
    assert build(from_yaml(text, "x")).data.files == files


def test_two_names_of_one_part_are_refused() -> None:
    with pytest.raises(ConfigError, match=r"private and data\.files\.members are both"):
        from_yaml("data: {files: {private: a.jsonl, members: b.jsonl}}", "mine.yaml")
    with pytest.raises(ConfigError, match=r"--members and --data\.files\.private are both"):
        from_flags(["--members", "a", "--data.files.private", "b"])


def test_a_flag_given_again_wins_in_either_spelling() -> None:
    flags = ["--student-train.epochs", "1", "--student_train.epochs", "2", "--seed", "1"]
    assert from_flags([*flags, "--seed", "2"]) == {"student_train.epochs": ["2"], "seed": ["2"]}


def test_an_empty_group_in_a_file_sets_nothing() -> None:
    assert from_yaml("data:\nteacher:\nseed: 3", "x") == {"seed": ["3"]}


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        (["--data.peple", "3"], "Did you mean data.people"),
        (["--nonmember", "x"], "Did you mean nonmembers"),
        (["--data.files.outsiders", "x"], "Write data.files.nonmembers"),
        (["--data.shares", "outsiders", "0.2"], "Write data.shares.nonmembers"),
        (["--data.files", "private"], "names and values in turn"),
        (["--seed", "1", "2"], "takes one value"),
        (["seed"], "A value stands where a flag was expected"),
    ],
)
def test_a_wrong_flag_is_explained_in_three_lines(flags: list[str], said: str) -> None:
    with pytest.raises(ConfigError, match=said) as error:
        from_flags(flags)
    assert len(str(error.value).splitlines()) == 3


def test_a_flag_is_read_with_or_without_equals() -> None:
    same = from_flags(["--seed=3", "--data.slice-by", "a", "b", "--student.path=x y"])
    assert same == {"seed": ["3"], "data.slice_by": ["a", "b"], "student.path": ["x y"]}
    assert from_flags(["--data.slice-by"]) == {"data.slice_by": []}, "an empty list"


def test_switches_are_on_off_or_said() -> None:
    assert from_flags(["--audit.strict"]) == {"audit.strict": ["true"]}
    assert from_flags(["--audit.no-counterfactual"]) == {"audit.counterfactual": ["false"]}
    assert from_flags(["--audit.counterfactual", "False"]) == {"audit.counterfactual": ["False"]}
    assert from_flags(["--audit.no-teacher"]) == {"audit.no_teacher": ["true"]}, "that is its name"
    assert not build({"audit.counterfactual": ["False"]}).audit.counterfactual


def test_a_table_takes_names_and_values_in_turn_or_one_by_one() -> None:
    table = from_flags(["--data.columns", "prompt", "q", "response", "a"])
    assert table == from_flags(["--data.columns.prompt", "q", "--data.columns.response=a"])
    for words in ([], ["prompt"]):
        with pytest.raises(ConfigError, match="names and values in turn"):
            from_flags(["--data.columns", *words])


def test_a_sweep_takes_any_number_of_values() -> None:
    assert from_flags(["--sweep.seed", "1", "2"]) == {"sweep.seed": ["1", "2"]}
    assert from_flags(["--sweep.method", "kd", "gkd"]) == {"sweep.distill.method": ["kd", "gkd"]}
    with pytest.raises(ConfigError, match=r"Did you mean seed\?|sed"):
        from_flags(["--sweep.sed", "1"])


def test_arguments_for_tyro_are_those_of_the_settings_without_tables() -> None:
    flat = {
        "seed": ["3"],
        "audit.strict": ["TRUE"],
        "audit.counterfactual": ["false"],
        "data.slice_by": [],
        "data.columns.prompt": ["q"],
        "sweep.seed": ["1"],
    }
    assert to_args(flat) == [
        *("--seed", "3"),
        "--audit.strict",
        "--audit.no-counterfactual",
        "--data.slice-by",
    ]
    with pytest.raises(ConfigError, match="is a switch"):
        to_args({"audit.strict": ["perhaps"]})


def test_an_unknown_setting_names_the_nearest_or_those_of_its_group() -> None:
    known = setting_kinds()
    for path, said in (
        ("student.widht", "Did you mean student.width"),
        ("width", "Did you mean teacher.width or student.width"),
        ("lm.zzzzzzzzzzzz", "Known here: path, coef, batch_size, block_tokens."),
        ("qqqqqqqqqqqq", "Known here: audit, data, distill,"),
    ):
        with pytest.raises(ConfigError) as caught:
            setting_path(path, known, "x.yaml")
        assert said in caught.value.fix and "in x.yaml" in caught.value.what
    assert setting_path("data.columns.anything", known, "x") == "data.columns.anything"


def test_a_switch_turned_off_and_on_again_is_as_said_last() -> None:
    off, on = "--audit.no-counterfactual", "--audit.counterfactual"
    assert from_flags([off, on]) == {"audit.counterfactual": ["true"]}
    assert from_flags([on, off]) == {"audit.counterfactual": ["false"]}
