"""A run that is killed or stopped ends, when started again, in the same results as one left alone."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from stillage.cli import main
from stillage.run.results import read_results

TINY = [
    "quickstart", "--data.people", "40", "--tokenizer.vocab-size", "400",
    "--teacher.layers", "1", "--teacher.width", "32", "--teacher.heads", "2", "--teacher-train.epochs", "3",
    "--student.layers", "1", "--student.width", "32", "--student.heads", "2", "--student-train.epochs", "2",
    "--generate.max-new-tokens", "8", "--generate.records", "4", "--student-train.checkpoint-every-s", "0.2",
    "--teacher-train.checkpoint-every-s", "0.2",
]  # fmt: skip


def start(out: Path) -> subprocess.Popen[bytes]:
    return subprocess.Popen([sys.executable, "-m", "stillage", *TINY, "--out", str(out)], stderr=subprocess.PIPE)


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, float]:
    out = tmp_path_factory.mktemp("undisturbed") / "run"
    begun = time.monotonic()
    process = start(out)
    assert process.wait() == 0, process.stderr.read().decode() if process.stderr else ""
    return out, time.monotonic() - begun


def results_bytes(out: Path) -> bytes:
    return (out / "report" / "results.parquet").read_bytes()


def test_two_runs_with_one_seed_are_byte_identical_and_seeds_matter(
    undisturbed: tuple[Path, float], tmp_path: Path
) -> None:
    assert main([*TINY, "--out", str(tmp_path / "again")]) == 0
    assert results_bytes(tmp_path / "again") == results_bytes(undisturbed[0])
    assert (tmp_path / "again" / "report" / "report.html").is_file()
    names = {result.metric for result in read_results(tmp_path / "again" / "report" / "results.parquet")}
    assert {"auc", "tpr_at_fpr", "achieved_fpr", "extraction_rate", "rouge_l", "exact_match", "perplexity"} <= names


def test_sigkill_at_random_moments_ends_in_the_same_results(undisturbed: tuple[Path, float], tmp_path: Path) -> None:
    out, whole_s = undisturbed
    draws = random.Random(0)
    for _ in range(3):
        process = start(tmp_path / "killed")
        time.sleep(draws.uniform(0.3, 0.7) * whole_s)
        process.kill()
        process.wait()
    process = start(tmp_path / "killed")
    assert process.wait() == 0
    assert results_bytes(tmp_path / "killed") == results_bytes(out)


@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 75), (signal.SIGINT, 130)])
def test_a_signal_ends_with_its_exit_code_and_the_run_continues(
    number: int, code: int, undisturbed: tuple[Path, float], tmp_path: Path
) -> None:
    out, whole_s = undisturbed
    process = start(tmp_path / "stopped")
    time.sleep(0.6 * whole_s)
    os.kill(process.pid, number)
    assert process.wait(timeout=30) == code
    assert main([*TINY, "--out", str(tmp_path / "stopped")]) == 0
    assert results_bytes(tmp_path / "stopped") == results_bytes(out)


def test_one_changed_field_runs_only_what_depends_on_it(
    undisturbed: tuple[Path, float], capsys: pytest.CaptureFixture[str]
) -> None:
    out, _ = undisturbed
    assert main([*TINY, "--out", str(out), "--audit.fprs", "0.2", "--dry-run"]) == 0
    lines = {line.split()[1]: line.split()[0] for line in capsys.readouterr().out.splitlines()}
    assert {name for name, what in lines.items() if what == "run"} == {"audit", "report"}
