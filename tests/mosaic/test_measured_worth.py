"""Rho by distance, as `corpus policy` reads it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from stillage.corpus.copy_worth import read_worth
from stillage.mosaic.measured_worth import measured_worth
from stillage.run.folder import write_json


def row(distance: float | None, rho: float | None, **others: object) -> dict[str, Any]:
    usual = {"experiment": "replacement", "attack": "loss", "flags": []}
    return {**usual, "levenshtein": distance, "rho": rho, **others}


def test_the_policy_reads_it(tmp_path: Path) -> None:
    points = [
        row(50.0, 0.1),
        row(4.9, 0.8),
        row(75.0, -0.02),
        row(10.0, 0.6, flags=["not_judged"]),
        row(20.0, 0.5, attack="reference"),
        row(20.0, 0.5, experiment="shuffle"),
        row(None, 0.5),
        row(20.0, None),
    ]
    worth = measured_worth(points, "loss", 100)
    assert worth == {"distance": [0.049, 0.5, 0.75], "rho": [0.8, 0.1, 0.0]}
    write_json(tmp_path / "worth.json", worth)
    read = read_worth(tmp_path / "worth.json")
    assert read.by_model(read.distance_P).tolist() == [[1.0, 0.8, 0.1, 0.0]]


def test_nothing_to_judge() -> None:
    assert measured_worth([row(5.0, 0.5, flags=["not_judged"])], "loss", 100) is None
