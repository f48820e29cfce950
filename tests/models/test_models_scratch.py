"""What a model from scratch computes with, and that loading one is silent."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from transformers import PreTrainedModel, PreTrainedTokenizerFast
from transformers.activations import ACT2FN

from stillage.models.load import load_model, save_model
from stillage.run.config import ModelConfig


@pytest.mark.parametrize("architecture", ["gpt2", "gpt_neo"])
def test_the_fused_activation_is_the_family_s_own(architecture: str) -> None:
    config = ModelConfig(architecture=architecture, layers=2, width=64, heads=4, context=32)
    model = load_model(config, vocab_size=97, seed=1)
    assert model.config.activation_function == "gelu_pytorch_tanh"
    ids_BT = torch.arange(24).reshape(2, 12)
    with torch.no_grad():
        fused = model(ids_BT).logits
        for block in model.transformer.h:
            block.mlp.act = ACT2FN["gelu_new"]
        assert torch.allclose(fused, model(ids_BT).logits, rtol=0, atol=1e-6)
    x = torch.linspace(-12, 12, 4001)
    assert torch.allclose(
        ACT2FN["gelu_pytorch_tanh"](x), ACT2FN["gelu_new"](x), rtol=1e-6, atol=1e-6
    )


def test_loading_and_saving_write_nothing_to_the_terminal(
    build: Callable[..., PreTrainedModel],
    tokenizer: PreTrainedTokenizerFast,
    tmp_path: Path,
    capfd: pytest.CaptureFixture[str],
) -> None:
    from transformers.utils import logging

    logging.enable_progress_bar()
    save_model(build(), tokenizer, tmp_path / "m")
    load_model(ModelConfig(path=str(tmp_path / "m")), vocab_size=97, seed=0)
    assert capfd.readouterr() == ("", "")
    assert logging.is_progress_bar_enabled(), "other users of transformers keep theirs"
