"""The hidden state and the head give the model's own logits, for every family, whatever the padding."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from transformers import AutoConfig, AutoModelForCausalLM, PreTrainedModel

from stillage.errors import CapabilityError, ModelError
from stillage.models.load import load_model
from stillage.models.outputs import check_head, forward_hidden, head_of, project
from stillage.run.config import ModelConfig

FAMILIES = (
    "gpt2",
    "opt",
    "llama",
    "qwen2",
    "qwen3",
    "mistral",
    "gemma",
    "gemma2",
    "gpt_neox",
    "gptj",
    "gpt_neo",
    "phi",
    "phi3",
    "cohere",
    "granite",
    "bloom",
    "falcon",
    "mpt",
    "olmo2",
    "stablelm",
    "starcoder2",
    "nanochat",
)


@pytest.mark.parametrize("family", FAMILIES)
def test_hidden_and_head_give_the_logits(
    family: str, build: Callable[..., PreTrainedModel]
) -> None:
    model = build(family, spread=2.0)
    if model.config.model_type == "granite":
        model.config.logits_scaling = 3.0
    ids = torch.randint(0, 97, (3, 11), generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        theirs = model(input_ids=ids).logits
        ours = project(forward_hidden(model, ids), head_of(model))
    assert theirs.std() > 1e-3
    torch.testing.assert_close(ours, theirs, atol=1e-5, rtol=1e-5)
    check_head(model)


@pytest.mark.parametrize("family", FAMILIES)
def test_padding_does_not_change_real_tokens(
    family: str, build: Callable[..., PreTrainedModel]
) -> None:
    model = build(family, spread=2.0)
    ids = torch.randint(0, 97, (2, 9), generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        alone, padded = forward_hidden(model, ids[:1, :5]), forward_hidden(model, ids)[:1, :5]
    torch.testing.assert_close(padded, alone, atol=2e-5, rtol=1e-4)


def test_opt_with_a_projection_before_the_head() -> None:
    settings = AutoConfig.for_model(
        "opt",
        vocab_size=50,
        hidden_size=32,
        word_embed_proj_dim=16,
        num_hidden_layers=2,
        num_attention_heads=4,
        ffn_dim=64,
        max_position_embeddings=32,
        do_layer_norm_before=False,
        pad_token_id=1,
    )
    model = AutoModelForCausalLM.from_config(settings).eval()
    ids = torch.arange(2, 12)[None]
    with torch.no_grad():
        hidden = forward_hidden(model, ids)
        torch.testing.assert_close(
            project(hidden, head_of(model)), model(input_ids=ids).logits, atol=1e-6, rtol=1e-5
        )
    assert hidden.shape == (1, 10, 16)


def test_soft_cap_is_reported_and_bounds_the_logits(build: Callable[..., PreTrainedModel]) -> None:
    model = build("gemma2", spread=30.0)
    ids = torch.arange(5, 15)[None]
    weight, bias, cap = head_of(model)
    with torch.no_grad():
        logits = project(forward_hidden(model, ids), (weight, bias, cap))
    assert bias is None
    assert cap == 30.0
    assert 20 < logits.abs().max() <= 30.0


def test_gradients_reach_a_tied_head_and_a_lora_head(build: Callable[..., PreTrainedModel]) -> None:
    from peft import LoraConfig, get_peft_model

    model = build("llama")
    adapted = get_peft_model(
        model, LoraConfig(r=2, target_modules=["q_proj", "lm_head"], init_lora_weights=False)
    )
    adapted.eval()
    ids = torch.arange(5, 15)[None]
    logits = project(forward_hidden(adapted, ids), head_of(adapted))
    torch.testing.assert_close(logits, adapted(input_ids=ids).logits, atol=2e-5, rtol=1e-4)
    logits.square().sum().backward()
    gradients = {name: p.grad for name, p in adapted.named_parameters() if p.requires_grad}
    assert any("lm_head" in name for name in gradients)
    assert all(g is not None and g.abs().sum() > 0 for g in gradients.values())
    tied = build("gpt2")
    project(forward_hidden(tied, ids), head_of(tied)).square().sum().backward()
    assert tied.get_input_embeddings().weight.grad.abs().sum() > 0


def test_a_head_that_is_not_linear_is_named(build: Callable[..., PreTrainedModel]) -> None:
    model = build("gpt2")
    head = model.lm_head
    model.lm_head = torch.nn.Sequential(head, torch.nn.Tanh())
    with pytest.raises(CapabilityError, match="Sequential"):
        head_of(model)


def test_a_head_that_lies_is_caught(build: Callable[..., PreTrainedModel]) -> None:
    model = build("gpt2")
    model.lm_head.register_forward_hook(lambda _module, _inputs, output: output * 1.1)
    model.train()
    with pytest.raises(CapabilityError, match="model type: gpt2"):
        check_head(model)
    assert all(module.training for module in model.modules())


@pytest.mark.parametrize("architecture", ["bert", "t5"])
def test_models_that_are_no_decoders_are_refused(architecture: str) -> None:
    with pytest.raises(ModelError, match="decoder-only"):
        load_model(
            ModelConfig(architecture=architecture, layers=1, width=32, heads=2, context=32),
            vocab_size=40,
            seed=0,
        )
