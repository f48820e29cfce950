"""A record's score and a prompt's answer depend on no neighbour: every family, lengths on both sides of every limit."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from typing import Any

import numpy as np
import pytest
import torch
from transformers import AutoConfig, AutoModelForCausalLM, PreTrainedModel

from stillage.errors import DataError
from stillage.models.batching import run_batches
from stillage.models.beams import beam_search
from stillage.models.generate import Decoding, generate
from stillage.models.gradients import gradient_norms
from stillage.models.lengths import kind_of
from stillage.models.lens import block_readings
from stillage.models.pairwise_kl import mean_kl
from stillage.models.prompts import Prompts, TextRules
from stillage.models.query import token_stats
from stillage.models.sampling_stats import sampling_logp
from stillage.types import Example

SIZES = {
    "vocab_size": 97,
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "head_dim": 8,
    "max_position_embeddings": 32,
    "initializer_range": 0.3,
    "pad_token_id": 0,
    "bos_token_id": 1,
    "eos_token_id": 2,
}
THETA = {"rope_theta": 1e4}
ORIGINAL = {"original_max_position_embeddings": 12, "factor": 4.0, **THETA}
FACTORS = {"short_factor": [1.0] * 4, "long_factor": [3.0, 4.0, 6.0, 9.0]}
LONGROPE = {"rope_type": "longrope", **ORIGINAL, **FACTORS}
EXPERTS = {"num_local_experts": 2, "num_experts_per_tok": 1}
FAMILIES: dict[str, tuple[str, dict[str, Any]]] = {
    "phi3 longrope": (
        "phi3",
        {"original_max_position_embeddings": 12, "rope_parameters": LONGROPE},
    ),
    "llama longrope": ("llama", {"rope_parameters": LONGROPE}),
    "phimoe longrope": (
        "phimoe",
        {"rope_parameters": {**LONGROPE, "short_mscale": 1.1, "long_mscale": 1.3}, **EXPERTS},
    ),
    "phi3 window": ("phi3", {"sliding_window": 8}),
    "llama dynamic": (
        "llama",
        {"rope_parameters": {"rope_type": "dynamic", "factor": 4.0, **THETA}},
    ),
    "llama yarn": ("llama", {"rope_parameters": {"rope_type": "yarn", **ORIGINAL}}),
    "llama linear": ("llama", {"rope_parameters": {"rope_type": "linear", "factor": 4.0, **THETA}}),
    "llama llama3": (
        "llama",
        {
            "rope_parameters": {
                "rope_type": "llama3",
                "low_freq_factor": 1.0,
                "high_freq_factor": 4.0,
                **ORIGINAL,
            }
        },
    ),
    "mistral": ("mistral", {"sliding_window": 8}),
    "gemma2": ("gemma2", {"sliding_window": 8, "query_pre_attn_scalar": 8}),
    "gemma3": (
        "gemma3_text",
        {"sliding_window": 8, "layer_types": ["sliding_attention", "full_attention"]},
    ),
    "qwen2": ("qwen2", {"use_sliding_window": True, "sliding_window": 8, "max_window_layers": 1}),
    "qwen3": ("qwen3", {}),
    "cohere2": ("cohere2", {"sliding_window": 8}),
    "gpt_oss": ("gpt_oss", {"sliding_window": 8, **EXPERTS}),
    "gpt2": ("gpt2", {}),
    "opt": ("opt", {"ffn_dim": 48, "word_embed_proj_dim": 32}),
    "gpt_neox": ("gpt_neox", {}),
    "gpt_neo": (
        "gpt_neo",
        {
            "num_layers": 2,
            "num_heads": 4,
            "window_size": 8,
            "attention_types": [[["global", "local"], 1]],
        },
    ),
    "bloom": ("bloom", {}),
    "doge": ("doge", {"keep_window_size": 12}),
}
SWITCH = ("phi3 longrope", "llama longrope", "phimoe longrope", "doge")
"""Those that read a short text otherwise beside a long one."""
LENGTHS = (5, 8, 9, 12, 13, 32)


@cache
def model_of(family: str, seed: int = 0) -> PreTrainedModel:
    kind, more = FAMILIES[family]
    torch.manual_seed(seed)
    return AutoModelForCausalLM.from_config(AutoConfig.for_model(kind, **{**SIZES, **more})).eval()


def examples() -> list[Example]:
    rng = np.random.default_rng(0)
    return [
        Example(
            record_id=str(n),
            ids_T=rng.integers(3, 97, n).astype(np.int32),
            response_T=np.arange(n) >= min(3, n - 1),
        )
        for n in LENGTHS
    ]


@pytest.mark.parametrize("family", FAMILIES)
def test_a_record_scores_beside_others_as_alone(family: str) -> None:
    model, records = model_of(family), examples()
    together = token_stats(model, records)
    alone = [token_stats(model, [record])[0] for record in records[::-1]][::-1]
    for a, b in zip(together, alone, strict=True):
        np.testing.assert_allclose(a.logp_T, b.logp_T, atol=2e-4, rtol=1e-4)


@pytest.mark.parametrize("family", SWITCH)
def test_it_is_no_matter_of_course(family: str) -> None:
    """Without the batches that are formed so, these families do give a short record another score beside a long one."""
    model, records = model_of(family), examples()
    ids = [torch.from_numpy(record.ids_T.astype(np.int64)) for record in (records[0], records[-1])]
    with torch.no_grad():
        alone = model(input_ids=ids[0][None], use_cache=False).logits[0]
        both = model(
            input_ids=torch.nn.utils.rnn.pad_sequence(ids, batch_first=True), use_cache=False
        ).logits[0, :5]
    differs = float((alone - both).abs().max()) > 1e-2
    assert differs or family == "doge"  # within its window Doge may drop nothing that it looks at
    assert kind_of(model.config, 5) != kind_of(model.config, 32)


@pytest.mark.parametrize("family", SWITCH[:1])
def test_whatever_else_reads_records_keeps_them_apart(family: str) -> None:
    model, other, records = model_of(family), model_of(family, 1), examples()
    asked = [Decoding(sampling_temperature=0.7, top_k=20)]

    def said(some: Sequence[Example]) -> list[np.ndarray]:
        return [
            mean_kl(model, other, some),
            block_readings(model, some).loss_LN.T.ravel(),
            np.array([logp_ST.sum() for logp_ST in sampling_logp(model, some, asked)]),
            np.array([norms.total for norms in gradient_norms(model, some)]),
        ]

    apart = [said([record]) for record in records]
    for k, found in enumerate(said(records)):
        np.testing.assert_allclose(
            found, np.concatenate([one[k] for one in apart]), rtol=1e-3, atol=1e-3
        )


@pytest.mark.parametrize("family", (*SWITCH, "mistral", "gemma3", "gpt_neo"))
def test_an_answer_is_the_same_beside_others_and_token_by_token(family: str) -> None:
    """Texts that pass a limit, each at another step, or have passed it, or never do."""
    model = model_of(family)
    prompts = [record.ids_T for record in (*examples()[:5], *examples()[1:2])]
    names = list(map(str, range(len(prompts))))
    how = Decoding(max_new_tokens=5), TextRules(-1, 0)
    together = generate(model, Prompts(prompts, names), *how)
    for prompt, name, ids in zip(prompts, names, together, strict=True):
        assert ids.tolist() == generate(model, Prompts([prompt], [name]), *how)[0].tolist()
        if (
            family != "doge"
        ):  # whose attention to a word changes with what follows: nothing kept is the same
            assert ids.tolist() == by_hand(model, prompt, 5)


def by_hand(model: PreTrainedModel, prompt: np.ndarray, count: int) -> list[int]:
    ids = prompt.tolist()
    with torch.no_grad():
        for _ in range(count):
            ids.append(
                int(model(input_ids=torch.tensor([ids]), use_cache=False).logits[0, -1].argmax())
            )
    return ids[len(prompt) :]


@pytest.mark.parametrize("family", SWITCH[1:2])
def test_beams_are_the_same_beside_others(family: str) -> None:
    model = model_of(family)
    prompts = [record.ids_T for record in examples()[2:5]]
    names = [str(len(prompt)) for prompt in prompts]

    def search(ids: list[np.ndarray], names: list[str], beams: int) -> list[np.ndarray]:
        asked, rules = Prompts(ids, names), TextRules(2, 0)
        return beam_search(model, asked, rules, beams=beams, max_new_tokens=4)

    together = search(prompts, names, 2)
    alone = [search([p], [n], 2)[0] for p, n in zip(prompts, names, strict=True)]
    assert [ids.tolist() for ids in together] == [ids.tolist() for ids in alone]
    narrow = search(prompts, names, 1)
    assert [ids.tolist() for ids in narrow] == [
        until_end(by_hand(model, prompt, 4)) for prompt in prompts
    ]  # across the limit as before it


def until_end(ids: list[int]) -> list[int]:
    return ids[: ids.index(2) + 1] if 2 in ids else ids


def test_dynamic_scaling_never_sets_in() -> None:
    """It depends on the longest text that was ever read; nothing longer than the context is."""
    long = Example(record_id="r", ids_T=np.full(33, 5, np.int32), response_T=np.arange(33) > 2)
    with pytest.raises(DataError, match="longer than the model's context"):
        token_stats(model_of("llama dynamic"), [long])


def test_a_batch_is_of_one_kind_and_as_long_as_it_may_be() -> None:
    batches: list[list[int]] = []
    run_batches([3, 9, 4, 8, 2, 7], 20, batches.append, kinds=["a", "b", "a", "b", "a", "a"])
    assert batches == [[1, 3], [5, 2], [0, 4]]
