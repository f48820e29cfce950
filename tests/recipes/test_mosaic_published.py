"""The configs of the published study are its presets, swept; every one plans without a network."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import pytest

from stillage.cli import main
from stillage.cli.command_line import read_settings
from stillage.corpus.copy_worth import PUBLISHED, REPLACED
from stillage.mosaic.asked import asked_experiments, conditions_of
from stillage.run.config import Config
from stillage.run.flags import Flat
from stillage.run.parse import build

RECIPE = Path(__file__).parents[2] / "recipes" / "mosaic_published"
TRAININGS = {"gpt_neo_1.3b": 157, "gemma_2b": 18, "phi_2": 18, "llama_3.2_1b": 18}
COMMIT = "0123456789abcdef0123456789abcdef01234567"
REVISIONS = [
    *("--teacher.revision", COMMIT, "--mosaic.books-revision", COMMIT),
    *("--mosaic.masked-revision", COMMIT, "--mosaic.canaries.revision", COMMIT),
    *("--audit.reference-revision", COMMIT),
]


def point_of(settings: Flat) -> Config:
    return build({name: value for name, value in settings.items() if "sweep" not in name})


@pytest.mark.parametrize("name", TRAININGS)
def test_a_config_is_its_preset_five_times(name: str) -> None:
    settings = read_settings("run", [str(RECIPE / f"{name}.yaml")])
    assert settings["sweep.seed"] == ["1", "2", "3", "4", "5"]
    config, preset = point_of(settings), build(read_settings("run", [f"mosaic_{name}"]))
    same = replace(preset.mosaic, experiments=config.mosaic.experiments, params={})
    assert replace(config.mosaic, params={}) == same
    assert replace(config, out=preset.out, seed=42, mosaic=preset.mosaic) == preset
    asked = asked_experiments(config)
    assert len(conditions_of(asked)) == TRAININGS[name]
    assert {one.copies for one in asked} == {10}
    grids = {one.experiment.name: {point.x for point in one.points} for one in asked}
    assert grids["replacement"] == {*REPLACED} and grids["exact_copies"] == {*range(1, 11)}
    for experiment in ("top_k", "insertion", "shuffle"):
        figure = next((one for one in asked if one.experiment.name == experiment), None)
        if figure is not None:  # every published value has its point here
            published = {(series, x) for series, x, _ in figure.experiment.published}
            assert published <= {(point.series, point.x) for point in figure.points}


@pytest.mark.parametrize("name", TRAININGS)
def test_a_config_plans_with_commits_and_without_a_network(
    name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = [str(RECIPE / f"{name}.yaml"), "--sweep.seed", "1", "2", "--out", str(tmp_path / "r")]
    assert main(["mosaic", "run", *words, *REVISIONS, "--dry-run"]) == 0
    shown = capsys.readouterr().out
    assert "replace_75_n10" in shown and "exact_10" in shown
    assert not (tmp_path / "r").exists()
    assert main(["mosaic", "run", *words, "--dry-run"]) == 2  # no commit stands in a config
    assert "revision" in capsys.readouterr().err


def test_the_small_one_plans_with_the_folders_that_it_asks_for(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for folder in ("smollm2", "books"):
        (tmp_path / folder).mkdir()
    for file in ("config.json", "model.safetensors", "tokenizer.json", "tokenizer_config.json"):
        (tmp_path / "smollm2" / file).write_text("{}")
    for book in ("one", "two"):
        (tmp_path / "books" / f"{book}.txt").write_text(book)
    config = str(RECIPE / "smollm2.yaml")
    places = ["--teacher.path", str(tmp_path / "smollm2"), "--out", str(tmp_path / "r")]
    books = ["--mosaic.books", str(tmp_path / "books")]
    assert main(["mosaic", "run", config, *places, *books, "--dry-run"]) == 0
    shown = capsys.readouterr().out
    trained = {*re.findall(r"\b(?:exact_\d+|replace_\d+_n10)\b", shown)}
    assert len(trained) == 15 and "base" not in shown.split()
    assert main(["mosaic", "run", config, *places, "--dry-run"]) == 2
    assert "--mosaic.books" in capsys.readouterr().err


def test_the_readme_shows_the_published_numbers() -> None:
    text = (RECIPE / "README.md").read_text(encoding="utf-8")
    for values in PUBLISHED.values():
        row = " | ".join(f"{value:.3f}".removeprefix("0") for value in values)
        assert row in text, row
