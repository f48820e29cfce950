"""A pruned model computes what the kept blocks of the large one compute, in every family."""

from __future__ import annotations

import copy
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from transformers import PreTrainedModel, PreTrainedTokenizerFast

from stillage.errors import CapabilityError, ConfigError
from stillage.models.generate import Decoding, generate
from stillage.models.load import load_model, save_model
from stillage.models.prompts import Prompts, TextRules
from stillage.models.prune import blocks_of, kept_blocks, prune
from stillage.run.config import ModelConfig

VOCAB = 97


def large(architecture: str, layers: int = 5) -> PreTrainedModel:
    config = ModelConfig(architecture=architecture, layers=layers, width=64, heads=4, context=64)
    model = load_model(config, vocab_size=VOCAB, seed=3)
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.ndim > 1:
                parameter.mul_(3.0)
    return model


def test_blocks_are_evenly_spaced_from_first_to_last() -> None:
    assert kept_blocks(12, 6) == [0, 2, 4, 7, 9, 11]
    assert kept_blocks(5, 5) == [0, 1, 2, 3, 4]
    assert kept_blocks(5, 2) == [0, 4]
    assert kept_blocks(5, 1) == [0]
    for wrong in (0, -1, 6):
        with pytest.raises(ConfigError, match="blocks of the teacher: 5"):
            kept_blocks(5, wrong)


@pytest.mark.parametrize("architecture", ["gpt2", "llama", "opt", "qwen2", "gemma2", "gpt_neo"])
def test_a_pruned_model_is_the_large_one_less_some_blocks(
    architecture: str, tokenizer: PreTrainedTokenizerFast, tmp_path: Path
) -> None:
    """Oracle: the blocks cut out of a copy of the large model; then through a file, and with a cache of keys and values."""
    model = large(architecture)
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    small = prune(model, 3)
    assert all(torch.equal(tensor, before[name]) for name, tensor in model.state_dict().items())
    name, blocks = blocks_of(model)
    assert len(blocks) == 5 and small.config.get_text_config().num_hidden_layers == 3
    cut = copy.deepcopy(model)
    parent = cut.get_submodule(name.rpartition(".")[0])
    setattr(
        parent,
        name.rpartition(".")[2],
        torch.nn.ModuleList(cut.get_submodule(name)[k] for k in (0, 2, 4)),
    )
    cut.config.get_text_config().num_hidden_layers = 3
    if hasattr(cut.config, "layer_types"):
        cut.config.layer_types = [cut.config.layer_types[k] for k in (0, 2, 4)]
    ids = torch.arange(3, 20)[None]
    with torch.no_grad():
        expected = cut(input_ids=ids, use_cache=False).logits
        torch.testing.assert_close(
            small(input_ids=ids, use_cache=False).logits, expected, atol=1e-6, rtol=1e-5
        )
        assert not torch.allclose(model(input_ids=ids, use_cache=False).logits, expected, atol=1e-2)
    save_model(small, tokenizer, tmp_path / "small")
    again = load_model(ModelConfig(path=str(tmp_path / "small")), vocab_size=VOCAB, seed=0)
    written = generate(
        again,
        Prompts([ids[0].numpy()], ["a"]),
        Decoding(max_new_tokens=4),
        TextRules(VOCAB, 1),
    )
    for _ in range(4):
        with torch.no_grad():
            ids = torch.cat([ids, cut(input_ids=ids, use_cache=False).logits[:, -1:].argmax(-1)], 1)
    assert written[0].tolist() == ids[0, -4:].tolist()


def test_a_model_without_a_list_of_blocks_is_named(build: Callable[..., PreTrainedModel]) -> None:
    model = build()
    model.transformer.h = torch.nn.Sequential(*model.transformer.h)
    with pytest.raises(CapabilityError, match="gpt2"):
        prune(model, 1)
