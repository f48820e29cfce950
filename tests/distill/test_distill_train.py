from __future__ import annotations

import dataclasses
import errno
import hashlib
import json
import logging
from collections import Counter
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from stillage.distill import loop as loop_module
from stillage.distill.batches import records_of_step
from stillage.distill.methods import METHODS
from stillage.errors import (
    CapabilityError,
    CheckpointError,
    ConfigError,
    DataError,
    Interrupted,
    ModelError,
    UserError,
)
from stillage.models.load import load_model
from stillage.run.config import ModelConfig
from stillage.run.folder import read_json, read_table
from stillage.types import Example, Step


def lines(folder: Path) -> list[dict[str, float]]:
    return [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]


def test_a_training_learns_and_leaves_a_complete_folder(
    small: SimpleNamespace, tmp_path: Path
) -> None:
    from transformers import AutoModelForCausalLM, AutoTokenizer

    summary, student = small.train(tmp_path, epochs=6)
    assert {path.name for path in tmp_path.iterdir()} >= {
        "model",
        "metrics.jsonl",
        "train.log",
        "provenance.parquet",
        "summary.json",
    }
    assert not (tmp_path / "checkpoints").exists()
    again = AutoModelForCausalLM.from_pretrained(tmp_path / "model")
    assert all(
        torch.equal(small.weights(again)[name], tensor)
        for name, tensor in small.weights(student).items()
    )
    assert AutoTokenizer.from_pretrained(tmp_path / "model").eos_token == "<eos>"
    steps = [line for line in lines(tmp_path) if "loss" in line]
    assert (
        [line["step"] for line in steps] == list(range(1, summary.steps + 1)) == list(range(1, 19))
    )
    assert steps[-1]["loss"] < 0.9 * steps[0]["loss"]
    assert (
        summary.trained_tokens
        == sum(line["tokens"] for line in steps)
        == 6 * sum(e.response_T.sum() for e in small.examples(20))
    )
    written = read_json(tmp_path / "summary.json")
    assert {
        name: value for name, value in written.items() if name != "identity"
    } == dataclasses.asdict(summary)


def test_validation_is_the_token_weighted_cross_entropy_of_the_gold_labels(
    small: SimpleNamespace, tmp_path: Path
) -> None:
    """Oracle: transformers' own loss per record, weighted by its tokens."""
    summary, student = small.train(tmp_path, method="kd")
    total = count = 0.0
    for example in small.examples(6, name="v"):
        ids = torch.tensor(example.ids_T, dtype=torch.long)[None]
        labels = torch.where(torch.tensor(example.response_T), ids[0], -100)[None]
        tokens = int(example.response_T.sum())
        total += student(input_ids=ids, labels=labels).loss.item() * tokens
        count += tokens
    assert summary.validation_loss == pytest.approx(total / count, rel=1e-5)
    found = [line for line in lines(tmp_path) if "validation_loss" in line]
    assert [line["step"] for line in found] == [0, 3, 6]
    assert found[-1]["validation_loss"] == summary.validation_loss


def test_best_and_last_weights_are_both_kept(small: SimpleNamespace, tmp_path: Path) -> None:
    """Random responses cannot be generalised: the loss on new records rises, so the best weights are an early step's."""
    options = {"epochs": 12, "lr_peak": 2e-2, "schedule": "constant"}
    for keep, other in (("best", "last"), ("last", "best")):
        summary, _ = small.train(tmp_path / keep, keep=keep, **options)
        assert summary.best_step is not None and summary.best_step < summary.steps
        assert summary.best_validation_loss < summary.validation_loss
        assert summary.model_step == (summary.best_step if keep == "best" else summary.steps)
        assert (tmp_path / keep / other / "config.json").is_file()
    last, best = (
        load_file(tmp_path / "last" / name / "model.safetensors") for name in ("model", "best")
    )
    assert any(not torch.equal(last[name], best[name]) for name in last)
    for name, tensor in load_file(tmp_path / "best" / "model" / "model.safetensors").items():
        assert torch.equal(tensor, best[name])


def test_provenance_names_every_record_that_was_trained_on_and_no_other(
    small: SimpleNamespace, tmp_path: Path
) -> None:
    seen: Counter[str] = Counter()
    for step in range(5):  # 3 steps an epoch, so the second epoch is cut short
        seen.update(f"r{row:03d}" for row in records_of_step(step, 20, 8, 7))
    assert 0 < sum(count == 1 for count in seen.values()) < 20
    summary, _ = small.train(tmp_path, max_steps=5)
    table = read_table(tmp_path / "provenance.parquet")
    assert dict(zip(table["id"].to_pylist(), table["times"].to_pylist(), strict=True)) == seen
    assert summary.records == len(seen) and table["id"].to_pylist() == sorted(seen)


def test_progress_is_reported_and_nothing_is_printed(
    small: SimpleNamespace, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    reports: list[dict[str, float]] = []
    small.train(
        tmp_path,
        method="kd",
        settings={"ce_weight": "0.5"},
        report=reports.append,
        validate_every=0,
    )
    assert [entry["step"] for entry in reports] == [1, 2, 3, 4, 5, 6]
    for entry in reports:
        assert (
            entry["total"] == 6
            and entry["tokens_per_s"] > 0
            and entry["eta_s"] >= 0
            and entry["lr"] >= 0
        )
        assert entry["loss"] == pytest.approx(entry["kd"] + entry["ce"])
    assert capsys.readouterr().out == ""


def test_accumulation_changes_memory_and_not_the_result(
    small: SimpleNamespace, tmp_path: Path
) -> None:
    _, whole = small.train(tmp_path / "whole")
    _, parts = small.train(tmp_path / "parts", micro_batch_size=1)
    one, other = (
        torch.cat([weight.flatten() for weight in small.weights(model).values()])
        for model in (whole, parts)
    )
    assert (
        (one - other).norm() <= 1e-4 * one.norm()
    )  # AdamW divides tiny gradients by their size: their last digits show
    for one, other in zip(lines(tmp_path / "whole"), lines(tmp_path / "parts"), strict=True):
        assert one == pytest.approx(other, rel=1e-5)


def test_dropout_noise_belongs_to_the_step(small: SimpleNamespace, tmp_path: Path) -> None:
    torch.manual_seed(0)
    _, one = small.train(tmp_path / "1", student=small.model(dropout=0.3))
    before = torch.random.get_rng_state()
    _, two = small.train(tmp_path / "2", student=small.model(dropout=0.3))
    assert torch.equal(before, torch.random.get_rng_state())
    assert all(
        torch.equal(tensor, small.weights(two)[name]) for name, tensor in small.weights(one).items()
    )
    _, none = small.train(tmp_path / "3", student=small.model(dropout=0.0))
    assert any(
        not torch.equal(tensor, small.weights(none)[name])
        for name, tensor in small.weights(one).items()
    )


def test_gradients_are_clipped_to_the_norm(small: SimpleNamespace, tmp_path: Path) -> None:
    """With plain clipping at c, the step's gradient is scaled by c / norm: AdamW's first moment shows it."""
    moments = {}
    for clip in (0.0, 0.05):
        with pytest.raises(Interrupted):
            small.train(
                tmp_path / str(clip), clip_norm=clip, beta1=0.0, should_stop=small.stop_after(1)
            )
        saved = load_file(
            tmp_path / str(clip) / "checkpoints" / "step-00000001" / "optimiser.safetensors"
        )
        moments[clip] = torch.cat(
            [value.flatten() for name, value in sorted(saved.items()) if name.endswith("exp_avg")]
        )
    norm = moments[0.0].norm()
    assert norm > 0.05
    assert torch.allclose(moments[0.05], moments[0.0] * 0.05 / norm, rtol=1e-4, atol=1e-9)


def test_bf16_trains_and_keeps_float32_weights(small: SimpleNamespace, tmp_path: Path) -> None:
    summary, student = small.train(tmp_path, method="kd", precision="bf16", epochs=6)
    losses = [line["loss"] for line in lines(tmp_path) if "loss" in line]
    assert losses[-1] < losses[0] and summary.steps == 18
    assert {weight.dtype for weight in student.parameters()} == {torch.float32}


def test_no_epochs_saves_the_model_as_it_is(small: SimpleNamespace, tmp_path: Path) -> None:
    student = small.model(seed=2)
    before = small.weights(student)
    summary, _ = small.train(tmp_path, student=student, epochs=0)
    assert summary.steps == summary.records == 0 and summary.validation_loss is not None
    saved = load_file(tmp_path / "model" / "model.safetensors")
    assert all(torch.equal(before[name], tensor) for name, tensor in saved.items())


def test_frozen_weights_stay_and_are_not_in_the_checkpoint(
    small: SimpleNamespace, tmp_path: Path
) -> None:
    student = small.model(seed=2)
    embedding = student.get_input_embeddings().weight
    embedding.requires_grad = False
    before = embedding.clone()
    with pytest.raises(Interrupted):
        small.train(tmp_path, student=student, should_stop=small.stop_after(2))
    saved = load_file(tmp_path / "checkpoints" / "step-00000002" / "weights.safetensors")
    assert saved and not any("wte" in name or "lm_head" in name for name in saved)
    assert torch.equal(embedding, before)


def test_records_without_a_response_are_counted_and_left_out(
    small: SimpleNamespace, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    empty = Example(record_id="empty", ids_T=np.array([1, 2]), response_T=np.array([False, False]))
    with caplog.at_level(logging.WARNING, "stillage"):
        summary, _ = small.train(tmp_path, examples=[*small.examples(20), empty])
    assert summary.left_out == 1 and summary.records == 20
    assert "1 of 21 examples" in caplog.text
    assert "empty" not in read_table(tmp_path / "provenance.parquet")["id"].to_pylist()


def broken_at(step: int, what: str) -> object:
    """sft, whose loss or gradient is not a number from an optimiser step on."""

    sft = METHODS["sft"]

    def terms(given: Step, params: object) -> dict[str, torch.Tensor]:
        ce = sft.terms(given, params)["ce"]
        if given.number < step:
            return {"ce": ce}
        return (
            {"ce": ce * float("nan")}
            if what == "loss"
            else {"ce": ce + given.student.hidden_TH.mul(0).sum().sqrt()}
        )

    return dataclasses.replace(sft, terms=terms)


@pytest.mark.parametrize("what", ["loss", "gradient"])
def test_a_number_that_is_none_stops_the_training_and_spares_the_good_state(
    small: SimpleNamespace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, what: str
) -> None:
    small.train(tmp_path / "whole")
    with monkeypatch.context() as patch:
        patch.setitem(METHODS, "sft", broken_at(4, what))
        with pytest.raises(ModelError) as caught:
            small.train(tmp_path / "run", checkpoint_every_s=0)
    text = str(caught.value)
    assert len(text.splitlines()) == 3 and "step 5 of 6" in text and "nan" in text
    step = records_of_step(4, 20, 8, 7)
    assert all(f"r{row:03d}" in text for row in step)
    assert sorted(path.name for path in (tmp_path / "run" / "checkpoints").glob("step-*")) == [
        "step-00000003",
        "step-00000004",
    ]
    small.train(tmp_path / "run")
    assert (tmp_path / "run" / "model" / "model.safetensors").read_bytes() == (
        tmp_path / "whole" / "model" / "model.safetensors"
    ).read_bytes()


def test_a_full_disk_is_an_interruption_that_keeps_the_last_checkpoint(
    small: SimpleNamespace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from safetensors import SafetensorError

    real, calls = loop_module.checkpoint.save_file, [0]

    def full(tensors: dict[str, torch.Tensor], path: Path) -> None:
        calls[0] += 1
        if calls[0] > 6:  # three files a checkpoint
            raise SafetensorError(
                "Error while serializing: I/O error: No space left on device (os error 28)"
            )
        real(tensors, path)

    with monkeypatch.context() as patch:
        patch.setattr(loop_module.checkpoint, "save_file", full)
        with pytest.raises(Interrupted) as caught:
            small.train(tmp_path / "run", checkpoint_every_s=0)
    assert caught.value.exit_code == 75 and "disk is full" in str(caught.value)
    checkpoints = tmp_path / "run" / "checkpoints"
    assert loop_module.checkpoint.newest_sound(checkpoints) == checkpoints / "step-00000002"
    assert errno.ENOSPC == 28 and not list(checkpoints.glob(".tmp*"))


REFUSED = [
    ({"examples": []}, DataError, "nothing to train on"),
    ({"examples": "masked"}, DataError, "no record has a response token"),
    ({"method": "kd", "teacher": "none"}, CapabilityError, "needs a teacher"),
    ({"method": "kd", "teacher": "fewer tokens"}, ModelError, "The teacher does not know a token"),
    ({"batch_size": 0}, ConfigError, "batch_size must be at least 1"),
    ({"epochs": float("nan")}, ConfigError, "epochs must be at least 0"),
    ({"warmup_fraction": 1.5}, ConfigError, "warmup_fraction must be at least 0 and at most 1"),
    ({"keep": "best", "validation": []}, ConfigError, "without a validation"),
    ({"examples": "long"}, ModelError, "longer than the student's context"),
    ({"examples": "foreign"}, ModelError, "does not know a token"),
    ({"precision": "fp16"}, CapabilityError, "fp16 needs a CUDA device"),
]


@pytest.mark.parametrize(
    ("change", "error", "words"), REFUSED, ids=[words for _, _, words in REFUSED]
)
def test_bad_input_is_refused_in_three_lines_with_nothing_half_written(
    small: SimpleNamespace,
    tmp_path: Path,
    change: dict[str, object],
    error: type[UserError],
    words: str,
) -> None:
    from stillage.distill.settings import params_from
    from stillage.distill.task import TrainingTask
    from stillage.distill.train import train

    if words.startswith("fp16") and torch.cuda.is_available():
        pytest.skip("this machine has a GPU")
    made = {
        "long": [Example(record_id="big", ids_T=np.arange(40) % 9, response_T=np.arange(40) > 3)],
        "masked": [Example(record_id="m", ids_T=np.arange(5), response_T=np.zeros(5, bool))],
        "foreign": [
            Example(
                record_id="odd",
                ids_T=np.array([1, 2, 99]),
                response_T=np.array([False, True, True]),
            )
        ],
    }
    change = {
        name: made.get(value, value) if isinstance(value, str) else value
        for name, value in change.items()
    }
    method = METHODS[str(change.pop("method", "sft"))]
    inputs = {"examples": small.examples(8), "validation": small.examples(2, name="v")}
    inputs |= {name: change.pop(name) for name in ("examples", "validation") if name in change}
    few = ModelConfig(layers=1, width=16, heads=2, context=32)
    teacher = (
        load_model(few, vocab_size=small.VOCAB - 30, seed=1)
        if change.pop("teacher", "") == "fewer tokens"
        else None
    )
    with pytest.raises(error) as caught:
        task = TrainingTask(
            student=small.model(),
            teacher=teacher,
            tokenizer=small.tokenizer(),
            method=method,
            params=params_from(method, {}),
            options=dataclasses.replace(small.options, **change),
            seed=1,
            **inputs,
        )
        train(task, tmp_path / "run")
    assert words in str(caught.value) and len(str(caught.value).splitlines()) == 3
    assert not (tmp_path / "run").exists()


def test_a_training_that_has_ended_is_not_made_again(
    small: SimpleNamespace, tmp_path: Path
) -> None:
    first, _ = small.train(tmp_path)
    before = {
        path: hashlib.sha256(path.read_bytes()).hexdigest()
        for path in tmp_path.rglob("*")
        if path.is_file()
    }
    second, _ = small.train(tmp_path, should_stop=lambda: True)
    assert second == first
    assert before == {
        path: hashlib.sha256(path.read_bytes()).hexdigest()
        for path in tmp_path.rglob("*")
        if path.is_file()
    }
    with pytest.raises(CheckpointError, match=r"finished training in .*\nseed: 7 there, 8 here"):
        small.train(tmp_path, seed=8)
    assert before == {
        path: hashlib.sha256(path.read_bytes()).hexdigest()
        for path in tmp_path.rglob("*")
        if path.is_file()
    }
