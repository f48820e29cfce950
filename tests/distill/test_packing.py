"""Several records in one row are several records: nothing of one reaches another, whatever the family or the attention."""

from __future__ import annotations

import json
import logging
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from stillage.distill import loop
from stillage.errors import CapabilityError
from stillage.functional.readout import logits
from stillage.models.decoder import read
from stillage.models.load import load_model
from stillage.models.packing import check_packing
from stillage.models.padding import collate, collate_packed
from stillage.run.config import ModelConfig
from stillage.types import Batch

DEVICE = torch.device("cpu")


@pytest.mark.parametrize(
    ("architecture", "attention"),
    [("gpt2", "sdpa"), ("gpt2", "eager"), ("llama", "sdpa"), ("opt", "sdpa"), ("gemma2", "eager")],
)
def test_packed_is_padded(small: SimpleNamespace, architecture: str, attention: str) -> None:
    config = ModelConfig(architecture=architecture, layers=2, width=64, heads=4, context=64)
    model = load_model(config, vocab_size=small.VOCAB, seed=1)
    model.set_attn_implementation(attention)
    with torch.no_grad():
        for weight in model.parameters():
            if weight.ndim > 1:
                weight.mul_(3.0)
    examples = small.examples(9)
    padded, packed = collate(examples, DEVICE), collate_packed(examples, DEVICE, row_tokens=20)
    assert packed.documents_BS is not None and len(packed.ids_BS) < len(examples)
    assert packed.ids_BS.shape[1] <= 20
    assert packed.ids_BS.numel() < padded.ids_BS.numel()
    check_packing(model, 14)
    alone = {example.record_id: example for example in examples}
    logq_TV = torch.log_softmax(logits(read(model, packed)), -1)
    start = 0
    for record_id in packed.record_ids:
        example = alone[record_id]
        ids = torch.tensor(example.ids_T.astype(np.int64))[None]
        with torch.no_grad():
            expected = torch.log_softmax(
                model(input_ids=ids, use_cache=False).logits[0].float(), -1
            )
        before = np.nonzero(example.response_T)[0] - 1
        rows = slice(start, start + len(before))
        torch.testing.assert_close(logq_TV[rows].detach(), expected[before], atol=1e-5, rtol=1e-5)
        assert packed.labels_T[rows].tolist() == example.ids_T[example.response_T].tolist()
        start += len(before)
    assert start == len(packed.labels_T)


@pytest.mark.parametrize("method", ["sft", "kd"])
def test_a_packed_training_is_the_padded_one(
    small: SimpleNamespace, tmp_path: Path, method: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    found, rows = [], []

    def packed(*args: object, **options: object) -> Batch:
        batch = collate_packed(*args, **options)  # pyright: ignore[reportArgumentType]
        rows.append(len(batch.ids_BS))
        return batch

    monkeypatch.setattr(loop, "collate_packed", packed)
    for packing in (False, True):
        summary, _ = small.train(
            tmp_path / str(packing), method=method, packing=packing, max_steps=4
        )
        lines = [
            json.loads(line)
            for line in (tmp_path / str(packing) / "metrics.jsonl").read_text().splitlines()
        ]
        found.append((lines, summary))
    for one, two in zip(found[0][0], found[1][0], strict=True):
        assert one == pytest.approx(two, rel=1e-5, abs=1e-6)
    assert found[0][1].trained_tokens == found[1][1].trained_tokens
    assert len(rows) == 4 and max(rows) < small.options.batch_size, "several records in a row"


def test_positions_alone_would_not_do(
    small: SimpleNamespace, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A model that ignores the mask is found out."""
    model = small.model()
    forward = model.transformer.forward
    monkeypatch.setattr(
        model.transformer,
        "forward",
        lambda *given, **inputs: forward(
            *given, **{**inputs, "attention_mask": None, "position_ids": None}
        ),
    )
    with pytest.raises(CapabilityError, match="cannot keep several records in one row apart"):
        check_packing(model, 10)


def test_a_window_shorter_than_a_record_is_not_packed(
    small: SimpleNamespace, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    config = ModelConfig(architecture="mistral", layers=1, width=32, heads=4, context=64)
    student = load_model(config, vocab_size=small.VOCAB, seed=1)
    student.config.sliding_window = 8
    with pytest.raises(CapabilityError, match="attention window: 8 tokens; longest record: 14"):
        check_packing(student, 14)
    with caplog.at_level(logging.WARNING, logger="stillage"):
        summary, _ = small.train(
            tmp_path, student=student, packing=True, max_steps=1, validate_every=0
        )
    assert summary.steps == 1 and "One record a row instead" in caplog.text


def test_extras_follow_their_tokens(small: SimpleNamespace) -> None:
    import dataclasses

    examples = [
        dataclasses.replace(
            example, extras={"label": example.ids_T[1:][example.response_T[1:]].astype(np.float32)}
        )
        for example in small.examples(7)
    ]
    packed = collate_packed(examples, DEVICE, row_tokens=20)
    assert packed.extras["label"].tolist() == packed.labels_T.float().tolist()
    idle = collate_packed(examples, DEVICE, row_tokens=20, trained=False)
    assert len(idle.labels_T) == len(idle.extras["label"]) == 0
