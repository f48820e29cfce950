"""Beam search against all texts there are, and in any batch."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest
import torch

from stillage.errors import ConfigError, DataError
from stillage.models.beams import beam_search
from stillage.models.prompts import Prompts, TextRules

EOS = 0


def search(model: object, prompts: list[np.ndarray], **options: int) -> list[np.ndarray]:
    names = [str(row) for row in range(len(prompts))]
    return beam_search(model, Prompts(prompts, names), TextRules(EOS, 1), **options)  # pyright: ignore[reportArgumentType]


def best_of_all(model: object, prompt: np.ndarray, vocabulary: int) -> list[int]:
    """The text of at most two tokens with the highest mean log-probability."""
    with torch.no_grad():
        ids = torch.from_numpy(prompt.astype(np.int64))[None]
        first = torch.log_softmax(model(ids).logits[0, -1], -1)  # pyright: ignore[reportCallIssue]
        longer = torch.cat([ids.expand(vocabulary, -1), torch.arange(vocabulary)[:, None]], 1)
        second = torch.log_softmax(model(longer).logits[:, -1], -1)  # pyright: ignore[reportCallIssue]
    scores = {(EOS,): float(first[EOS])}
    for one in range(vocabulary):
        for two in range(vocabulary if one != EOS else 0):
            scores[one, two] = float(first[one] + second[one, two]) / 2
    return list(max(scores, key=lambda text: scores[text]))


def test_a_beam_as_wide_as_the_vocabulary_finds_the_best_text(small: SimpleNamespace) -> None:
    model = small.model(seed=1, width=48)
    with torch.no_grad():
        model.get_input_embeddings().weight.mul_(5)
    prompts = [example.prompt_ids for example in small.examples(4)]
    found = search(model, prompts, beams=small.VOCAB, max_new_tokens=2)
    assert [ids.tolist() for ids in found] == [
        best_of_all(model, prompt, small.VOCAB) for prompt in prompts
    ]


def test_the_batch_and_the_end_of_the_context_change_nothing(small: SimpleNamespace) -> None:
    model = small.model(seed=1, width=48)
    prompts = [
        np.resize(example.prompt_ids, length)
        for example, length in zip(small.examples(4), (3, 30, 5, 28), strict=True)
    ]
    found = search(model, prompts, beams=3, max_new_tokens=6)
    assert [
        len(ids) <= min(6, 32 - len(prompt)) for ids, prompt in zip(found, prompts, strict=True)
    ] == [True] * 4
    for prompt, ids in zip(prompts, found, strict=True):
        assert np.array_equal(search(model, [prompt], beams=3, max_new_tokens=6)[0], ids)
    assert search(model, [], beams=3, max_new_tokens=6) == []


def test_refusals(small: SimpleNamespace) -> None:
    model, prompt = small.model(), np.array([3, 4])
    for options in ({"beams": 0, "max_new_tokens": 4}, {"beams": 2, "max_new_tokens": 0}):
        with pytest.raises(ConfigError):
            search(model, [prompt], **options)
    with pytest.raises(DataError):
        search(model, [np.zeros(32, np.int64)], beams=2, max_new_tokens=2)
