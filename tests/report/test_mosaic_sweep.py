"""The page of a sweep over seeds: means of every point, and what is not averaged."""

from __future__ import annotations

from pathlib import Path

from fixture_mosaic import build

from stillage.report.mosaic_sweep import is_mosaic_run, report_mosaic_sweep
from stillage.run.folder import read_table


def sweep(out: Path, seeds: int, **told: object) -> list[str]:
    names = [f"seed={seed}" for seed in range(1, seeds + 1)]
    for seed, name in enumerate(names, 1):
        build(out / name, told={"seed": seed, **told})
    return names


def test_the_mean_of_three_seeds(tmp_path: Path) -> None:
    names = sweep(tmp_path, 3)
    said = report_mosaic_sweep(tmp_path, names, {"seed=4": "the disk was full"})
    assert "means over 3 seeds" in said[0]
    assert said[1] == "not averaged: seed=4 (the disk was full)"
    means = read_table(tmp_path / "report" / "means.parquet")
    assert set(means["seeds"].to_pylist()) == {3}
    page = (tmp_path / "report" / "report.html").read_text(encoding="utf-8")
    assert "Tokens replaced" in page
    assert "../seed%3D2/report/report.html" in page
    text = (tmp_path / "report" / "means.md").read_text(encoding="utf-8")
    assert "## Tokens replaced" in text
    assert "| published |" in text
    assert "| 0.65 |" in text  # of the ratio attack at 10 tokens


def test_other_experiments_are_not_averaged(tmp_path: Path) -> None:
    build(tmp_path / "a", told={"seed": 1})
    build(tmp_path / "b", told={"seed": 2, "model": "another"})
    said = report_mosaic_sweep(tmp_path, ["a", "b"], {})
    assert "not averaged" in said[0]
    assert "model differs" in said[0]
    assert not (tmp_path / "report" / "means.parquet").exists()


def test_a_run_of_another_kind(tmp_path: Path) -> None:
    assert not is_mosaic_run(tmp_path)
    build(tmp_path / "a", told={"seed": 1})
    assert is_mosaic_run(tmp_path / "a")
