"""A run folder before anything is done in it: whose it is, and what would be done over."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from stillage.errors import ConfigError, DataError
from stillage.experiment.context import Context, make_context
from stillage.experiment.folders import (
    check_folder,
    check_whole,
    done_over,
    earlier_config,
    is_whole,
    took_a_model,
)
from stillage.experiment.plan import plan
from stillage.run.config import Config, DataConfig, GenerateConfig, ModelConfig, ReportConfig
from stillage.run.folder import write_json
from stillage.run.parse import to_yaml
from stillage.run.stages import MANIFEST, STARTED, stage_keys
from stillage.run.stop import Stop


def context_of(config: Config) -> Context:
    return make_context(config, Stop(), lambda *_: None)


def begun(config: Config, *names: str, sealed: bool = True) -> Context:
    """A run folder with its config, in which the named stages are finished (or begun)."""
    context = context_of(config)
    config.out.mkdir(parents=True, exist_ok=True)
    (config.out / "config.yaml").write_text(to_yaml(config))
    keys = stage_keys(plan(context))
    for name in names:
        write_json(config.out / name / (MANIFEST if sealed else STARTED), {"key": keys[name]})
    return context


def again(before: Config, after: Config) -> list[str]:
    context = context_of(after)
    return [stage.name for stage in done_over(context, plan(context), before)]


def test_the_earlier_config_is_that_of_the_folder(tmp_path: Path) -> None:
    assert earlier_config(tmp_path) is None
    config = Config(out=tmp_path, seed=4, generate=GenerateConfig(records=3))
    begun(config)
    assert earlier_config(tmp_path) == config


@pytest.mark.parametrize("names", [(), (".lock",), (".lock", "inputs"), ("config.yaml", "notes")])
def test_a_new_folder_or_a_run_is_ours(tmp_path: Path, names: tuple[str, ...]) -> None:
    for name in names:
        (tmp_path / name).touch()
    context = context_of(Config(out=tmp_path))
    check_whole(context)
    assert is_whole(context)
    check_whole(context_of(Config(out=tmp_path / "new")))


def test_a_folder_with_other_files_is_refused_and_they_are_named(tmp_path: Path) -> None:
    for name in ("f", "e", "d", "c", "b", "a"):
        (tmp_path / name).touch()
    context = context_of(Config(out=tmp_path))
    with pytest.raises(ConfigError, match="no run of ours") as caught:
        check_whole(context)
    assert caught.value.values == "found: a, b, c, d, e" and "--out" in caught.value.fix
    assert not is_whole(context)
    with pytest.raises(ConfigError, match="no run of ours"):
        check_folder(context, plan(context), accept_changes=True)


def test_a_point_is_whole_with_its_store_or_where_it_is_told_one(tmp_path: Path) -> None:
    point = tmp_path / "seed=1"
    context = begun(Config(out=point))
    (point / "data").symlink_to(tmp_path / "store" / f"data-{'0' * 16}")
    with pytest.raises(DataError, match="one point of a sweep"):
        check_whole(context)
    assert not is_whole(context)
    assert is_whole(replace(context, store=tmp_path / "store"))
    (tmp_path / "store").mkdir()
    assert is_whole(context)


def test_what_counts_as_a_model(tmp_path: Path) -> None:
    assert not took_a_model(tmp_path)
    for name in ("data", "tokenizer"):
        write_json(tmp_path / name / MANIFEST, {})
    write_json(tmp_path / "teacher" / STARTED, {})
    assert not took_a_model(tmp_path)
    checkpoint = tmp_path / "teacher" / "checkpoints" / "step-1"
    checkpoint.mkdir(parents=True)
    assert took_a_model(tmp_path)
    checkpoint.rmdir()
    assert not took_a_model(tmp_path)
    write_json(tmp_path / "evaluate" / MANIFEST, {})
    assert took_a_model(tmp_path)


def test_stages_that_a_change_does_over_are_those_that_were_begun_and_read_it(
    tmp_path: Path,
) -> None:
    before = Config(out=tmp_path)
    begun(before, "data", "tokenizer", "teacher", "evaluate", "report")
    assert again(before, before) == []
    assert again(before, replace(before, generate=GenerateConfig(records=3))) == ["evaluate"]
    assert again(before, replace(before, report=ReportConfig(examples=3))) == []
    assert again(before, replace(before, student=ModelConfig(layers=1, width=128, heads=4))) == [
        "evaluate"
    ]
    every = ["data", "tokenizer", "teacher", "evaluate"]
    assert again(before, replace(before, seed=2)) == every
    assert again(before, replace(before, jobs=2)) == []


def test_a_stage_that_is_only_begun_counts_as_well(tmp_path: Path) -> None:
    before = Config(out=tmp_path)
    begun(before, "teacher", sealed=False)
    assert again(before, replace(before, seed=2)) == ["teacher"]


def test_a_stage_that_another_version_made_is_not_the_settings_fault(tmp_path: Path) -> None:
    """Its key is of no config at all: the change of a setting that it does not read is none of it."""
    before = Config(out=tmp_path)
    begun(before)
    write_json(tmp_path / "teacher" / MANIFEST, {"key": "0" * 64})
    assert again(before, replace(before, generate=GenerateConfig(records=3))) == []
    assert again(before, replace(before, seed=2)) == ["teacher"]


def test_where_the_earlier_records_are_gone_nothing_of_them_can_be_kept(tmp_path: Path) -> None:
    source = tmp_path / "records.jsonl"
    source.write_text('{"prompt": "a", "response": "b"}\n')
    before = Config(out=tmp_path / "run", data=DataConfig(source=str(source)))
    begun(before, "data", "teacher")
    source.unlink()
    assert again(before, Config(out=tmp_path / "run")) == ["data", "teacher"]


def test_other_settings_are_refused_with_the_difference_unless_accepted(tmp_path: Path) -> None:
    before = Config(out=tmp_path)
    begun(before, "data", "teacher", "evaluate")
    after = context_of(replace(before, generate=GenerateConfig(records=3)))
    with pytest.raises(ConfigError, match="other settings") as caught:
        check_folder(after, plan(after), accept_changes=False)
    assert "generate.records" in caught.value.values and "3" in caught.value.values
    assert "do these again: evaluate " in caught.value.fix
    check_folder(after, plan(after), accept_changes=True)
    same = context_of(before)
    check_folder(same, plan(same), accept_changes=False)


def test_a_folder_without_a_model_is_done_over_with_a_notice(tmp_path: Path) -> None:
    before = Config(out=tmp_path)
    begun(before, "data", "tokenizer")
    same, after = context_of(before), context_of(replace(before, seed=2))
    assert check_folder(same, plan(same), accept_changes=False) == ""
    for accepts in (False, True):
        assert check_folder(after, plan(after), accept_changes=accepts) == "seed: 1 -> 2"
    write_json(tmp_path / "teacher" / MANIFEST, {"key": "0" * 64})
    assert check_folder(after, plan(after), accept_changes=True) == ""


def test_a_check_writes_nothing(tmp_path: Path) -> None:
    context = context_of(Config(out=tmp_path / "run"))
    check_folder(context, plan(context), accept_changes=False)
    assert list(tmp_path.iterdir()) == []
