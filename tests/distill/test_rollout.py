"""What every rollout promises: limits of length and ids, settings, packing, precision."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING

import numpy as np
import pytest
import torch

from stillage.distill import loop as loop_module
from stillage.distill.methods import METHODS
from stillage.distill.settings import params_from, setting_fields
from stillage.errors import CheckpointError, ConfigError, Interrupted
from stillage.models.load import load_model
from stillage.run.config import ModelConfig
from stillage.types import DataRollout, Example

if TYPE_CHECKING:
    pass

EOS = 0


def kept_texts(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, list[Example]]]:
    """(source, texts) of every step of the trainings that follow."""
    found: list[tuple[str, list[Example]]] = []
    original = loop_module.Loop.backward

    def backward(self: loop_module.Loop, examples: list[Example], *rest: int) -> object:
        found.append((self.texts.source, examples))
        return original(self, examples, *rest)

    monkeypatch.setattr(loop_module.Loop, "backward", backward)
    return found


@pytest.mark.parametrize("method", ["gkd", "minillm", "seqkd"])
def test_no_text_is_longer_than_what_every_model_can_read(
    small: SimpleNamespace, tmp_path: Path, method: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The teacher's context is 16 tokens, the student's 32; and the other way round."""
    found = kept_texts(monkeypatch)
    short = load_model(
        ModelConfig(layers=1, width=16, heads=2, context=16), vocab_size=small.VOCAB, seed=3
    )
    examples = [example for example in small.examples(30) if len(example.ids_T) <= 14]
    for name, student, teacher in (
        ("a", small.model(seed=2), short),
        ("b", short, small.model(seed=1, width=48)),
    ):
        small.train(
            tmp_path / name,
            method=method,
            student=student,
            teacher=teacher,
            examples=examples,
            validation=[],
            settings={"max_new_tokens": 40},
            max_steps=2,
        )
    assert all(len(text.ids_T) <= 16 for _, texts in found for text in texts)


@pytest.mark.parametrize(
    ("method", "settings"),
    [
        ("gkd", {}),
        ("imitkd", {"data_rate_end": 0.0}),
        ("distillm", {"init_threshold": 1.0}),
        ("minillm", {"num_rollouts": 8, "inner_epochs": 1}),
        ("seqkd", {"decoding": "sampling", "kd_weight": 1.0}),
        ("seqkd", {"decoding": "beam", "kd_weight": 1.0}),
    ],
)
def test_no_text_has_an_id_that_a_model_cannot_read(
    small: SimpleNamespace,
    tmp_path: Path,
    method: str,
    settings: dict[str, object],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The head of one model is padded to 90 rows, and the padding is likely; the other has 61. And the other way round."""
    found = kept_texts(monkeypatch)
    padded = load_model(ModelConfig(layers=1, width=16, heads=2, context=32), vocab_size=90, seed=3)
    with torch.no_grad():
        padded.get_input_embeddings().weight[small.VOCAB :] *= 20
    for name, student, teacher in (
        ("a", small.model(seed=2), padded),
        ("b", padded, small.model(seed=1, width=48)),
    ):
        summary, _ = small.train(
            tmp_path / name,
            method=method,
            settings={"max_new_tokens": 6, **settings},
            student=student,
            teacher=teacher,
            max_steps=2,
        )
        assert summary.steps == 2
    assert all(int(text.ids_T.max()) < small.VOCAB for _, texts in found for text in texts)


def test_training_on_texts_of_one_token(
    small: SimpleNamespace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = kept_texts(monkeypatch)
    summary, _ = small.train(tmp_path, method="gkd", settings={"max_new_tokens": 1}, max_steps=3)
    assert summary.steps == 3 and summary.trained_tokens == sum(len(texts) for _, texts in found)


@pytest.mark.parametrize(
    "method",
    [name for name, method in METHODS.items() if method.rollout(method.params()) != DataRollout()],
)
@pytest.mark.parametrize(
    ("name", "value"),
    [("max_new_tokens", "0"), ("top_p", "0"), ("top_k", "-1"), ("sampling_temperature", "-1")],
)
def test_settings_that_write_no_text_are_refused(method: str, name: str, value: str) -> None:
    if name not in setting_fields(METHODS[method].params):
        assert method == "minillm"
        return
    with pytest.raises(ConfigError, match=name):
        params_from(METHODS[method], {name: value})


def test_sampling_settings_of_a_search_are_refused() -> None:
    with pytest.raises(ConfigError, match="top_p means nothing here"):
        params_from(METHODS["seqkd"], {"top_p": "0.9"})


def test_student_initialisation_keeps_the_best_of_three_epochs(
    small: SimpleNamespace, tmp_path: Path
) -> None:
    summary, _ = small.train(tmp_path, method="init", epochs=30, lr_peak=0.05)
    assert summary.epochs == 3 and summary.model_step == summary.best_step
    with pytest.raises(ConfigError, match="best weights"):
        small.train(tmp_path / "blind", method="init", validation=[])


def test_a_checkpoint_of_another_method_or_batch_size_is_refused(
    small: SimpleNamespace, tmp_path: Path
) -> None:
    settings = {"max_new_tokens": 4, "init_threshold": 0.9}
    with pytest.raises(Interrupted):
        small.train(tmp_path, method="distillm", settings=settings, should_stop=small.stop_after(2))
    with pytest.raises(CheckpointError, match="method: distillm there, gkd here"):
        small.train(tmp_path, method="gkd", settings={"max_new_tokens": 4})
    with pytest.raises(CheckpointError, match="batch_size: 8 there, 4 here"):
        small.train(tmp_path, method="distillm", settings=settings, batch_size=4)
    with pytest.raises(CheckpointError, match="init_threshold"):
        small.train(tmp_path, method="distillm", settings={**settings, "init_threshold": 0.5})


@pytest.mark.parametrize("method", ["gkd", "minillm"])
def test_written_texts_in_shared_rows_change_nothing(
    small: SimpleNamespace, tmp_path: Path, method: str
) -> None:
    lines = []
    for packing in (False, True):
        folder = tmp_path / str(packing)
        small.train(
            folder, method=method, settings={"max_new_tokens": 6}, max_steps=4, packing=packing
        )
        steps = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
        lines.append(
            [[step["loss"], step["tokens"], step["grad_norm"]] for step in steps if "loss" in step]
        )
    assert np.allclose(lines[0], lines[1], rtol=1e-5, atol=1e-7)


@pytest.mark.parametrize("method", ["gkd", "minillm"])
def test_half_precision_writes_and_trains(
    small: SimpleNamespace, tmp_path: Path, method: str
) -> None:
    summary, _ = small.train(
        tmp_path, method=method, settings={"max_new_tokens": 6}, max_steps=3, precision="bf16"
    )
    assert summary.steps == 3 and summary.validation_loss is not None
