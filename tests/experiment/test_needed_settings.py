"""Settings about the needed part that would count for nothing, or claim what was not done, are refused or left out."""

from __future__ import annotations

from pathlib import Path

import pytest

from stillage.cli import main
from stillage.experiment.evaluate_stage import gain_pairs
from stillage.experiment.specs import ALONE, MINIMAL, ModelSpec
from stillage.run.config import ModelConfig, TrainConfig

SEQKD = ["--method", "seqkd", "--data.source", "staff_cards"]


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        (["--audit.attacks", "loss", "loss_needed"], "nobody said where that ends"),
        (
            [
                "--data.needed-until",
                ";",
                "--distill.minimal",
                "true",
                "--student-train.epochs",
                "0",
            ],
            "has to be trained, and no student is",
        ),
    ],
)
def test_what_cannot_count_is_refused_before_anything_is_done(
    flags: list[str], said: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["run", *SEQKD, *flags, "--out", str(tmp_path / "run")]) == 2
    assert said in capsys.readouterr().err and not (tmp_path / "run").exists()


def test_a_gain_is_that_of_students_trained_here_alone() -> None:
    """A reference that is given may differ from the student in anything: their difference is not what distilling gave."""
    given = [ModelSpec(name=name, start=ModelConfig(path="x")) for name in ("student", ALONE)]
    trained = [
        ModelSpec(name=name, start=ModelConfig(), train=TrainConfig(), trained_on="public")
        for name in ("student", ALONE, MINIMAL)
    ]
    assert gain_pairs(given) == []
    assert gain_pairs(trained[:2]) == [("student", ALONE)] and len(gain_pairs(trained)) == 3
