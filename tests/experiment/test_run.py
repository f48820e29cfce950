"""What a run does before, between and after its stages; the stages here do a line of work each."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from stillage.errors import ConfigError, DataError, Interrupted
from stillage.experiment.context import Context, make_context
from stillage.experiment.plan import plan
from stillage.experiment.run import (
    check_folders,
    describe_plan,
    do_stage,
    do_stages,
    drop_empty_run,
    needed_for,
    plans_of,
    record_environment,
    run_experiments,
    scheduled,
)
from stillage.plugins.plugin import load
from stillage.run.config import AuditConfig, Config, DataConfig, GenerateConfig
from stillage.run.folder import read_json, write_json
from stillage.run.lock import locked
from stillage.run.parse import to_yaml
from stillage.run.stages import MANIFEST, Stage, read_manifest, recorded_key, stage_keys
from stillage.run.stop import Stop

Work = Callable[[Path], None]


def context_of(out: Path, store: Path | None = None, **settings: object) -> Context:
    config = Config(out=out, **settings)  # pyright: ignore[reportArgumentType]
    return make_context(config, Stop(), lambda *_: None, store)


def chain(work: Work, settings: dict[str, object] | None = None) -> list[Stage]:
    """Three stages, each made from the one before; the settings are those of the second."""
    names = ("data", "teacher", "student")
    return [
        Stage(
            name=name,
            settings=(settings or {}) if name == "teacher" else {},
            work=work,
            inputs=names[max(0, position - 1) : position],
        )
        for position, name in enumerate(names)
    ]


def writes(log: list[str]) -> Work:
    """Work that leaves a file, and its name in the log."""

    def work(folder: Path) -> None:
        log.append(folder.name)
        (folder / "made").write_text(folder.name)

    return work


def fails(name: str, error: Exception) -> Work:
    """Work that fails in one stage, and leaves a file in the others."""

    def work(folder: Path) -> None:
        if folder.name.startswith(name):
            raise error
        (folder / "made").touch()

    return work


def test_stages_are_done_once_in_order_and_said(tmp_path: Path) -> None:
    log: list[str] = []
    said: list[str] = []
    plans = {"": (context_of(tmp_path), chain(writes(log)))}
    assert do_stages(plans, said.append) == {}
    assert log == ["data", "teacher", "student"]
    assert [line.split(" in ")[0] for line in said[:2]] == [
        "[1/3] data: starts",
        "[1/3] data: done",
    ]
    said.clear()
    assert do_stages(plans, said.append) == {} and log == ["data", "teacher", "student"]
    assert [line.split(",")[0] for line in said] == [
        f"[{number}/3] {name}: skipped" for number, name in enumerate(log, 1)
    ]


def test_a_stage_of_other_settings_is_set_aside_with_what_was_made_of_it(tmp_path: Path) -> None:
    log: list[str] = []
    context = context_of(tmp_path)
    before = chain(writes(log), {"epochs": 1})
    do_stages({"": (context, before)}, log.append)
    old = stage_keys(before)
    said: list[str] = []
    log.clear()
    after = chain(writes(log), {"epochs": 2})
    do_stages({"": (context, after)}, said.append)
    assert log == ["teacher", "student"]
    assert "[2/3] teacher: epochs: 1 -> 2" in said and "[3/3] student: an input changed" in said
    assert sorted(path.name for path in (tmp_path / "aside").iterdir()) == [
        f"student-{old['student'][:8]}",
        f"teacher-{old['teacher'][:8]}",
    ]
    kept = tmp_path / "aside" / f"teacher-{old['teacher'][:8]}"
    assert recorded_key(kept) == old["teacher"] and (kept / "made").read_text() == "teacher"
    assert recorded_key(tmp_path / "teacher") == stage_keys(after)["teacher"]


def test_a_damaged_stage_is_done_again_and_what_was_made_of_it_is_kept(tmp_path: Path) -> None:
    log: list[str] = []
    plans = {"": (context_of(tmp_path), chain(writes(log)))}
    do_stages(plans, lambda _: None)
    log.clear()
    (tmp_path / "teacher" / "made").write_text("other")
    do_stages(plans, lambda _: None)
    assert log == ["teacher"] and (tmp_path / "teacher" / "made").read_text() == "teacher"
    assert not (tmp_path / "aside").exists()


def test_the_error_of_a_run_alone_is_raised(tmp_path: Path) -> None:
    stages = chain(fails("teacher", DataError("No.", "", "")))
    with pytest.raises(DataError, match="No"):
        do_stages({"": (context_of(tmp_path), stages)}, lambda _: None)
    assert read_manifest(tmp_path / "data") and read_manifest(tmp_path / "teacher") is None


def test_of_several_runs_the_others_go_on(tmp_path: Path) -> None:
    """Both need the data; one has a teacher that cannot be trained."""
    store, error = tmp_path / "store", DataError("No.", "", "")
    plans = {
        "a": (context_of(tmp_path / "a", store), chain(fails("teacher", error), {"k": 1})),
        "b": (context_of(tmp_path / "b", store), chain(fails("nothing", error), {"k": 2})),
    }
    for context, _ in plans.values():
        context.run.mkdir()
    said: list[str] = []
    assert do_stages(plans, said.append) == {"a": error}
    assert "[2/5] a: teacher: failed: No." in said
    assert sum(line.startswith("[1/5]") for line in said) == 2  # the data once: start and end
    assert read_manifest(tmp_path / "b" / "student") is not None
    assert read_manifest(tmp_path / "a" / "student") is None
    assert not any("a: student" in line for line in said)


def test_a_shared_training_that_fails_ends_all_that_need_it(tmp_path: Path) -> None:
    store, error = tmp_path / "store", DataError("No.", "", "")
    plans = {
        name: (context_of(tmp_path / name, store), chain(fails("teacher", error)))
        for name in ("a", "b")
    }
    for context, _ in plans.values():
        context.run.mkdir()
    assert do_stages(plans, lambda _: None) == {"a": error, "b": error}


def test_records_that_fail_for_one_run_are_tried_for_the_next(tmp_path: Path) -> None:
    """What refuses them may be the models of the first run alone."""
    store, error = tmp_path / "store", DataError("Too few.", "", "")
    plans = {
        "a": (context_of(tmp_path / "a", store), chain(fails("data", error))),
        "b": (context_of(tmp_path / "b", store), chain(fails("nothing", error))),
    }
    for context, _ in plans.values():
        context.run.mkdir()
    assert do_stages(plans, lambda _: None) == {"a": error}
    assert read_manifest(tmp_path / "b" / "student") is not None


def test_a_full_disk_ends_all_runs(tmp_path: Path) -> None:
    store = tmp_path / "store"
    full = Interrupted("The disk is full.", "", "")
    plans = {
        "a": (context_of(tmp_path / "a", store), chain(fails("teacher", full), {"k": 1})),
        "b": (context_of(tmp_path / "b", store), chain(fails("teacher", full), {"k": 2})),
    }
    for context, _ in plans.values():
        context.run.mkdir()
    with pytest.raises(Interrupted, match="disk"):
        do_stages(plans, lambda _: None)
    assert read_manifest(tmp_path / "b" / "student") is None


def test_a_stage_that_another_process_did_meanwhile_is_not_done_again(tmp_path: Path) -> None:
    log: list[str] = []
    stage = chain(writes(log))[0]
    key = stage_keys([stage])["data"]
    context = context_of(tmp_path)
    assert do_stage(context, stage, key) >= 0 and do_stage(context, stage, key) >= 0
    assert log == ["data"]


def test_a_stage_is_asked_for_with_all_that_it_needs_and_what_belongs_to_it(tmp_path: Path) -> None:
    stages = plan(context_of(tmp_path, audit=AuditConfig(blocks=True)))
    names = [stage.name for stage in stages]
    assert [one.name for one in needed_for(stages, "student")] == [
        "data",
        "tokenizer",
        "teacher",
        "student",
    ]
    audited = [one.name for one in needed_for(stages, "audit")]
    assert audited == [name for name in names if name not in ("evaluate", "report")]
    assert "blocks" in audited and "signal" in audited
    assert needed_for(stages, "report") == stages
    assert [one.name for one in needed_for(stages, "data")] == ["data"]
    with pytest.raises(ConfigError, match="no stage 'students'") as caught:
        needed_for(stages, "students")
    assert ", ".join(names) in caught.value.values
    plans = plans_of({"": context_of(tmp_path)}, "tokenizer")
    assert [stage.name for stage in plans[""][1]] == ["data", "tokenizer"]


def test_a_folder_in_which_nothing_was_made_is_removed(tmp_path: Path) -> None:
    run = tmp_path / "run"
    (run / ".locks" / "data").mkdir(parents=True)
    for name in ("config.yaml", "env.json", "report.key", ".lock"):
        (run / name).touch()
    (run / "data").symlink_to(tmp_path / "nowhere")
    drop_empty_run(run)
    assert list(tmp_path.iterdir()) == []


def test_what_was_made_or_is_not_ours_stays(tmp_path: Path) -> None:
    made, strange = tmp_path / "made", tmp_path / "strange"
    (made / "data").mkdir(parents=True)
    strange.mkdir()
    (made / "config.yaml").touch()
    (strange / "config.yaml").touch()
    (strange / "notes.txt").touch()
    drop_empty_run(made)
    drop_empty_run(strange)
    assert sorted(path.name for path in made.iterdir()) == ["config.yaml", "data"]
    assert [path.name for path in strange.iterdir()] == ["notes.txt"]


def test_a_run_that_is_refused_by_its_records_leaves_nothing(tmp_path: Path) -> None:
    source = tmp_path / "records.jsonl"
    source.write_text('{"prompt": "a", "response": "b"}\n')
    out = tmp_path / "run"
    contexts = {"": context_of(out, data=DataConfig(source=str(source)))}
    with pytest.raises(DataError):
        run_experiments(contexts, lambda _: None, until="data")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["records.jsonl"]


def test_a_dry_run_says_each_stage_and_writes_nothing(tmp_path: Path) -> None:
    out = tmp_path / "run"
    found, refusal = describe_plan({"": context_of(out)})
    assert refusal is None and not out.exists()
    assert list(found.tasks) == [stage.name for stage in plan(context_of(out))]
    assert {task.state.reason for task in found.tasks.values()} == {"not done yet"}
    found, _ = describe_plan({"": context_of(out)}, "tokenizer")
    assert list(found.tasks) == ["data", "tokenizer"]


def test_a_dry_run_ends_with_the_refusal_of_the_real_run(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").touch()
    found, refusal = describe_plan({"": context_of(tmp_path)})
    assert not found.tasks and isinstance(refusal, ConfigError) and "no run of ours" in refusal.what
    run = tmp_path / "run"
    run.mkdir()
    (run / "config.yaml").write_text(to_yaml(Config(out=run)))
    write_json(run / "evaluate" / MANIFEST, {"key": "0" * 64, "settings": {}, "files": {}})
    other = {"": context_of(run, generate=GenerateConfig(records=3), seed=2)}
    found, refusal = describe_plan(other)
    assert found.tasks and refusal is not None and "other settings" in refusal.what
    assert describe_plan(other, accept_changes=True)[1] is None


def test_a_folder_in_use_is_refused_before_anything_is_done(tmp_path: Path) -> None:
    plans = plans_of({"": context_of(tmp_path)})
    check_folders(plans, False)
    with locked(tmp_path), pytest.raises(ConfigError, match="in use by a live process"):
        check_folders(plans, False)


def test_missing_files_are_refused_before_the_folder_is_looked_at(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").touch()
    (tmp_path / "a.jsonl").write_text('{"prompt": "a", "response": "b"}\n')
    data = DataConfig(files={"private": str(tmp_path / "a.jsonl")})
    with pytest.raises(ConfigError, match="No file is named for"):
        check_folders(plans_of({"": context_of(tmp_path, data=data)}), False)


def test_equal_stages_of_two_runs_are_scheduled_once(tmp_path: Path) -> None:
    store = tmp_path / "store"
    few = GenerateConfig(records=3)
    found = scheduled(
        plans_of(
            {
                "a": context_of(tmp_path / "a", store),
                "b": context_of(tmp_path / "b", store, generate=few),
            }
        )
    )
    own = [label for label in found.tasks if label.startswith("b: ")]
    assert own == ["b: evaluate", "b: report"]
    assert len(found.offers["a: student"]) == 2 and len(found.offers["a: evaluate"]) == 1


def test_the_environment_says_plugins_and_changed_versions(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "mine.py").write_text("METHODS = {}\n")
    plugin = load(tmp_path / "mine.py")
    context = replace(context_of(tmp_path / "run"), plugins=(plugin,))
    context.run.mkdir()
    with caplog.at_level(logging.WARNING, logger="stillage"):
        record_environment(context)
        record_environment(context)
        assert caplog.messages == []
        found = read_json(context.run / "env.json")
        assert [entry["sha256"] for entry in found["plugins"]] == [plugin.sha256]
        assert found["processes"] == 1 and "torch" in found["packages"]
        found["packages"]["torch"] = "0.1"
        (context.run / "env.json").write_text(json.dumps(found))
        record_environment(context)
    assert caplog.messages == ["other package versions than when the run began: torch"]
