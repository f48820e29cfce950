"""A training that ends by its trained tokens: methods whose texts differ in length train equally much."""

from __future__ import annotations

import json
import re
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

from stillage.errors import ConfigError, Interrupted
from stillage.run.config import Config, TrainConfig
from stillage.run.folder import read_table
from stillage.run.ranges import check_numbers

ANSWERS = {"max_new_tokens": 4}


def steps(folder: Path) -> list[dict[str, float]]:
    rows = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    return [row for row in rows if "loss" in row]


@pytest.mark.parametrize(
    ("method", "settings"),
    [("sft", {}), ("kd", {}), ("imitkd", ANSWERS), ("gkd", ANSWERS), ("seqkd", ANSWERS)],
)
def test_it_ends_with_the_step_that_reaches_the_budget(
    small: SimpleNamespace, tmp_path: Path, method: str, settings: dict[str, int]
) -> None:
    budget = 250
    summary, _ = small.train(tmp_path, method=method, settings=settings, max_trained_tokens=budget)
    made = steps(tmp_path)
    assert summary.steps == len(made) > 2
    assert (
        summary.trained_tokens
        == sum(row["tokens"] for row in made)
        >= budget
        > summary.trained_tokens - made[-1]["tokens"]
    )
    assert summary.validation_loss is not None  # validated at its end
    rates = [row["lr"] for row in made]
    top = rates.index(max(rates))
    assert (
        top <= 2
        and rates[top:] == sorted(rates[top:], reverse=True)
        and rates[-1] < 0.3 * max(rates)
    )  # so many tokens
    assert (
        sum(read_table(tmp_path / "provenance.parquet").column("times").to_pylist())
        >= summary.steps
    )


def test_it_continues_exactly_where_it_stopped(small: SimpleNamespace, tmp_path: Path) -> None:
    wish = {"method": "imitkd", "settings": ANSWERS, "max_trained_tokens": 250}
    whole, student = small.train(tmp_path / "a", **wish)
    with pytest.raises(Interrupted):
        small.train(tmp_path / "b", **wish, should_stop=small.stop_after(3))
    again, resumed = small.train(tmp_path / "b", **wish)
    assert (again.steps, again.trained_tokens) == (whole.steps, whole.trained_tokens)
    assert (tmp_path / "a" / "metrics.jsonl").read_bytes() == (
        tmp_path / "b" / "metrics.jsonl"
    ).read_bytes()
    weights = small.weights(resumed)
    assert all(
        torch.equal(weights[name], tensor) for name, tensor in small.weights(student).items()
    )


def test_a_stop_names_a_step_that_can_be(small: SimpleNamespace, tmp_path: Path) -> None:
    """Short texts need more steps than the records' own would: the guess made before the first step is no end."""
    wish = {"method": "imitkd", "settings": {"max_new_tokens": 1}, "max_trained_tokens": 100}
    whole, _ = small.train(tmp_path / "a", **wish)
    with pytest.raises(Interrupted) as caught:
        small.train(tmp_path / "b", **wish, should_stop=small.stop_after(whole.steps - 1))
    found = re.search(r"after step (\d+) of (\d+)", str(caught.value))
    assert found is not None and int(found[1]) < int(found[2])


def test_two_budgets_are_refused() -> None:
    both = TrainConfig(max_steps=3, max_trained_tokens=100)
    with pytest.raises(ConfigError, match="so many steps or after so many tokens"):
        check_numbers(Config(student_train=both))
