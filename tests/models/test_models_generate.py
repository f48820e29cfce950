"""Generated text: equal to the definition, and independent of batch, order and padding."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import chisquare
from transformers import PreTrainedModel

from stillage.errors import CapabilityError, ConfigError, DataError, ModelError
from stillage.models import generate as module
from stillage.models.generate import Decoding, generate
from stillage.models.prompts import Prompts, TextRules

GREEDY = Decoding(max_new_tokens=12)
SAMPLED = Decoding(max_new_tokens=12, sampling_temperature=0.9, top_k=40, top_p=0.95)
FAMILIES = (
    "gpt2",
    "opt",
    "llama",
    "qwen2",
    "mistral",
    "gemma2",
    "gpt_neox",
    "phi",
    "cohere",
    "bloom",
    "falcon",
    "mpt",
)


def prompts_of(seed: int, count: int, longest: int = 14) -> list[np.ndarray]:
    rng = np.random.default_rng(seed)
    return [
        rng.integers(2, 97, int(rng.integers(1, longest))).astype(np.int32) for _ in range(count)
    ]


def write(
    model: PreTrainedModel,
    prompts: list[np.ndarray],
    decoding: Decoding,
    names: list[str] | None = None,
    eos: int = 0,
    batch_tokens: int = 16384,
    seed: int = 3,
) -> list[list[int]]:
    names = [f"n{k}" for k in range(len(prompts))] if names is None else names
    made = generate(
        model,
        Prompts(prompts, names, seed),
        decoding,
        TextRules(eos, 1),
        batch_tokens=batch_tokens,
    )
    assert all(ids.dtype == np.int32 for ids in made)
    return [ids.tolist() for ids in made]


def by_hand(model: PreTrainedModel, prompt: np.ndarray, count: int, eos: int) -> list[int]:
    """Greedy without cache, padding or batch: the argmax after the whole text, token by token."""
    ids = prompt.tolist()
    for _ in range(count):
        with torch.no_grad():
            ids.append(int(model(input_ids=torch.tensor([ids])).logits[0, -1].argmax()))
        if ids[-1] == eos:
            break
    return ids[len(prompt) :]


@pytest.mark.parametrize("family", FAMILIES)
def test_greedy_is_the_teacher_forced_argmax(
    family: str, build: Callable[..., PreTrainedModel]
) -> None:
    model = build(family)
    prompts = prompts_of(1, 5)
    free = write(model, prompts, GREEDY, eos=-1)
    assert len({tuple(ids) for ids in free}) > 1
    eos = free[0][4]  # a token that is written: rows now end at different places
    expected = [by_hand(model, prompt, 12, eos) for prompt in prompts]
    assert len({len(ids) for ids in expected}) > 1
    assert write(model, prompts, GREEDY, eos=eos) == expected
    assert write(model, prompts, GREEDY, eos=eos, batch_tokens=1) == expected
    assert expected[0][-1] == eos


@settings(max_examples=12, deadline=None)
@given(seed=st.integers(0, 10**6), batch_tokens=st.integers(1, 300))
def test_sampling_ignores_batch_and_order(
    seed: int, batch_tokens: int, build: Callable[..., PreTrainedModel]
) -> None:
    model = build("llama", spread=2.0)
    prompts, names = prompts_of(seed, 6), [f"r{k}" for k in range(6)]
    whole = write(model, prompts, SAMPLED, names)
    order = np.random.default_rng(seed).permutation(6)
    again = write(
        model,
        [prompts[k] for k in order],
        SAMPLED,
        [names[k] for k in order],
        batch_tokens=batch_tokens,
    )
    assert again == [whole[k] for k in order]
    alone = [
        write(model, [prompt], SAMPLED, [name])[0]
        for prompt, name in zip(prompts, names, strict=True)
    ]
    assert alone == whole


def test_noise_belongs_to_seed_and_name(build: Callable[..., PreTrainedModel]) -> None:
    model = build(spread=2.0)
    prompt = prompts_of(0, 1)[0]
    first = write(model, [prompt] * 3, SAMPLED, ["a", "b", "a"])
    assert first[0] == first[2] != first[1]
    assert write(model, [prompt], SAMPLED, ["a"], seed=4) != [first[0]]
    state = torch.get_rng_state()
    write(model, [prompt], SAMPLED, ["a"])
    assert torch.equal(state, torch.get_rng_state())


@pytest.mark.parametrize(
    "decoding",
    [
        Decoding(max_new_tokens=1, sampling_temperature=1.0),
        Decoding(max_new_tokens=1, sampling_temperature=0.6),
        Decoding(max_new_tokens=1, sampling_temperature=1.0, top_k=5),
        Decoding(max_new_tokens=1, sampling_temperature=1.3, top_p=0.8),
        Decoding(max_new_tokens=1, sampling_temperature=1.3, top_k=7, top_p=0.8),
    ],
)
def test_frequencies_follow_the_softmax(
    decoding: Decoding, build: Callable[..., PreTrainedModel]
) -> None:
    model = build(vocab=12, spread=6.0)
    prompt = np.asarray([3, 4, 5], np.int32)
    draws = 4000
    made = write(model, [prompt] * draws, decoding, [f"draw {k}" for k in range(draws)])
    with torch.no_grad():
        logits = (
            model(input_ids=torch.from_numpy(prompt.astype(np.int64))[None])
            .logits[0, -1]
            .double()
            .numpy()
        )
    p = np.exp(logits / decoding.sampling_temperature)
    order = np.argsort(-p)
    if decoding.top_k:
        p[order[decoding.top_k :]] = 0
    p /= p.sum()
    enough = int(np.searchsorted(np.cumsum(p[order]), decoding.top_p)) + 1
    p[order[enough:]] = 0
    p /= p.sum()
    counts = np.bincount([ids[0] for ids in made], minlength=12)
    assert (p > 0).sum() >= 3
    assert counts[p == 0].sum() == 0
    assert chisquare(counts[p > 0], draws * p[p > 0]).pvalue > 1e-3


def test_second_token_is_drawn_anew(build: Callable[..., PreTrainedModel]) -> None:
    model = build(vocab=12, spread=0.0)  # all logits equal: every token is uniform and independent
    made = write(
        model,
        [np.asarray([3], np.int32)] * 3000,
        Decoding(max_new_tokens=2, sampling_temperature=1.0),
        eos=-1,
    )
    table = np.zeros((12, 12))
    for first, second in made:
        table[first, second] += 1
    assert chisquare(table.ravel()).pvalue > 1e-3


def test_the_context_ends_the_text(
    build: Callable[..., PreTrainedModel], caplog: pytest.LogCaptureFixture
) -> None:
    model = build(context=16)
    prompts = [np.arange(2, 12, dtype=np.int32), np.arange(2, 5, dtype=np.int32)]
    with caplog.at_level("WARNING", "stillage"):
        made = write(model, prompts, GREEDY, eos=-1)
    assert [len(ids) for ids in made] == [6, 12]
    assert made == [by_hand(model, prompts[0], 6, -1), by_hand(model, prompts[1], 12, -1)]
    assert "1 of 2 answers are cut" in caplog.text


def test_edge_cases_and_bad_input(build: Callable[..., PreTrainedModel]) -> None:
    model = build(context=16)
    assert write(model, [], GREEDY) == []
    with pytest.raises(DataError, match=r"n1 is empty"):
        write(model, [np.ones(2, np.int32), np.zeros(0, np.int32)], GREEDY)
    with pytest.raises(DataError, match=r"n0[\s\S]*17 tokens[\s\S]*16"):
        write(model, [np.ones(16, np.int32)], GREEDY)
    with pytest.raises(DataError, match="0 to 96"):
        write(model, [np.asarray([97], np.int32)], GREEDY)
    for wrong in (
        {"max_new_tokens": 0},
        {"top_p": 0.0},
        {"top_p": 1.5},
        {"top_k": -1},
        {"sampling_temperature": -1.0},
        {"sampling_temperature": float("nan")},
    ):
        with pytest.raises(ConfigError, match=next(iter(wrong))):
            write(model, prompts_of(0, 2), Decoding(**wrong))
    with torch.no_grad():
        model.transformer.h[0].mlp.c_fc.weight[0, 0] = torch.nan
    for decoding in (GREEDY, SAMPLED):
        with pytest.raises(ModelError, match="NaN"):
            write(model, prompts_of(0, 2), decoding)


def test_several_ends_of_text(build: Callable[..., PreTrainedModel]) -> None:
    model = build()
    prompt = prompts_of(1, 1)[0]
    free = by_hand(model, prompt, 12, -1)
    made = generate(model, Prompts([prompt], ["a"]), GREEDY, TextRules([95, free[2]], 1))
    assert made[0].tolist() == free[: free.index(free[2]) + 1]


@pytest.mark.parametrize("n", [1, 2, 3])
def test_no_ngram_is_written_twice(n: int, build: Callable[..., PreTrainedModel]) -> None:
    model = build(vocab=12)
    prompts = [np.asarray(ids, np.int32) for ids in ([3, 4, 3], [5], [6, 7, 8, 9, 6, 7])]
    count = {1: 5, 2: 30, 3: 30}[n]
    made = write(model, prompts, Decoding(max_new_tokens=count, no_repeat_ngram=n), eos=-1)
    free = write(model, prompts, Decoding(max_new_tokens=count), eos=-1)
    assert made != free
    for prompt, ids in zip(prompts, made, strict=True):
        text = [*prompt.tolist(), *ids]
        grams = [tuple(text[k : k + n]) for k in range(len(text) - n + 1)]
        ours = grams[max(0, len(prompt) - n + 1) :]
        assert len(set(ours)) == len(ours)
        assert not set(ours) & set(grams[: len(grams) - len(ours)])


def test_modes_are_restored_and_dropout_is_off(build: Callable[..., PreTrainedModel]) -> None:
    model = build()
    expected = write(model, prompts_of(2, 3), GREEDY)
    model.train()
    model.transformer.drop.p = 0.5
    model.transformer.h[1].eval()
    modes = [part.training for part in model.modules()]
    assert write(model, prompts_of(2, 3), GREEDY) == expected
    assert [part.training for part in model.modules()] == modes
    with pytest.raises(DataError):
        write(model, [np.zeros(0, np.int32)], GREEDY)
    assert [part.training for part in model.modules()] == modes


def test_out_of_memory_halves_the_batch(
    build: Callable[..., PreTrainedModel], monkeypatch: pytest.MonkeyPatch
) -> None:
    model, prompts = build(spread=2.0), prompts_of(5, 9)
    expected = write(model, prompts, SAMPLED)
    sizes = []

    class Hungry(module.Stream):
        def read(self, ids_BT: torch.Tensor) -> None:
            sizes.append(len(ids_BT))
            if len(ids_BT) > 3 and self.attention_BT.shape[1] > 15:
                raise torch.OutOfMemoryError("CUDA out of memory")
            super().read(ids_BT)

    monkeypatch.setattr(module, "Stream", Hungry)
    assert write(model, prompts, SAMPLED) == expected
    assert sizes[0] == 9


def test_finished_rows_cost_nothing(
    build: Callable[..., PreTrainedModel], monkeypatch: pytest.MonkeyPatch
) -> None:
    model, prompts = build(), prompts_of(1, 5)
    eos = write(model, prompts, GREEDY, eos=-1)[0][4]
    lengths = [len(ids) for ids in write(model, prompts, GREEDY, eos=eos)]
    read = []
    real = module.Stream.read
    monkeypatch.setattr(
        module.Stream, "read", lambda self, ids: read.append(ids.shape) or real(self, ids)
    )
    write(model, prompts, GREEDY, eos=eos)
    assert sum(rows for rows, columns in read[1:]) == sum(lengths) - len(prompts)


def test_a_model_without_keys_and_values_is_named() -> None:
    from transformers import AutoConfig, AutoModelForCausalLM

    settings_ = AutoConfig.for_model(
        "mamba", vocab_size=97, hidden_size=32, num_hidden_layers=1, state_size=4
    )
    model = AutoModelForCausalLM.from_config(settings_)
    with pytest.raises(CapabilityError, match="Mamba"):
        write(model, prompts_of(0, 2), GREEDY)
