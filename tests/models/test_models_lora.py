"""Adapters: what is trained, what is saved, and that merging changes nothing."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from peft import AutoPeftModelForCausalLM, PeftModel
from transformers import (
    AutoModelForCausalLM,
    BitsAndBytesConfig,
    PreTrainedModel,
    PreTrainedTokenizerFast,
)

from stillage.errors import CapabilityError, ConfigError, ModelError
from stillage.models import load as load_module
from stillage.models.identity import folder_hash
from stillage.models.load import load_model, load_tokenizer, save_model
from stillage.models.lora import load_trainable
from stillage.run.config import ModelConfig

SMALL = {"layers": 2, "width": 64, "heads": 4, "context": 64}
IDS = torch.arange(3, 20)[None]


def logits(model: PreTrainedModel) -> torch.Tensor:
    with torch.no_grad():
        return model(input_ids=IDS, use_cache=False).logits


def moved(model: PreTrainedModel) -> PreTrainedModel:
    """The adapter as if it had been trained."""
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for name, weight in model.named_parameters():
            if "lora_B" in name:
                weight.copy_(torch.randn(weight.shape, generator=generator) * 0.3)
    return model


@pytest.mark.parametrize("architecture", ["gpt2", "llama", "opt"])
@pytest.mark.parametrize("targets", [(), ("all-linear",)])
def test_merged_is_unmerged(
    architecture: str, targets: tuple[str, ...], tokenizer: PreTrainedTokenizerFast, tmp_path: Path
) -> None:
    config = ModelConfig(architecture=architecture, lora_rank=4, lora_targets=targets, **SMALL)
    model = load_trainable(config, tokenizer=tokenizer, seed=1, base_folder=tmp_path / "base")
    plain = load_model(
        ModelConfig(architecture=architecture, **SMALL), vocab_size=len(tokenizer), seed=1
    )
    assert torch.equal(logits(model), logits(plain)), "B = 0: training starts from the model itself"
    trained = {name for name, weight in model.named_parameters() if weight.requires_grad}
    assert trained and all("lora_" in name for name in trained)
    assert not any("lm_head" in name for name in trained)
    expected = logits(moved(model))
    assert (expected - logits(plain)).abs().max() > 1e-2
    save_model(model, tokenizer, tmp_path / "model")
    assert {path.name for path in (tmp_path / "model").iterdir()} == {
        "adapter_config.json",
        "adapter_model.safetensors",
        "tokenizer.json",
        "tokenizer_config.json",
    }
    again = load_model(ModelConfig(path=str(tmp_path / "model")), vocab_size=len(tokenizer), seed=0)
    assert not isinstance(again, PeftModel)
    torch.testing.assert_close(logits(again), expected, atol=1e-5, rtol=1e-5)
    theirs = AutoPeftModelForCausalLM.from_pretrained(tmp_path / "model").eval()
    torch.testing.assert_close(logits(theirs), expected, atol=1e-5, rtol=1e-5)


def test_an_adapter_names_its_base_and_finds_it_again_after_a_move(
    tokenizer: PreTrainedTokenizerFast, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = tmp_path / "run" / "student"
    model = load_trainable(
        ModelConfig(lora_rank=4, **SMALL), tokenizer=tokenizer, seed=1, base_folder=run / "base"
    )
    expected = logits(moved(model))
    save_model(model, tokenizer, run / "model")
    save_model(model, tokenizer, run / "kept" / "epoch1")
    hashed = folder_hash(run / "model")
    shutil.move(tmp_path / "run", tmp_path / "elsewhere")
    for name in ("model", "kept/epoch1"):
        folder = tmp_path / "elsewhere" / "student" / name
        torch.testing.assert_close(
            logits(load_model(ModelConfig(path=str(folder)), vocab_size=97, seed=0)),
            expected,
            atol=1e-5,
            rtol=1e-5,
        )
        assert folder_hash(folder) == hashed and len(load_tokenizer(str(folder))) == len(tokenizer)
    # A base that is a folder of the user's is named by its full path, however it was given.
    save_model(
        load_model(ModelConfig(**SMALL), vocab_size=97, seed=5), tokenizer, tmp_path / "mine"
    )
    monkeypatch.chdir(tmp_path)
    config = ModelConfig(path="mine", lora_rank=2)
    save_model(
        load_trainable(config, tokenizer=tokenizer, seed=1, base_folder=tmp_path / "no"),
        tokenizer,
        tmp_path / "b",
    )
    assert not (tmp_path / "no").exists()
    monkeypatch.chdir("/")
    load_model(ModelConfig(path=str(tmp_path / "b")), vocab_size=97, seed=0)


def test_an_adapter_can_be_trained_further_or_merged(
    tokenizer: PreTrainedTokenizerFast, tmp_path: Path
) -> None:
    first = load_trainable(
        ModelConfig(lora_rank=4, **SMALL),
        tokenizer=tokenizer,
        seed=1,
        base_folder=tmp_path / "base",
    )
    expected = logits(moved(first))
    save_model(first, tokenizer, tmp_path / "first")
    for config in (
        ModelConfig(adapter=str(tmp_path / "first")),
        ModelConfig(path=str(tmp_path / "base"), adapter=str(tmp_path / "first")),
    ):
        warm = load_trainable(config, tokenizer=tokenizer, seed=9, base_folder=tmp_path / "no")
        assert isinstance(warm, PeftModel) and torch.equal(logits(warm), expected)
        assert any(weight.requires_grad for weight in warm.parameters())
        merged = load_model(config, vocab_size=97, seed=9)
        assert not isinstance(merged, PeftModel)
        torch.testing.assert_close(logits(merged), expected, atol=1e-5, rtol=1e-5)
    # A new adapter on a merged one: the merged model is nowhere on disk, so it is written.
    stacked = ModelConfig(path=str(tmp_path / "first"), lora_rank=2)
    second = load_trainable(
        stacked, tokenizer=tokenizer, seed=2, base_folder=tmp_path / "second_base"
    )
    torch.testing.assert_close(logits(second), expected, atol=1e-5, rtol=1e-5)
    assert (tmp_path / "second_base" / "model.safetensors").exists()


def test_the_seed_decides_the_adapter_and_nothing_else(
    tokenizer: PreTrainedTokenizerFast, tmp_path: Path
) -> None:
    config = ModelConfig(lora_rank=4, **SMALL)
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    drawn = [
        load_trainable(
            config, tokenizer=tokenizer, seed=seed, base_folder=tmp_path / "base"
        ).state_dict()
        for seed in (1, 1, 2)
    ]
    assert torch.equal(torch.rand(3), expected)
    names = [name for name in drawn[0] if "lora_A" in name]
    assert names and all(torch.equal(drawn[0][name], drawn[1][name]) for name in names)
    assert not any(torch.equal(drawn[0][name], drawn[2][name]) for name in names)


@pytest.mark.parametrize(
    ("settings", "error", "said"),
    [
        ({"lora_rank": 2, "lora_targets": ("nonsense",)}, ModelError, "nonsense"),
        ({"lora_rank": -1}, ConfigError, "lora_rank: -1"),
        ({"lora_rank": 2, "lora_dropout": 1.0}, ConfigError, "lora_dropout: 1.0"),
        ({"lora_rank": 2, "lora_alpha": -1.0}, ConfigError, "lora_alpha: -1.0"),
        ({"lora_rank": 2, "adapter": "BASE"}, ConfigError, "own rank"),
        ({"adapter": "BASE"}, ModelError, "adapter_config.json"),
    ],
)
def test_adapters_that_cannot_be(
    settings: dict[str, object],
    error: type[Exception],
    said: str,
    tokenizer: PreTrainedTokenizerFast,
    build: Callable[..., PreTrainedModel],
    tmp_path: Path,
) -> None:
    save_model(build(), tokenizer, tmp_path / "base")
    if settings.get("adapter") == "BASE":
        settings = settings | {"adapter": str(tmp_path / "base")}
    config = ModelConfig(path=str(tmp_path / "base"), **settings)
    with pytest.raises(error, match=said):
        load_trainable(config, tokenizer=tokenizer, seed=0, base_folder=tmp_path / "b")


def test_quantised_weights_need_an_extra_and_a_folder(
    build: Callable[..., PreTrainedModel],
    tokenizer: PreTrainedTokenizerFast,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    save_model(build(), tokenizer, tmp_path / "m")
    config = ModelConfig(path=str(tmp_path / "m"), quantize="int8")
    monkeypatch.setattr(load_module.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(CapabilityError, match=r"pip install 'stillage\[quantize\]'"):
        load_model(config, vocab_size=97, seed=0)
    with pytest.raises(CapabilityError, match="complete model folder"):
        load_model(ModelConfig(quantize="nf4"), vocab_size=97, seed=0)
    monkeypatch.setattr(load_module.importlib.util, "find_spec", lambda name: object())
    asked: list[dict[str, object]] = []
    whole = AutoModelForCausalLM.from_pretrained

    def fake(folder: Path, **settings: object) -> object:
        asked.append({name: settings.pop(name) for name in ("quantization_config", "device_map")})
        return whole(folder, **settings)

    monkeypatch.setattr(AutoModelForCausalLM, "from_pretrained", fake)
    load_model(config, vocab_size=97, seed=0)
    wanted = asked[0]["quantization_config"]
    assert (
        isinstance(wanted, BitsAndBytesConfig)
        and wanted.load_in_8bit
        and asked[0]["device_map"] == {"": "cpu"}
    )
    load_model(ModelConfig(path=str(tmp_path / "m"), quantize="nf4"), vocab_size=97, seed=0)
    wanted = asked[1]["quantization_config"]
    assert (
        isinstance(wanted, BitsAndBytesConfig)
        and wanted.load_in_4bit
        and wanted.bnb_4bit_quant_type == "nf4"
    )
