"""A monitor is asked when it is due, heard like a validation, and leaves the training as it was."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace

import torch

from stillage.distill.monitor import Monitor
from stillage.distill.train import train


def test_a_monitor_that_draws_random_numbers_changes_no_weight(
    small: SimpleNamespace, tmp_path: Path
) -> None:
    def careless(model: torch.nn.Module) -> dict[str, float]:
        assert not model.training and not torch.is_grad_enabled()
        return {"drawn": float(torch.rand(3).sum())}

    def weights(folder: Path, monitor: Monitor | None) -> dict[str, torch.Tensor]:
        task = small.task(student=small.model(seed=2, dropout=0.2))
        heard: list[dict[str, object]] = []
        summary = train(task, folder, report=heard.append, monitor=monitor)
        told = [facts for facts in heard if "drawn" in facts]
        lines = map(json.loads, (folder / "metrics.jsonl").read_text().splitlines())
        written = [line for line in lines if "drawn" in line]
        steps = [] if monitor is None else [0, 4, summary.steps]
        assert [line["step"] for line in written] == steps == [facts["step"] for facts in told]
        assert all(facts["total"] == summary.steps for facts in told)
        return small.weights(task.student)

    one = weights(tmp_path / "a", Monitor(measure=careless, every=4))
    other = weights(tmp_path / "b", None)
    assert all(torch.equal(tensor, other[name]) for name, tensor in one.items())


def test_zero_means_after_the_last_step_alone() -> None:
    monitor = Monitor(measure=lambda model: {}, every=0)
    assert not monitor.is_due(5, last=False) and monitor.is_due(5, last=True)
