"""Each kind of damage of a finished run is named; a whole one has none."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest

from stillage.run.finished import unfinished
from stillage.run.folder import read_json, remove, write_json
from stillage.run.stages import MANIFEST, STARTED, Stage, run_stage, stage_keys

NAMES = ("data", "teacher", "student")


def no_secret(stage: str, settings: Mapping[str, Any]) -> str:
    return ""


def writes(folder: Path) -> None:
    (folder / "made.txt").write_text(folder.name)


def stages(seed: int = 1, secret: str = "") -> list[Stage]:
    """Three stages in a row, of which the last has a secret."""
    return [
        Stage(
            name=name,
            settings={"seed": seed} if name == "data" else {},
            work=writes,
            inputs=NAMES[max(0, position - 1) : position],
            secret=secret if name == "student" else "",
        )
        for position, name in enumerate(NAMES)
    ]


def made(run: Path, found: list[Stage], *names: str) -> Path:
    """The named stages of a run, done."""
    keys = stage_keys(found)
    for stage in found:
        if stage.name in names:
            run_stage(run / stage.name, stage, keys[stage.name])
    return run


def test_a_finished_run_has_no_damage(tmp_path: Path) -> None:
    run = made(tmp_path, stages(), *NAMES)
    assert unfinished(run, NAMES, no_secret) == []
    assert unfinished(run, (), no_secret) == []


def begun(run: Path) -> None:
    remove(run / "teacher" / MANIFEST)
    write_json(run / "teacher" / STARTED, {"key": "k"})


DAMAGE: dict[str, tuple[Callable[[Path], object], str]] = {
    "gone": (lambda run: remove(run / "teacher"), "teacher: not done yet"),
    "begun": (begun, "teacher: begun, not finished"),
    "changed": (
        lambda run: (run / "teacher" / "made.txt").write_text("changed"),
        "teacher: damaged: ",
    ),
    "file gone": (lambda run: remove(run / "teacher" / "made.txt"), "teacher: damaged: "),
    "manifest gone": (lambda run: remove(run / "teacher" / MANIFEST), "teacher: not done yet"),
}


@pytest.mark.parametrize("name", DAMAGE)
def test_each_damage_is_named_once(tmp_path: Path, name: str) -> None:
    run = made(tmp_path, stages(), *NAMES)
    damage, words = DAMAGE[name]
    damage(run)
    (said,) = unfinished(run, NAMES, no_secret)
    assert said.startswith(words)
    assert "damaged" not in words or "made.txt" in said
    assert unfinished(run, ("data", "student"), no_secret) == []  # the others are whole


def test_every_damage_is_said_in_the_order_asked(tmp_path: Path) -> None:
    run = made(tmp_path, stages(), "data")
    assert unfinished(run, ("student", "data", "teacher"), no_secret) == [
        "student: not done yet",
        "teacher: not done yet",
    ]


def test_stages_of_other_inputs_are_noticed_and_those_after_them_are_not_blamed(
    tmp_path: Path,
) -> None:
    run = made(tmp_path, stages(), *NAMES)
    remove(run / "data")
    made(run, stages(seed=2), "data")
    assert unfinished(run, NAMES, no_secret) == [
        "teacher: made from other inputs than those in the folder"
    ]
    remove(run / "teacher")
    made(run, stages(seed=2), "teacher")
    assert unfinished(run, NAMES, no_secret) == [
        "student: made from other inputs than those in the folder"
    ]


def test_keys_that_another_version_made_cannot_tell(tmp_path: Path) -> None:
    """Where not even the first stage's key can be made again, inputs are not compared."""
    run = made(tmp_path, stages(), *NAMES)
    for name in NAMES:
        manifest = read_json(run / name / MANIFEST)
        write_json(run / name / MANIFEST, {**manifest, "key": name * 8})
    assert unfinished(run, NAMES, no_secret) == []


def test_a_key_holds_the_secret_of_its_run(tmp_path: Path) -> None:
    run = made(tmp_path, stages(secret="s"), *NAMES)

    def secret(stage: str, settings: Mapping[str, Any]) -> str:
        return "s" if stage == "student" else ""

    assert unfinished(run, NAMES, secret) == []
    assert unfinished(run, NAMES, no_secret) == [
        "student: made from other inputs than those in the folder"
    ]
