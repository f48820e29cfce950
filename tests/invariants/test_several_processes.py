"""torchrun: a failure, a kill or a signal on one process ends all, without a hang, and the same command continues."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from stillage.cli import main

pytestmark = pytest.mark.slow
FLAGS = [
    "--stages",
    "distill",
    "--threads",
    "1",
    "--data.people",
    "24",
    "--tokenizer.vocab-size",
    "400",
    "--data.max-tokens",
    "96",
    "--teacher.layers",
    "1",
    "--teacher.width",
    "32",
    "--teacher.heads",
    "2",
    "--teacher-train.epochs",
    "1",
    "--student.layers",
    "1",
    "--student.width",
    "32",
    "--student.heads",
    "2",
    "--student-train.epochs",
    "2",
    "--student-train.batch-size",
    "8",
    "--distill.params.divergence",
    "troubled",
]
PLUGIN = """
import os, signal, time
from stillage.functional.divergence import forward_kl

trouble, rank = os.environ.get("TROUBLE", ""), os.environ.get("RANK", "0")
calls = []
if trouble == "at once" and rank == "1":
    raise RuntimeError("no luck on this process")

def troubled(p, q):
    calls.append(1)
    if len(calls) == 3 and trouble == "kill" and rank == "1":
        os.kill(os.getpid(), signal.SIGKILL)
    if len(calls) == 3 and trouble == "raise" and rank == "1":
        raise ValueError("no luck in this step")
    if len(calls) == 3 and trouble == "stop" and rank == "0":
        os.kill(os.getppid(), signal.SIGTERM)  # torchrun, as a scheduler would
        deadline = time.monotonic() + 100
        while not signal.getsignal(signal.SIGTERM).__self__.number and time.monotonic() < deadline:
            time.sleep(0.01)
    return forward_kl(p, q)

DIVERGENCES = {"troubled": troubled}
"""


@pytest.fixture(scope="module")
def plugin(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("plugin") / "troubled.py"
    path.write_text(PLUGIN)
    return path


@pytest.fixture(scope="module")
def undisturbed(plugin: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The run by one process."""
    out = tmp_path_factory.mktemp("undisturbed") / "run"
    assert main(["distill", *FLAGS, "--plugin", str(plugin), "--out", str(out)]) == 0
    return out


def losses(run: Path) -> list[float]:
    lines = [
        json.loads(line) for line in (run / "student" / "metrics.jsonl").read_text().splitlines()
    ]
    return [line.get("loss", line.get("validation_loss")) for line in lines]


def troubled(trouble: str, plugin: Path, out: Path) -> subprocess.CompletedProcess[str]:
    """The run by two processes, one of which gets into trouble; a hang ends after minutes, and fails the test."""
    launcher = [
        sys.executable,
        "-m",
        "torch.distributed.run",
        "--standalone",
        "--nproc_per_node",
        "2",
        "-m",
        "stillage",
    ]
    return subprocess.run(
        [*launcher, "distill", *FLAGS, "--plugin", str(plugin), "--out", str(out)],
        env={**os.environ, "OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": "", "TROUBLE": trouble},
        capture_output=True,
        text=True,
        check=False,
        timeout=280,
    )


@pytest.mark.parametrize(
    ("trouble", "said", "code"),
    [
        ("at once", "Process 1 of 2 stopped: The plugin", 2),
        ("raise", "line 15, troubled: ValueError: no luck in this step", 2),
        ("kill", "", -9),
        ("stop", "stopped; the same command continues", 75),
    ],
)
def test_trouble_of_one_ends_all_and_the_run_continues(
    trouble: str,
    said: str,
    code: int,
    plugin: Path,
    undisturbed: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    out = tmp_path / "run"
    done = troubled(trouble, plugin, out)
    assert done.returncode != 0 and said in done.stderr, done.stderr
    assert done.stderr.count(said) == 1 or not said, "said once, not by every process"
    if trouble != "stop":  # torchrun names the process that ended first, and its exit code
        assert f"exitcode  : {code} " in done.stderr, done.stderr
    assert not (out / "student" / "manifest.json").exists()
    assert main(["distill", *FLAGS, "--plugin", str(plugin), "--out", str(out)]) == 0
    log = (out / "student" / "train.log").read_text()
    assert ("continues after step" in log) == (trouble == "stop"), log
    assert losses(out) == pytest.approx(losses(undisturbed), rel=1e-5)
