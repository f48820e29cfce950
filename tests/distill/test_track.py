"""Trackers: off by default, loaded only when asked for, told what metrics.jsonl is told."""

from __future__ import annotations

import subprocess
import sys
import types
from pathlib import Path

import pytest

from stillage.cli import main
from stillage.distill.track import MODULES, Track, Tracker, check_tracker
from stillage.errors import CapabilityError
from stillage.run.parse import build


class Fake:
    """Any of the three modules: writes down what it is called with."""

    def __init__(self) -> None:
        self.calls: list[tuple[str, tuple[object, ...], dict[str, object]]] = []

    def __getattr__(self, name: str) -> object:
        def call(*args: object, **settings: object) -> Fake:
            self.calls.append((name, args, settings))
            return self

        return call


def test_off_by_default() -> None:
    assert build({}).track == "none"
    check_tracker("none", lambda name: pytest.fail("looked for a module"))


@pytest.mark.parametrize("track", ["wandb", "trackio", "tensorboard"])
def test_a_missing_tracker_names_the_command(
    track: Track,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with pytest.raises(CapabilityError) as caught:
        check_tracker(track, lambda name: None)
    assert caught.value.fix == f"pip install 'stillage[{track}]'"
    monkeypatch.setattr("stillage.distill.track.importlib.util.find_spec", lambda name: None)
    assert main(["run", "biographies", "--track", track, "--out", str(tmp_path / "r")]) == 2
    assert (
        f"pip install 'stillage[{track}]'" in capsys.readouterr().err
        and not (tmp_path / "r").exists()
    )


def test_the_extras_exist() -> None:
    text = (Path(__file__).parents[2] / "pyproject.toml").read_text()
    assert all(f"\n{name} = [" in text for name in (*MODULES, "quantize"))


@pytest.mark.parametrize("track", ["wandb", "trackio", "tensorboard"])
def test_what_a_tracker_is_told(
    track: Track, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fake = Fake()
    monkeypatch.setitem(sys.modules, MODULES[track], fake)  # pyright: ignore[reportArgumentType]
    monkeypatch.setattr(
        "stillage.distill.track.importlib.util.find_spec", lambda name: types.SimpleNamespace()
    )
    tracker = Tracker(track, run="abc", model="student", folder=tmp_path, settings={"method": "kd"})
    tracker.log({"step": 3, "total": 9, "loss": 0.5, "texts": "data", "grad_norm": None})
    tracker.log({"step": 3, "total": 9, "validation_loss": 0.25})
    tracker.close()
    if track == "tensorboard":
        assert fake.calls == [
            ("SummaryWriter", (), {"log_dir": str(tmp_path / "tensorboard")}),
            ("add_scalar", ("loss", 0.5, 3), {}),
            ("add_scalar", ("validation_loss", 0.25, 3), {}),
            ("close", (), {}),
        ]
        return
    name, _, settings = fake.calls[0]
    assert (
        name == "init" and settings["project"] == "stillage" and settings["name"] == "abc-student"
    )
    assert settings["resume"] == "allow" and settings["config"] == {"method": "kd"}
    assert fake.calls[1:] == [
        ("log", ({"loss": 0.5},), {"step": 3}),
        ("log", ({"validation_loss": 0.25},), {"step": 3}),
        ("finish", (), {}),
    ]


def test_nothing_is_loaded_until_it_is_asked_for() -> None:
    code = "import sys, stillage.distill.track; print([name for name in ('torch', 'wandb', 'trackio') if name in sys.modules])"
    assert (
        subprocess.run(
            [sys.executable, "-c", code], capture_output=True, text=True, check=True
        ).stdout
        == "[]\n"
    )
