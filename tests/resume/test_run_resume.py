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

TINY = (
    "run biographies --data.people 40 --tokenizer.vocab-size 400 --teacher.layers 1 "
    "--teacher.width 32 --teacher.heads 2 --teacher-train.epochs 3 --student.layers 1 "
    "--student.width 32 --student.heads 2 --student-train.epochs 2 "
    "--generate.max-new-tokens 8 --generate.records 4 "
    "--student-train.checkpoint-every-s 0.2 --teacher-train.checkpoint-every-s 0.2"
).split()


SIDE_BY_SIDE = [*TINY, "--jobs", "2"]  # children, each of which starts Python anew
IN_TURN = [*TINY, "--jobs", "1"]  # the same numbers


def start(out: Path) -> subprocess.Popen[bytes]:
    return subprocess.Popen([sys.executable, "-m", "stillage", *SIDE_BY_SIDE, "--out", str(out)])


def wait_for_stages(process: subprocess.Popen[bytes], out: Path, finished: int) -> None:
    """Return when that many stages are finished (or the process has ended): a moment no load of the machine can move."""
    while process.poll() is None and len(list(out.glob("*/manifest.json"))) < finished:
        time.sleep(0.005)


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("undisturbed") / "run"
    assert main([*IN_TURN, "--out", str(out)]) == 0
    return out


def results_bytes(out: Path) -> bytes:
    return (out / "report" / "results.parquet").read_bytes()


def test_two_runs_with_one_seed_are_byte_identical_and_seeds_matter(
    undisturbed: Path, tmp_path: Path
) -> None:
    assert main([*SIDE_BY_SIDE, "--out", str(tmp_path / "again")]) == 0
    assert results_bytes(tmp_path / "again") == results_bytes(undisturbed)
    assert (tmp_path / "again" / "report" / "report.html").is_file()
    names = {
        result.metric for result in read_results(tmp_path / "again" / "report" / "results.parquet")
    }
    assert {
        "auc",
        "tpr_at_fpr",
        "achieved_fpr",
        "extraction_rate",
        "rouge_l",
        "exact_match",
        "perplexity",
    } <= names


def test_sigkill_at_random_moments_ends_in_the_same_results(
    undisturbed: Path, tmp_path: Path
) -> None:
    out, draws = tmp_path / "killed", random.Random(0)
    for finished in (1, 3, 6):
        process = start(out)
        wait_for_stages(process, out, finished)
        time.sleep(draws.uniform(0, 0.5))
        process.kill()
        process.wait()
    assert main([*IN_TURN, "--out", str(out)]) == 0
    assert results_bytes(out) == results_bytes(undisturbed)


def test_a_signal_ends_with_its_exit_code_and_the_run_continues(
    undisturbed: Path, tmp_path: Path
) -> None:
    out = tmp_path / "stopped"
    for finished, number, code in ((2, signal.SIGINT, 130), (5, signal.SIGTERM, 75)):
        process = start(out)
        wait_for_stages(
            process, out, finished
        )  # far from the end, and past the imports: the handlers stand
        os.kill(process.pid, number)
        assert process.wait(timeout=300) == code
    assert main([*IN_TURN, "--out", str(out)]) == 0
    assert results_bytes(out) == results_bytes(undisturbed)


def test_one_changed_field_runs_only_what_depends_on_it(
    undisturbed: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert (
        main(
            [
                *IN_TURN,
                "--out",
                str(undisturbed),
                "--audit.fprs",
                "0.2",
                "--dry-run",
                "--accept-changes",
            ]
        )
        == 0
    )
    lines = {line.split()[1]: line.split()[0] for line in capsys.readouterr().out.splitlines()}
    again = {name for name, what in lines.items() if what == "run"}
    assert again == {"audit", "signal", "report"}  # signal reads the audit's scores
