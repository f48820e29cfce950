"""A condition from start to tables: resumable at every place, weights gone unless kept."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest

from stillage.errors import ConfigError, Interrupted
from stillage.functional.stats import roc_auc
from stillage.mosaic import measured as measured_module
from stillage.mosaic.canary_reading import ModelReader, members
from stillage.mosaic.measured import ConditionMeasures
from stillage.mosaic.run_condition import ConditionTask, run_condition
from stillage.mosaic.table_columns import ANSWERS, MONITOR, SCORES, table_schema
from stillage.mosaic.train_condition import Passes, Watch
from stillage.run.folder import read_table

TABLES = {"scores": SCORES, "monitor": MONITOR, "answers": ANSWERS}


def task(case: SimpleNamespace, *, keeps_model: bool = False, **asked: object) -> ConditionTask:
    base = ModelReader(model=case.model(case.tokenizer), tokenizer=case.tokenizer)
    attacks = {"attacks": ("loss", "reference"), **asked}
    return ConditionTask(
        start=ModelReader(model=case.model(case.tokenizer), tokenizer=case.tokenizer),
        documents=case.documents,
        passes=Passes(options=case.options, block_tokens=16, seed=5),
        measured=ConditionMeasures(canaries=case.canaries, others={"reference": base}, **attacks),
        monitor_every=10,
        keeps_model=keeps_model,
    )


def tables(folder: Path) -> list[bytes]:
    return [(folder / f"{name}.parquet").read_bytes() for name in TABLES]


def test_members_are_told_apart_and_the_weights_are_gone(
    case: SimpleNamespace, tmp_path: Path
) -> None:
    run_condition(task(case), tmp_path, Watch())
    for name, columns in TABLES.items():
        assert read_table(tmp_path / f"{name}.parquet").schema.equals(table_schema(columns))
    scores = read_table(tmp_path / "scores.parquet").to_pandas()
    for attack in ("loss", "reference"):
        own = scores[scores["attack"] == attack]["score"].to_numpy()
        assert roc_auc(own, members(case.canaries)) > 0.9
    answers = read_table(tmp_path / "answers.parquet").to_pandas().groupby("role")
    mean = answers["edit_similarity"].mean()
    assert mean["member"] > mean["nonmember"]
    assert not any((tmp_path / name).exists() for name in ("model", "best", "checkpoints"))
    before = tables(tmp_path)
    run_condition(task(case), tmp_path, Watch(should_stop=lambda: pytest.fail("trains again")))
    assert tables(tmp_path) == before


def test_it_goes_on_behind_a_training_that_ended(
    case: SimpleNamespace, small: SimpleNamespace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run_condition(task(case), tmp_path / "whole", Watch())
    with pytest.raises(Interrupted):
        run_condition(task(case), tmp_path / "cut", Watch(should_stop=small.stop_after(5)))
    with monkeypatch.context() as killed:
        killed.setattr(measured_module, "recite", lambda *_, **__: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            run_condition(task(case), tmp_path / "cut", Watch())
    assert (tmp_path / "cut" / "scores.parquet").is_file() and (tmp_path / "cut" / "model").is_dir()
    said: list[object] = []
    watch = Watch(should_stop=lambda: pytest.fail("trains again"), report=said.append)
    run_condition(task(case, keeps_model=True), tmp_path / "cut", watch)
    assert tables(tmp_path / "cut") == tables(tmp_path / "whole") and not said
    assert (tmp_path / "cut" / "model" / "config.json").is_file()


def test_released_scores_and_no_recital_where_asked_for(
    case: SimpleNamespace, tmp_path: Path
) -> None:
    few = task(case, attacks=(), recites=False)
    run_condition(few, tmp_path, Watch())
    found = read_table(tmp_path / "scores.parquet")["attack"].unique().to_pylist()
    assert found == ["loss", "ratio", "lowercase", "zlib", "minkprob"]
    assert not (tmp_path / "answers.parquet").exists()


def test_the_model_that_is_trained_is_no_reference_of_its_own(
    case: SimpleNamespace, tmp_path: Path
) -> None:
    asked = task(case)
    own = replace(asked.measured, others={"reference": asked.start})
    with pytest.raises(AssertionError, match="trained in place"):
        run_condition(replace(asked, measured=own), tmp_path, Watch())


def test_an_attack_that_cannot_be_had_stops_it_before_the_training(
    case: SimpleNamespace, tmp_path: Path
) -> None:
    with pytest.raises(ConfigError, match="lira_online cannot score"):
        run_condition(task(case, attacks=("lira_online",)), tmp_path, Watch())
    assert not (tmp_path / "metrics.jsonl").exists()
