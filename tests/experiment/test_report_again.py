"""What `report` refuses, and which stages it takes for those of the run."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from stillage import __version__
from stillage.errors import ConfigError, DataError
from stillage.experiment.context import Context, make_context
from stillage.experiment.plan import plan
from stillage.experiment.report_again import (
    check_finished,
    check_same_stages,
    report_again,
    run_command,
    stage_names,
)
from stillage.plugins.plugin import load
from stillage.run.config import Config, DataConfig, GenerateConfig, ReportConfig
from stillage.run.folder import remove, write_json
from stillage.run.lock import locked
from stillage.run.parse import to_yaml
from stillage.run.stages import MANIFEST, STARTED, Stage, run_stage, stage_keys
from stillage.run.stop import Stop

STAGES = ("distill", "evaluate")


def context_of(config: Config) -> Context:
    return make_context(config, Stop(), lambda *_: None)


def writes(folder: Path) -> None:
    (folder / "made").write_text(folder.name)


def finished(config: Config) -> Context:
    """A run whose every stage but the report has its key and a file."""
    context = context_of(config)
    config.out.mkdir(parents=True)
    (config.out / "config.yaml").write_text(to_yaml(config))
    stages: list[Stage] = plan(context)
    keys = stage_keys(stages)
    for stage in stages[:-1]:
        run_stage(config.out / stage.name, replace(stage, work=writes), keys[stage.name])
    return context


def report_of(run: Path, version: str, inputs: list[str]) -> None:
    write_json(run / "report" / MANIFEST, {"settings": {"version": version}, "inputs": inputs})


def test_a_folder_without_a_run_has_nothing_to_report(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no run in") as caught:
        check_same_stages(context_of(Config(out=tmp_path)))
    assert "config.yaml" in caught.value.values and "stillage run" in caught.value.fix
    with pytest.raises(DataError, match="no run in"):
        report_again(context_of(Config(out=tmp_path)), lambda _: None, only_say=True)
    assert list(tmp_path.iterdir()) == []


def test_settings_of_another_run_are_refused_and_those_of_the_page_are_not(tmp_path: Path) -> None:
    config = Config(out=tmp_path / "run", stages=STAGES)
    finished(config)
    check_same_stages(context_of(config))
    check_same_stages(context_of(replace(config, report=ReportConfig(examples=1), jobs=2)))
    with pytest.raises(ConfigError, match="other settings") as caught:
        check_same_stages(context_of(replace(config, generate=GenerateConfig(records=1))))
    assert "generate.records" in caught.value.values
    assert f"stillage run {config.out}" in caught.value.fix


def test_a_finished_run_is_said_and_not_written_in_a_dry_run(tmp_path: Path) -> None:
    context = finished(Config(out=tmp_path / "run", stages=STAGES))
    said: list[str] = []
    before = sorted(context.run.rglob("*"))
    report_again(context, said.append, only_say=True)
    assert said == ["report: not done yet"] and sorted(context.run.rglob("*")) == before


def test_a_live_process_keeps_its_run(tmp_path: Path) -> None:
    context = finished(Config(out=tmp_path / "run", stages=STAGES))
    with locked(context.run), pytest.raises(ConfigError, match="in use by a live process"):
        report_again(context, lambda _: None, only_say=True)


def test_every_stage_that_is_missing_is_named_with_the_command_that_does_it(tmp_path: Path) -> None:
    context = finished(Config(out=tmp_path / "run", stages=STAGES))
    remove(context.run / "student")
    (context.run / "evaluate" / "made").write_text("changed")
    with pytest.raises(DataError, match="not finished") as caught:
        report_again(context, lambda _: None, only_say=True)
    assert caught.value.values.startswith("student: not done yet; evaluate: damaged")
    assert caught.value.fix.endswith(run_command(context))
    check_finished(context, ["data", "teacher"])


def test_the_stages_are_those_of_the_plan(tmp_path: Path) -> None:
    context = finished(Config(out=tmp_path / "run", stages=STAGES))
    planned = [stage.name for stage in plan(context)][:-1]
    assert stage_names(context) == planned
    report_of(context.run, __version__, ["data"])
    assert stage_names(context) == planned


def test_of_another_version_they_are_those_it_reported_and_those_begun_since(
    tmp_path: Path,
) -> None:
    context = finished(Config(out=tmp_path / "run", stages=STAGES))
    report_of(context.run, "0.0.1", ["data", "old_stage"])
    write_json(context.run / "teacher" / STARTED, {"key": "k"})
    assert stage_names(context) == ["data", "old_stage", "teacher"]


def test_where_the_plan_cannot_be_made_any_more_the_reported_stages_count(tmp_path: Path) -> None:
    config = Config(out=tmp_path / "run", data=DataConfig(source=str(tmp_path / "gone.jsonl")))
    context = context_of(config)
    context.run.mkdir()
    with pytest.raises(DataError, match="data file is missing"):
        stage_names(context)
    report_of(context.run, __version__, ["data", "student"])
    assert stage_names(context) == ["data", "student"]


def test_the_command_can_be_typed_as_it_stands(tmp_path: Path) -> None:
    (tmp_path / "my plugin.py").write_text("METHODS = {}\n")
    plugin = load(tmp_path / "my plugin.py")
    context = replace(context_of(Config(out=tmp_path / "a run")), plugins=(plugin,))
    assert run_command(context) == (
        f"stillage run '{tmp_path}/a run' --plugin '{tmp_path}/my plugin.py'"
    )
