"""A training that was stopped, killed, or whose checkpoints were damaged ends as if nothing had happened."""

from __future__ import annotations

import json
import logging
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace

import pytest

from stillage.errors import CheckpointError, Interrupted

FILES = ("weights.safetensors", "optimiser.safetensors", "state.json", "manifest.json")


def model_bytes(folder: Path) -> bytes:
    return (folder / "model" / "model.safetensors").read_bytes()


@pytest.fixture(scope="module")
def whole(small: SimpleNamespace, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An uninterrupted training of 6 steps."""
    folder = tmp_path_factory.mktemp("whole")
    small.train(folder)
    return folder


def stopped(small: SimpleNamespace, folder: Path, steps: int = 4) -> Path:
    """The same training, stopped: checkpoints after each of its steps, of which two are kept."""
    with pytest.raises(Interrupted) as caught:
        small.train(folder, should_stop=small.stop_after(steps), checkpoint_every_s=0)
    assert caught.value.exit_code == 75
    checkpoints = folder / "checkpoints"
    assert [path.name for path in sorted(checkpoints.glob("step-*"))] == [
        f"step-{steps - 1:08d}",
        f"step-{steps:08d}",
    ]
    return checkpoints


def truncate(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-7])


def flip(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(bytes(content))


def delete(path: Path) -> None:
    path.unlink()


@pytest.mark.parametrize("harm", [truncate, flip, delete])
@pytest.mark.parametrize("file", [*FILES, "best"])
def test_a_damaged_checkpoint_is_skipped_with_a_notice(
    small: SimpleNamespace,
    tmp_path: Path,
    whole: Path,
    caplog: pytest.LogCaptureFixture,
    file: str,
    harm: object,
) -> None:
    checkpoints = stopped(small, tmp_path)
    newest = checkpoints / "step-00000004"
    best = json.loads((newest / "state.json").read_text())["state"]["best"]
    if file == "best":
        harm(checkpoints / best["folder"] / "model.safetensors")  # pyright: ignore[reportCallIssue]
    else:
        harm(newest / file)  # pyright: ignore[reportCallIssue]
    with caplog.at_level(logging.WARNING, "stillage"):
        small.train(tmp_path)
    assert "step-00000004 is damaged and skipped" in caplog.text
    continues = [
        line.split("  ", 1)[1]
        for line in (tmp_path / "train.log").read_text().splitlines()
        if "continues" in line
    ]
    if file == "best":  # named by both checkpoints: the training starts again
        assert "step-00000003 is damaged and skipped" in caplog.text and not continues
    else:
        assert len(continues) == 1 and "after step 3 of 6" in continues[0]
    assert model_bytes(tmp_path) == model_bytes(whole)
    assert (tmp_path / "metrics.jsonl").read_bytes() == (whole / "metrics.jsonl").read_bytes()


def test_all_damaged_means_from_the_start(
    small: SimpleNamespace, tmp_path: Path, whole: Path
) -> None:
    for path in stopped(small, tmp_path).glob("step-*"):
        truncate(path / "weights.safetensors")
    small.train(tmp_path)
    assert model_bytes(tmp_path) == model_bytes(whole)


def test_leftovers_of_a_kill_are_ignored_and_swept_up(
    small: SimpleNamespace, tmp_path: Path, whole: Path
) -> None:
    """A half-written folder, a line cut short, lines of steps that no checkpoint has."""
    checkpoints = stopped(small, tmp_path)
    (checkpoints / ".tmp-step-00000005-99").mkdir()
    (checkpoints / ".tmp-step-00000005-99" / "weights.safetensors").write_bytes(b"half")
    with (tmp_path / "metrics.jsonl").open("a") as handle:
        handle.write('{"step": 5, "loss": 1.0}\n{"step": 6, "lo')
    with pytest.raises(Interrupted):
        small.train(tmp_path, should_stop=small.stop_after(1))
    assert sorted(
        path.name for path in checkpoints.iterdir() if path.name.startswith((".", "step"))
    ) == [
        "step-00000004",
        "step-00000005",
    ]
    small.train(tmp_path)
    assert (tmp_path / "metrics.jsonl").read_bytes() == (whole / "metrics.jsonl").read_bytes()
    assert model_bytes(tmp_path) == model_bytes(whole)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"batch_size": 4}, "batch_size: 8 there, 4 here"),
        ({"seed": 8}, "seed: 7 there, 8 here"),
        ({"method": "kd"}, "method: sft there, kd here"),
        ({"lr_peak": 1e-3}, "lr_peak: 0.005 there, 0.001 here"),
        ({"examples": 19}, "data: "),
    ],
)
def test_a_checkpoint_of_another_training_is_refused(
    small: SimpleNamespace, tmp_path: Path, change: dict[str, object], words: str
) -> None:
    checkpoints = stopped(small, tmp_path)
    before = sorted(path.name for path in checkpoints.rglob("*"))
    if "examples" in change:
        change = {"examples": small.examples(19)}
    with pytest.raises(CheckpointError) as caught:
        small.train(tmp_path, **change)
    assert words in str(caught.value) and len(str(caught.value).splitlines()) == 3
    assert before == sorted(path.name for path in checkpoints.rglob("*"))


def test_what_does_not_decide_the_result_may_change(small: SimpleNamespace, tmp_path: Path) -> None:
    stopped(small, tmp_path)
    summary, _ = small.train(tmp_path, micro_batch_size=4, checkpoint_every_s=1.0)
    assert summary.steps == 6


SCRIPT = """
import sys, pathlib, importlib.util
import torch; torch.set_num_threads(1)
spec = importlib.util.spec_from_file_location("small_training", sys.argv[1])
small = importlib.util.module_from_spec(spec); spec.loader.exec_module(small)
small.small_train(pathlib.Path(sys.argv[2]), epochs=30, checkpoint_every_s=0.05, student=small.small_model(seed=2, dropout=0.1))
"""


def test_killed_at_any_moment_it_ends_the_same(small: SimpleNamespace, tmp_path: Path) -> None:
    """SIGKILL twice, some moments after a new checkpoint; another may be half-written just then."""
    import torch

    torch.set_num_threads(1)  # as in the child: the last digits of a sum depend on it
    make = {"epochs": 30, "checkpoint_every_s": 0.05}
    small.train(tmp_path / "whole", student=small.model(seed=2, dropout=0.1), **make)
    conftest, folder = Path(__file__).parents[1] / "conftest.py", tmp_path / "killed"

    def saved() -> str:
        return max((path.name for path in (folder / "checkpoints").glob("step-*")), default="")

    reached = ""
    for _ in range(2):
        child = subprocess.Popen(
            [sys.executable, "-c", SCRIPT, str(conftest), str(folder)], stderr=subprocess.DEVNULL
        )
        deadline = time.monotonic() + 100
        while child.poll() is None and time.monotonic() < deadline and saved() <= reached:
            time.sleep(0.002)
        time.sleep(random.random() * 0.1)
        reached = saved()
        os.kill(child.pid, signal.SIGKILL)
        child.wait()
        assert not (folder / "summary.json").exists(), "the kill came too late to test anything"
    small.train(folder, student=small.model(seed=2, dropout=0.1), **make)
    assert "continues after step" in (folder / "train.log").read_text()
    assert model_bytes(folder) == model_bytes(tmp_path / "whole")
    assert (folder / "metrics.jsonl").read_bytes() == (
        tmp_path / "whole" / "metrics.jsonl"
    ).read_bytes()
