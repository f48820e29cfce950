"""Means of mosaic runs over seeds: t intervals, what is missing, what must not be averaged."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path

import fixture_mosaic
import numpy as np
import pytest
from fixture_mosaic import ATTACKS, Row, about, point
from scipy.stats import t

from stillage.errors import DataError
from stillage.report.mosaic_means import markdown, mean_table


def a_run(folder: Path, rows: Sequence[Row], **told: object) -> Path:
    """A folder with points alone."""
    heads = {"experiments": fixture_mosaic.experiments(), "run": {**about(), **told}}
    path = folder / "mosaic" / "points.parquet"
    fixture_mosaic.write(path, fixture_mosaic.POINTS, rows, heads)
    return folder


def three(folder: Path) -> list[Path]:
    """Three seeds; the last has no rho at 50 and is flagged there."""
    runs = list[Path]()
    for seed, rho in enumerate((0.6, 0.68, 0.61)):
        rows = [
            point("replacement", attack, x, rho * share)
            for attack in ATTACKS
            for x, share in ((10, 1.0), (50, 0.3))
        ]
        if seed == 2:
            rows = [
                {**row, "rho": None, "flags": ["flat"]} if row["x"] == 50 else row for row in rows
            ]
        runs.append(a_run(folder / f"seed{seed}", rows, seed=seed, device=f"machine {seed}"))
    return runs


def test_means_have_t_intervals_over_seeds(tmp_path: Path) -> None:
    table = mean_table(three(tmp_path))
    assert len(table) == 2 * len(ATTACKS)
    first, second = table.to_pylist()[:2]
    values = np.array([0.6, 0.68, 0.61])
    half = t.ppf(0.975, 2) * values.std(ddof=1) / math.sqrt(3)
    assert [first["rho_low"], first["rho"], first["rho_high"]] == pytest.approx(
        [values.mean() - half, values.mean(), values.mean() + half]
    )
    assert (first["seeds"], first["missing"], first["flagged"]) == (3, 0, 0)
    assert (second["seeds"], second["missing"], second["flagged"]) == (3, 1, 1)
    assert second["rho"] == pytest.approx(0.3 * 0.64) and math.isnan(second["bleu"])


def test_they_are_written_for_a_recipe(tmp_path: Path) -> None:
    runs = three(tmp_path)
    lines = markdown(mean_table(runs), experiment="replacement", attack="loss").splitlines()
    assert lines[0] == "| at | AUC | rho, as published | rho, isotonic | seeds |"
    assert lines[1] == "| --- | --- | --- | --- | --- |"
    assert "| 0.63 [0.52, 0.74] |" in lines[2] and lines[2].startswith("| 10 |")
    assert lines[3].endswith("| 3, 1 without rho, 1 flagged |") and len(lines) == 4
    one = markdown(mean_table(runs[:1]), experiment="replacement", attack="loss")
    assert "| 0.60 |" in one and "[" not in one
    assert markdown(mean_table(runs), experiment="insertion", attack="loss") == ""


def test_what_has_no_mean_is_refused(tmp_path: Path) -> None:
    runs = three(tmp_path)
    with pytest.raises(DataError, match="There is no run to average"):
        mean_table([])
    with pytest.raises(DataError, match="the same seed"):
        mean_table([runs[0], runs[0]])
    rows = [point("replacement", "loss", 10, 0.5)]
    other = a_run(tmp_path / "other", rows, seed=9, canaries={"members": 50, "length": 100})
    with pytest.raises(DataError, match="canaries differs"):
        mean_table([*runs, other])
    with pytest.raises(DataError, match="holds no mosaic run"):
        mean_table([tmp_path])
