"""The hidden state and the head give the model's own logits, for every family, whatever the padding."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch
from transformers import AutoConfig, AutoModelForCausalLM, PreTrainedModel

from stillage.errors import CapabilityError, ModelError
from stillage.functional.readout import logits, project
from stillage.models.decoder import (
    check_head,
    examine,
    hidden_states,
    linear_head,
    needs_whole_logits,
    output_head,
    read,
)
from stillage.models.load import load_model
from stillage.models.padding import collate
from stillage.run.config import ModelConfig
from stillage.types import Example

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
        ours = project(hidden_states(model, ids), output_head(model))
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
        alone, padded = hidden_states(model, ids[:1, :5]), hidden_states(model, ids)[:1, :5]
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
        hidden = hidden_states(model, ids)
        torch.testing.assert_close(
            project(hidden, output_head(model)), model(input_ids=ids).logits, atol=1e-6, rtol=1e-5
        )
    assert hidden.shape == (1, 10, 16)


def test_soft_cap_is_reported_and_bounds_the_logits(build: Callable[..., PreTrainedModel]) -> None:
    model = build("gemma2", spread=30.0)
    ids = torch.arange(5, 15)[None]
    head = output_head(model)
    with torch.no_grad():
        logits = project(hidden_states(model, ids), head)
    assert head.bias_V is None
    assert head.softcap == 30.0
    assert 20 < logits.abs().max() <= 30.0


def test_gradients_reach_a_tied_head_and_a_lora_head(build: Callable[..., PreTrainedModel]) -> None:
    from peft import LoraConfig, get_peft_model

    model = build("llama")
    adapted = get_peft_model(
        model, LoraConfig(r=2, target_modules=["q_proj", "lm_head"], init_lora_weights=False)
    )
    adapted.eval()
    ids = torch.arange(5, 15)[None]
    logits = project(hidden_states(adapted, ids), output_head(adapted))
    torch.testing.assert_close(logits, adapted(input_ids=ids).logits, atol=2e-5, rtol=1e-4)
    logits.square().sum().backward()
    gradients = {name: p.grad for name, p in adapted.named_parameters() if p.requires_grad}
    assert any("lm_head" in name for name in gradients)
    assert all(g is not None and g.abs().sum() > 0 for g in gradients.values())
    tied = build("gpt2")
    project(hidden_states(tied, ids), output_head(tied)).square().sum().backward()
    assert tied.get_input_embeddings().weight.grad.abs().sum() > 0


def test_a_head_that_is_not_linear_is_named(build: Callable[..., PreTrainedModel]) -> None:
    model = build("gpt2")
    head = model.lm_head
    model.lm_head = torch.nn.Sequential(head, torch.nn.Tanh())
    with pytest.raises(CapabilityError, match="Sequential"):
        linear_head(model)
    assert output_head(model).weight_VH is None


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


class Odd(torch.nn.Module):
    """A head that computes what a linear one does, and is none."""

    def __init__(self, inner: torch.nn.Module) -> None:
        super().__init__()
        self.inner = inner

    def forward(self, hidden: torch.Tensor) -> torch.Tensor:
        return 3 * torch.tanh(self.inner(hidden) / 3)


def kind_of_head(kind: str, build: Callable[..., PreTrainedModel]) -> PreTrainedModel:
    """A model of a family whose logits are more than hidden states times a matrix."""
    families = {"soft cap": "gemma2", "bias": "phi", "times": "cohere", "over": "granite"}
    model = build(families.get(kind, "llama"), spread=3.0)
    match kind:
        case "bias":
            torch.nn.init.normal_(model.get_output_embeddings().bias)
        case "soft cap":
            model.config.final_logit_softcapping = 2.0
        case "times":
            model.config.logit_scale = model.logit_scale = 0.3
        case "over":
            model.config.logits_scaling = 3.0
        case "whole":
            model.lm_head = Odd(model.lm_head)
        case "lies":
            model.lm_head.register_forward_hook(lambda _module, _inputs, output: output * 1.5)
    return model


KINDS = ["soft cap", "bias", "times", "over", "whole", "lies"]


def two_examples() -> list[Example]:
    drawn = np.random.default_rng(0).integers(0, 97, 23).astype(np.int32)
    return [
        Example(record_id=name, ids_T=ids, response_T=np.arange(len(ids)) > 2)
        for name, ids in (("a", drawn[:9]), ("b", drawn[9:]))
    ]


def own_logits(model: PreTrainedModel, example: Example) -> torch.Tensor:
    """What the model itself says where the scored tokens are predicted, float64."""
    ids = torch.from_numpy(example.ids_T.astype(np.int64))[None]
    with torch.no_grad():
        return model(input_ids=ids).logits[0, np.flatnonzero(example.response_T) - 1].double()


@pytest.mark.parametrize("kind", KINDS)
def test_nobody_has_to_examine_a_model_before_it_is_read(
    kind: str, build: Callable[..., PreTrainedModel]
) -> None:
    """A fresh model, and the first thing that is done with it: its readout gives its own logits."""
    model, examples = kind_of_head(kind, build), two_examples()
    wanted = torch.cat([own_logits(model, example) for example in examples])
    with torch.no_grad():
        readout = read(model, collate(examples, model.device))
        pieces = project(
            hidden_states(model, torch.from_numpy(examples[1].ids_T.astype(np.int64))[None]),
            output_head(model),
        )
    assert (readout.head.weight_VH is None) == (kind in ("whole", "lies"))
    torch.testing.assert_close(logits(readout).double(), wanted, atol=1e-4, rtol=1e-4)
    torch.testing.assert_close(pieces[0, 2:-1].double(), wanted[6:], atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("kind", KINDS)
def test_every_way_of_scoring_reads_the_models_own_logits(
    kind: str, build: Callable[..., PreTrainedModel]
) -> None:
    from stillage.models.generate import Decoding
    from stillage.models.gradients import gradient_norms
    from stillage.models.pairwise_kl import mean_kl
    from stillage.models.query import token_stats
    from stillage.models.sampling_stats import sampling_logp

    model, examples = kind_of_head(kind, build), two_examples()
    other = build("gpt2", seed=2)
    decoding = Decoding(sampling_temperature=0.5)
    stats = token_stats(model, examples)
    sampled = sampling_logp(model, examples, [decoding])
    kl = mean_kl(model, other, examples)
    norms = gradient_norms(model, examples)
    for row, example in enumerate(examples):
        z = own_logits(model, example)
        labels = torch.from_numpy(example.ids_T[example.response_T].astype(np.int64))[:, None]
        p, half = z.log_softmax(-1), (z / 0.5).log_softmax(-1)
        q = own_logits(other, example).log_softmax(-1)
        np.testing.assert_allclose(stats[row].logp_T, p.gather(1, labels)[:, 0], atol=1e-4)
        np.testing.assert_allclose(sampled[row][0], half.gather(1, labels)[:, 0], atol=2e-4)
        assert kl[row] == pytest.approx(float((p.exp() * (p - q)).sum(1).mean()), rel=1e-4)
        model.zero_grad()
        ids = torch.from_numpy(example.ids_T.astype(np.int64))[None]
        scored = np.flatnonzero(example.response_T) - 1
        own = model(input_ids=ids).logits[0, scored].float()
        torch.nn.functional.cross_entropy(own, labels[:, 0]).backward()
        squares = [float(w.grad.square().sum()) for w in model.parameters() if w.grad is not None]
        assert norms[row].total == pytest.approx(sum(squares) ** 0.5, rel=1e-3)


def test_what_was_found_out_stays_with_the_model(build: Callable[..., PreTrainedModel]) -> None:
    """It is copied with it, other models know nothing of it, and a new examination corrects it."""
    import copy

    plain, odd = build("gpt2"), build("gpt2")
    odd.lm_head = Odd(odd.lm_head)
    assert [needs_whole_logits(model) for model in (plain, odd)] == [False, True]
    assert needs_whole_logits(copy.deepcopy(odd)) and not needs_whole_logits(build("gpt2"))
    plain.lm_head.register_forward_hook(lambda _module, _inputs, output: output * 2)
    examine(plain)
    assert needs_whole_logits(plain)
    assert not [name for name in odd.state_dict() if "stillage" in name]


def test_an_examination_says_what_it_found(
    build: Callable[..., PreTrainedModel], caplog: pytest.LogCaptureFixture
) -> None:
    model = build("gpt2")
    with caplog.at_level("WARNING", "stillage"):
        examine(model, "student")
        assert not caplog.text
        model.lm_head = Odd(model.lm_head)
        examine(model, "student")
    assert "student: The head of this model is not a plain linear layer" in caplog.text
    assert "Its own logits are used, all at once" in caplog.text


def test_a_swapped_head_is_refused_or_read_right(build: Callable[..., PreTrainedModel]) -> None:
    """A model changed after its first reading: an error, never logits of the old head."""
    model, batch = build("gpt2"), collate(two_examples(), torch.device("cpu"))
    read(model, batch)
    model.lm_head = Odd(model.lm_head)
    with pytest.raises(CapabilityError, match="Odd"):
        read(model, batch)
