"""Recipes of the corpus engine: every command is understood; the tiny one finds what was planted."""

from __future__ import annotations

import csv
import importlib
import json
import os
import runpy
import shlex
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from stillage.cli.paths import split_at_flags
from stillage.run.parse import typed

ROOT = Path(__file__).parents[2]
RUN = ROOT / "recipes" / "slimpajama" / "run.py"
BOOKS = ROOT / "recipes" / "corpus_small" / "run.sh"


def said(words: list[str], folder: Path, **settings: str) -> str:
    """What a script prints."""
    environment = {**os.environ, "OMP_NUM_THREADS": "1", **settings}
    done = subprocess.run(
        words, cwd=folder, env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def understood(lines: list[str]) -> list[str]:
    """The actions of printed commands, each read with its own settings."""
    actions = []
    for line in lines:
        program, *words = shlex.split(line)
        if program == "python":
            assert (ROOT / words[0]).is_file()
            actions.append(Path(words[0]).name)
            continue
        assert (program, words[0]) == ("stillage", "corpus")
        module = importlib.import_module(f"stillage.cli.corpus_{words[1]}")
        places, flags = split_at_flags(words[2:])
        assert len(places) == len(module.NAMES)
        typed(module.SETTINGS, flags, "stillage")
        actions.append(words[1])
    return actions


CHAIN = ["tokenize", "part.py", "index", "targets", "scan", "choose.py", "scan", "report"]


def test_slimpajama_shows_every_command_without_data(tmp_path: Path) -> None:
    lines = said([sys.executable, str(RUN), "--dry-run"], tmp_path).splitlines()
    assert understood(lines) == CHAIN
    shown = "\n".join(lines)
    for part in (
        "--counts 5 50 500 --tolerance 0.1 --per-count 10000 --length 100 --unique 50",
        "--totals 100 1000 10000 --tolerance 0.01 --each 100",
        "--max-distance 50 --metric both --sample 0.05",
        "--share 0.05",
    ):
        assert part in shown
    assert list(tmp_path.iterdir()) == []


def test_the_tiny_one_and_the_books_show_theirs(tmp_path: Path) -> None:
    lines = said([sys.executable, str(RUN), "--dry-run", "--tiny"], tmp_path).splitlines()
    assert understood(lines) == ["tiny.py", *CHAIN[:-1], "index", "policy", "report"]
    shown = said(["bash", str(BOOKS), ".", "gpt2"], tmp_path, DRY_RUN="1").splitlines()
    actions = understood([line.removeprefix("$ ") for line in shown])
    assert actions == ["tokenize", "index", "repeats", "targets", "scan", "policy", "report"]
    assert len((BOOKS.parent / "SHA256SUMS").read_text().splitlines()) == 8


def test_a_script_is_found_from_any_folder_and_another_sample_is_not_there_already(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    study = runpy.run_path(str(RUN))
    called: list[list[str]] = []
    done = subprocess.CompletedProcess([], 0)
    monkeypatch.setattr(subprocess, "run", lambda words, check: called.append(words) or done)
    steps = list(study["steps"](study["TINY"], "train", "t.json", tmp_path, 0.05))
    for step in steps:
        step.call()
    scripts = [words[1] for words in called if words[1] != "-m"]
    assert len(scripts) == 2 and all(Path(script).is_absolute() for script in scripts)
    again = [step.words[2] for step in steps if step.made is None]
    assert again == ["index", "scan", "index", "report"]


@pytest.mark.slow
def test_the_tiny_one_finds_what_was_planted(tmp_path: Path) -> None:
    work = tmp_path / "work"
    said([sys.executable, str(RUN), "--tiny", "--work", str(work), "--sample", "1"], ROOT)
    planted = json.loads((work / "planted.json").read_text())
    with (work / "scan" / "report" / "near_counts.csv").open(newline="") as file:
        rows = [row for row in csv.DictReader(file) if row["rule"] == "none"]
    for row in (row for row in rows if row["metric"] == "hamming" and row["bucket"].isdecimal()):
        of_bucket = [one for one in planted if one["total"] == int(row["bucket"])]
        near = [
            sum(changed <= int(row["distance"]) for changed in one["changed"]) for one in of_bucket
        ]
        exact = int(row["bucket"]) - 1
        assert float(row["mean"]) == pytest.approx(
            np.mean(near) if row["distance"] > "0" else exact
        )
    assert "there already" in said(
        [sys.executable, str(RUN), "--tiny", "--work", str(work), "--sample", "1"], ROOT
    )
