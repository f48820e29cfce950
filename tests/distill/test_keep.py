"""The best so many validations are kept as model folders; activations computed again change nothing."""

from __future__ import annotations

import json
import re
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from stillage.errors import CapabilityError, ConfigError, Interrupted


def losses(folder: Path) -> dict[int, float]:
    found = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    return {int(line["step"]): line["validation_loss"] for line in found if "validation_loss" in line}


def test_the_best_validations_are_kept_as_models(small: SimpleNamespace, tmp_path: Path) -> None:
    """Random responses cannot be generalised: the loss falls, then rises, so the kept ones are neither first nor last."""
    make = {"epochs": 8, "lr_peak": 2e-2, "schedule": "constant", "keep_checkpoints": 3}
    small.train(tmp_path / "a", **make)
    by_loss = sorted(losses(tmp_path / "a").items(), key=lambda item: item[1])
    kept = {path.name for path in (tmp_path / "a" / "kept").iterdir()}
    assert kept == {f"epoch{step / 3:g}_step{step}_loss{loss:.4f}" for step, loss in by_loss[:3]}
    for name in kept:
        folder = tmp_path / "a" / "kept" / name
        assert re.fullmatch(r"epoch[\d.]+_step\d+_loss[\d.]+", name)
        assert {path.name for path in folder.iterdir()} >= {
            "config.json",
            "model.safetensors",
            "generation_config.json",
        }
        assert AutoTokenizer.from_pretrained(folder).eos_token == "<eos>"
        model, total, count = AutoModelForCausalLM.from_pretrained(folder).eval(), 0.0, 0
        for example in small.examples(6, name="v"):
            ids = torch.tensor(example.ids_T, dtype=torch.long)[None]
            labels = torch.where(torch.tensor(example.response_T), ids[0], -100)[None]
            total += model(input_ids=ids, labels=labels).loss.item() * int(example.response_T.sum())
            count += int(example.response_T.sum())
        assert total / count == pytest.approx(float(name.rpartition("loss")[2]), abs=1e-4)
    with pytest.raises(Interrupted):
        small.train(tmp_path / "b", should_stop=small.stop_after(17), **make)
    small.train(tmp_path / "b", **make)
    for file in (tmp_path / "a" / "kept").rglob("*.safetensors"):
        assert file.read_bytes() == (tmp_path / "b" / file.relative_to(tmp_path / "a")).read_bytes()
    assert {path.name for path in (tmp_path / "b" / "kept").iterdir()} == kept
    with pytest.raises(ConfigError, match="keep_checkpoints = 3, validate_every = 0"):
        small.train(tmp_path / "c", **make, validate_every=0)
    small.train(tmp_path / "none", epochs=1)
    assert not (tmp_path / "none" / "kept").exists()


@pytest.mark.parametrize("method", ["sft", "kd"])
def test_activations_computed_again_change_no_bit(small: SimpleNamespace, tmp_path: Path, method: str) -> None:
    calls = []
    for again in (False, True):
        student = small.model(seed=2, dropout=0.1)
        counted = [0]
        student.transformer.h[0].attn.register_forward_hook(
            lambda *_, counted=counted: counted.__setitem__(0, counted[0] + 1)
        )
        small.train(
            tmp_path / str(again), method=method, student=student, gradient_checkpointing=again, max_steps=4,
            validate_every=0,
        )  # fmt: skip
        calls.append(counted[0])
    one, two = ((tmp_path / str(again) / "model" / "model.safetensors").read_bytes() for again in (False, True))
    assert one == two
    assert calls[1] == calls[0] + 4, "the attention of a block is run a second time, once a step"


def test_an_architecture_without_it_is_named(
    small: SimpleNamespace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    student = small.model(seed=2)
    monkeypatch.setattr(type(student), "supports_gradient_checkpointing", False)
    with pytest.raises(CapabilityError, match="gradient_checkpointing: true; model type: gpt2"):
        small.train(tmp_path, student=student, gradient_checkpointing=True)
