"""Stages: keys, what is done again, what a kill costs."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from stillage.errors import ConfigError, Interrupted
from stillage.run import stages
from stillage.run.folder import (
    read_json,
    write_json,
)
from stillage.run.stages import Stage, changed_settings, run_stage, stage_keys, status


def counting_stage(log: list[str], **settings: object) -> Stage:
    def work(folder: Path) -> None:
        log.append("ran")
        write_json(folder / "a.json", settings)

    return Stage(name="one", settings=settings, work=work)


def test_a_stage_is_done_exactly_when_its_manifest_verifies(tmp_path: Path) -> None:
    log: list[str] = []
    stage = counting_stage(log, lr=1)
    key = stage_keys([stage])["one"]
    assert status(tmp_path / stage.name, stage, key).reason == "not done yet"
    run_stage(tmp_path / stage.name, stage, key)
    assert status(tmp_path / stage.name, stage, key).is_done
    (tmp_path / "one" / "a.json").write_text("{}")
    assert status(tmp_path / stage.name, stage, key).reason == "damaged: a.json has changed"
    (tmp_path / "one" / "a.json").unlink()
    assert status(tmp_path / stage.name, stage, key).reason == "damaged: a.json is missing"
    run_stage(tmp_path / stage.name, stage, key)
    assert status(tmp_path / stage.name, stage, key).is_done and len(log) == 2


def test_what_was_not_kept_and_is_needed_now_is_made_again(tmp_path: Path) -> None:
    log: list[str] = []
    folder, stage = tmp_path / "one", counting_stage(log, lr=1)
    keeping = replace(stage, work=lambda folder: write_json(folder / "model" / "b", 1))
    keeping = replace(keeping, kept=("model",))
    key = stage_keys([stage])["one"]
    assert stage_keys([keeping])["one"] == key
    run_stage(folder, stage, key)
    found = status(folder, keeping, key)
    assert not found.is_done and found.reason == "model was not kept, and is needed now"
    run_stage(folder, keeping, key)
    assert status(folder, keeping, key).is_done and status(folder, stage, key).is_done
    assert [read_json(path / "a.json") for path in (tmp_path / "aside").iterdir()] == [{"lr": 1}]


def test_another_setting_sets_the_old_result_aside(tmp_path: Path) -> None:
    log: list[str] = []
    first, second = counting_stage(log, lr=1), counting_stage(log, lr=2)
    run_stage(tmp_path / first.name, first, stage_keys([first])["one"])
    found = status(tmp_path / second.name, second, stage_keys([second])["one"])
    assert not found.is_done and found.reason == "lr: 1 -> 2"
    run_stage(tmp_path / second.name, second, stage_keys([second])["one"])
    assert read_json(tmp_path / "one" / "a.json") == {"lr": 2}
    assert [read_json(path / "a.json") for path in (tmp_path / "aside").iterdir()] == [{"lr": 1}]


def test_a_changed_setting_of_a_group_is_named_in_full() -> None:
    old = {"audit": {"attacks": ["loss"], "level": 0.95, "params": {}}, "seed": 1}
    new = {"audit": {"attacks": ("loss", "zlib"), "level": 0.95, "params": {"a": "1"}}, "seed": 1}
    assert changed_settings(old, new) == (
        "audit.attacks: ['loss'] -> ['loss', 'zlib'], audit.params.a: None -> 1"
    )
    assert changed_settings({"g": dict.fromkeys("abcde", 1)}, {"g": {}}).endswith(
        "g.c: 1 -> None, and 2 more"
    )
    assert changed_settings({"a": "x" * 99}, {"a": 1}) == f"a: {'x' * 56} ... -> 1"
    assert changed_settings(new, new) == ""


def test_an_unfinished_stage_keeps_its_files_only_for_the_same_key(tmp_path: Path) -> None:
    seen: list[list[str]] = []

    def work(folder: Path) -> None:
        seen.append(sorted(path.name for path in folder.iterdir()))
        write_json(folder / "checkpoint.json", 1)
        if len(seen) == 1:
            raise Interrupted("stopped")

    stage = Stage(name="one", settings={}, work=work)
    with pytest.raises(Interrupted):
        run_stage(tmp_path / stage.name, stage, "k")
    assert status(tmp_path / stage.name, stage, "k").reason == "continues where it stopped"
    run_stage(tmp_path / stage.name, stage, "k")
    assert "checkpoint.json" in seen[1]
    other = Stage(name="two", settings={}, work=work)
    (tmp_path / "two").mkdir()
    write_json(tmp_path / "two" / "stale.json", 1)
    run_stage(tmp_path / other.name, other, "k")
    assert "stale.json" not in seen[2]


def test_a_kill_while_a_stage_is_sealed_costs_none_of_its_work(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    log: list[str] = []

    def work(folder: Path) -> None:
        log.append("continues" if (folder / "trained.json").exists() else "starts")
        write_json(folder / "trained.json", 1)

    def killed(folder: Path, files: Sequence[Path]) -> dict[str, str]:
        raise KeyboardInterrupt

    stage, folder = Stage(name="one", settings={}, work=work), tmp_path / "one"
    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(stages, "hash_files", killed)
        run_stage(folder, stage, "k")
    assert status(folder, stage, "k").reason == "continues where it stopped"
    run_stage(folder, stage, "k")
    assert log == ["starts", "continues"]
    assert sorted(os.listdir(folder)) == ["manifest.json", "trained.json"]
    assert read_json(folder / "manifest.json")["files"].keys() == {"trained.json"}


def test_keys_follow_inputs_settings_and_schema() -> None:
    def make(lr: int, schema: int) -> dict[str, str]:
        first = Stage(name="a", settings={"lr": lr}, work=lambda _: None, schema=schema)
        return stage_keys([first, Stage(name="b", settings={}, work=lambda _: None, inputs=("a",))])

    assert make(1, 1) == make(1, 1)
    assert make(1, 1)["b"] != make(2, 1)["b"] != make(2, 2)["b"]


def made(folder: Path, stage: Stage) -> str:
    """Do a stage; its key."""
    key = stage_keys([stage])[stage.name]
    run_stage(folder, stage, key)
    return key


@pytest.mark.parametrize(
    "change",
    [
        {"name": "two"},
        {"settings": {"lr": 2}},
        {"settings": {"lr": 1, "more": None}},
        {"outside": {"a.jsonl": "0" * 64}},
        {"schema": 2},
        {"secret": "a key of the run"},
    ],
)
def test_whatever_decides_the_content_changes_the_key(change: dict[str, object]) -> None:
    given: dict[str, object] = {"name": "one", "settings": {"lr": 1}, "work": lambda _: None}
    stage, other = Stage(**given), Stage(**{**given, **change})
    assert list(stage_keys([stage]).values()) != list(stage_keys([other]).values())


def test_a_key_does_not_know_the_order_of_settings_or_the_work() -> None:
    first = Stage(name="one", settings={"a": 1, "b": 2}, work=lambda _: None)
    second = Stage(name="one", settings={"b": 2, "a": 1}, work=print)
    assert stage_keys([first]) == stage_keys([second])


def test_a_key_is_that_of_its_parts() -> None:
    """So that a report can tell the key of a stage from its manifest alone."""
    first = counting_stage([], lr=1)
    second = Stage(
        name="two",
        settings={"x": {"y": 1}},
        work=lambda _: None,
        inputs=("one",),
        outside={"f": "g"},
        schema=3,
        secret="s",
    )
    keys = stage_keys([first, second])
    assert keys["one"] == stages.stage_key("one", {"lr": 1}, {}, {}, 1)
    inputs = {"one": keys["one"]}
    assert keys["two"] == stages.stage_key("two", {"x": {"y": 1}}, inputs, {"f": "g"}, 3, "s")
    assert keys["two"] != stages.stage_key("two", {"x": {"y": 1}}, inputs, {"f": "g"}, 3)


def test_a_stage_needs_its_inputs_before_it() -> None:
    later = Stage(name="b", settings={}, work=lambda _: None, inputs=("a",))
    with pytest.raises(KeyError, match="a"):
        stage_keys([later, Stage(name="a", settings={}, work=lambda _: None)])


def test_a_manifest_says_all_but_the_secret(tmp_path: Path) -> None:
    stage = Stage(
        name="one",
        settings={"lr": 1},
        work=lambda folder: write_json(folder / "deep" / "a.json", 1),
        outside={"in.jsonl": "abc"},
        schema=4,
        secret="hidden",
    )
    key = made(tmp_path / "one", stage)
    manifest = stages.read_manifest(tmp_path / "one")
    assert manifest is not None and list(manifest["files"]) == ["deep/a.json"]
    assert manifest["key"] == key and manifest["outside"] == {"in.jsonl": "abc"}
    assert manifest["schema"] == 4 and manifest["settings"] == {"lr": 1}
    assert "hidden" not in (tmp_path / "one" / "manifest.json").read_text()
    assert not (tmp_path / "one" / stages.STARTED).exists()


def test_a_changed_input_is_told_from_a_changed_setting(tmp_path: Path) -> None:
    stage = counting_stage([], lr=1)
    made(tmp_path / "one", stage)
    assert status(tmp_path / "one", stage, "another key").reason == "an input changed"
    other = counting_stage([], lr=2)
    assert status(tmp_path / "one", other, "another key").reason == "lr: 1 -> 2"


def test_more_changes_than_can_be_named_are_counted() -> None:
    old, new = {name: 0 for name in "abcde"}, {name: 1 for name in "abcde"}
    assert changed_settings(old, new) == "a: 0 -> 1, b: 0 -> 1, c: 0 -> 1, and 2 more"
    assert changed_settings(old, old) == ""
    assert changed_settings({"a": (1, 2)}, {"a": [1, 2]}) == "", "a manifest has lists for tuples"


def test_settings_are_named_in_full_and_long_values_cut() -> None:
    nested = {"data": {"shares": {"test": 0.1}, "files": {}}, "seed": 1}
    assert stages.by_full_name(nested) == {"data.shares.test": 0.1, "seed": 1}
    assert stages.shortened("x" * 60) == "x" * 60
    assert stages.shortened("x" * 61) == "x" * 56 + " ..."
    assert stages.shortened([1, 2], 4) == "" + " ..."


def test_a_stage_that_refuses_before_it_makes_anything_leaves_nothing(tmp_path: Path) -> None:
    def refuse(folder: Path) -> None:
        raise ConfigError("no", "", "")

    def stop(folder: Path) -> None:
        write_json(folder / "half.json", 1)
        raise Interrupted("stopped", "", "")

    for work, left in ((refuse, []), (stop, ["half.json", stages.STARTED])):
        stage = Stage(name="one", settings={}, work=work)
        with pytest.raises((ConfigError, Interrupted)):
            made(tmp_path / "one", stage)
        there = tmp_path / "one"
        assert sorted(path.name for path in there.glob("*")) == left
    key = stage_keys([stage])["one"]
    assert stages.recorded_key(tmp_path / "one") == stages.started_with(tmp_path / "one") == key
    assert status(tmp_path / "one", stage, key).reason == "continues where it stopped"
    assert status(tmp_path / "one", stage, "other").reason == stages.NOT_DONE


def test_nothing_of_a_stage_has_no_key(tmp_path: Path) -> None:
    assert stages.recorded_key(tmp_path) == "" and stages.read_manifest(tmp_path) is None
    assert stages.started_with(tmp_path / "absent") == ""


def test_a_stage_lies_in_the_run_or_by_its_key_in_a_store(tmp_path: Path) -> None:
    stage, key = counting_stage([], lr=1), "0123456789abcdef0123"
    assert stages.stage_folder(tmp_path, stage, key, None) == tmp_path / "one"
    in_store = stages.stage_folder(tmp_path, stage, key, tmp_path / "store")
    assert in_store == tmp_path / "store" / "one-0123456789abcdef"


def test_a_run_points_to_its_stage_in_the_store(tmp_path: Path) -> None:
    run, stage = tmp_path / "run", counting_stage([], lr=1)
    run.mkdir()
    for number in (1, 2):  # a link to an earlier place is replaced
        folder = tmp_path / "store" / f"one-{number}"
        made(folder, stage)
        stages.link(run, stage, folder)
        assert (run / "one").is_symlink() and (run / "one").resolve() == folder.resolve()
        assert not os.path.isabs(os.readlink(run / "one")), "the sweep may be moved"
    stages.link(run, stage, run / "one")
    assert (run / "one").is_symlink(), "nothing to do where it is the place"


def test_a_stage_in_the_run_itself_moves_to_its_place_in_the_store(tmp_path: Path) -> None:
    run, stage = tmp_path / "run", counting_stage([], lr=1)
    key = made(run / "one", stage)
    folder = stages.stage_folder(run, stage, key, tmp_path / "store")
    stages.link(run, stage, folder)
    assert (run / "one").is_symlink() and status(folder, stage, key).is_done
    (run / "one").unlink()
    made(run / "one", stage)  # a copy that followed the link: it is there already
    stages.link(run, stage, folder)
    assert (run / "one").is_symlink() and not (run / "aside").exists()


def test_a_stage_without_a_place_in_the_store_is_set_aside(tmp_path: Path) -> None:
    run, stage, other = tmp_path / "run", counting_stage([], lr=1), counting_stage([], lr=2)
    key = made(run / "one", stage)
    folder = stages.stage_folder(run, other, stage_keys([other])["one"], tmp_path / "store")
    made(folder, other)
    stages.link(run, other, folder)
    assert read_json(run / "one" / "a.json") == {"lr": 2}
    assert read_json(run / "aside" / f"one-{key[:8]}" / "a.json") == {"lr": 1}
