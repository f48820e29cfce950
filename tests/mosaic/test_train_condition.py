"""Training on documents: the canaries are watched, which changes nothing, and a stop costs nothing."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from stillage.distill.monitor import Monitor
from stillage.errors import Interrupted
from stillage.functional.stats import roc_auc
from stillage.mosaic.canary_reading import ModelReader
from stillage.mosaic.scoring import ScoreSettings, score_canaries
from stillage.mosaic.train_condition import (
    MONITORED,
    Passes,
    Watch,
    canary_monitor,
    monitor_table,
    pretraining,
    train_on_documents,
)

DROPOUT = 0.2  # so that train mode, and the noise of a step, are seen in the weights


def trained(
    case: SimpleNamespace, folder: Path, monitor: Monitor | None, watch: Watch | None = None
) -> ModelReader:
    start = ModelReader(model=case.model(case.tokenizer, dropout=DROPOUT), tokenizer=case.tokenizer)
    passes = Passes(options=case.options, block_tokens=16, seed=5)
    train_on_documents(start, case.documents, passes, folder, watch or Watch(), monitor)
    return start


def same_weights(one: ModelReader, other: ModelReader) -> bool:
    pairs = zip(one.model.state_dict().values(), other.model.state_dict().values(), strict=True)
    return all(torch.equal(a, b) for a, b in pairs)


def test_the_monitor_is_heard_and_changes_nothing(case: SimpleNamespace, tmp_path: Path) -> None:
    heard: list[dict[str, object]] = []
    watched = trained(
        case, tmp_path / "a", canary_monitor(case.canaries, 10), Watch(report=heard.append)
    )
    assert same_weights(watched, trained(case, tmp_path / "b", None))
    found = monitor_table(tmp_path / "a").to_pylist()
    steps = json.loads((tmp_path / "a" / "summary.json").read_text())["steps"]
    assert [row["step"] for row in found] == [*range(0, steps, 10), steps]
    told = [(facts["step"], facts[MONITORED]) for facts in heard if MONITORED in facts]
    assert told == [(row["step"], row["auc"]) for row in found]
    scores = score_canaries(watched, case.canaries, ["loss"], ScoreSettings(), {})
    is_member = np.array([role == "member" for role in scores["role"].to_pylist()])
    assert found[-1]["auc"] == roc_auc(np.array(scores["score"].to_pylist()), is_member)
    assert found[-1]["auc"] > 0.9  # it learned the members
    assert monitor_table(tmp_path / "b").num_rows == 0


def test_a_stopped_training_monitors_and_trains_as_one_that_was_not(
    case: SimpleNamespace, small: SimpleNamespace, tmp_path: Path
) -> None:
    monitor = canary_monitor(case.canaries, 7)
    whole = trained(case, tmp_path / "whole", monitor)
    for steps in (10, 7):
        with pytest.raises(Interrupted):
            trained(case, tmp_path / "cut", monitor, Watch(should_stop=small.stop_after(steps)))
    assert same_weights(whole, trained(case, tmp_path / "cut", monitor))
    lines = [(tmp_path / name / "metrics.jsonl").read_text() for name in ("whole", "cut")]
    assert lines[0] == lines[1] and MONITORED in lines[0]


def test_pretraining_has_its_own_budget_and_the_rest_of_the_options(case: SimpleNamespace) -> None:
    options = pretraining(case.options, epochs=2.0, lr_peak=1e-3, batch_size=3)
    assert (options.epochs, options.lr_peak, options.batch_size) == (2.0, 1e-3, 3)
    assert options.weight_decay == case.options.weight_decay
