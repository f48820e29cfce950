"""Extraction: greedy continuations against an oracle, and the two likenesses."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest
import torch

from stillage.mosaic.canary_reading import ModelReader
from stillage.mosaic.recital import edit_similarity, recite, sentence_bleu, without_end


@pytest.mark.parametrize("prompt_tokens", [4, 50])
def test_the_rest_is_continued_greedily_from_the_first_tokens(
    case: SimpleNamespace, prompt_tokens: int
) -> None:
    target = ModelReader(model=case.model(case.tokenizer), tokenizer=case.tokenizer)
    found = recite(target, case.canaries, prompt_tokens=prompt_tokens).to_pylist()
    alone = recite(target, case.canaries, prompt_tokens=prompt_tokens, batch_tokens=1).to_pylist()
    assert found == alone
    for row, canary in zip(found, case.canaries.to_pylist(), strict=True):
        ids = canary["ids"]
        cut = min(prompt_tokens, len(ids) // 2)
        written = ids[:cut]
        with torch.no_grad():
            while len(written) < len(ids):
                written = [
                    *written,
                    int(target.model(torch.tensor([written])).logits[0, -1].argmax()),
                ]
        answer = without_end(np.array(written[cut:]), case.tokenizer.eos_token_id)
        assert (row["canary"], row["role"]) == (canary["canary"], canary["role"])
        assert row["edit_similarity"] == edit_similarity(answer, np.array(ids[cut:]))
        texts = [case.tokenizer.decode(some) for some in (answer, ids[cut:])]
        assert row["bleu"] == sentence_bleu(texts[:1], texts[1:])[0]


def test_unsmoothed_bleu_by_hand() -> None:
    """(1/4 sum of log precisions) and the brevity penalty; 0 without a common 4-gram."""
    reference = "a b c d e f g h"
    both = sentence_bleu(
        ["a b c d e x g h", reference, "a b c x e f g x", "a b c", "", "a b c d e f"],
        [reference] * 6,
    )
    precisions = [7 / 8, 5 / 7, 3 / 6, 2 / 5]
    assert both[0] == pytest.approx(np.prod(precisions) ** 0.25)
    assert both[1] == pytest.approx(1.0)
    assert both[2:5] == [0.0, 0.0, 0.0]
    assert both[5] == pytest.approx(np.exp(1 - 8 / 6))
    assert sentence_bleu([], []) == []


def test_edit_similarity_and_the_end_of_text() -> None:
    assert edit_similarity(np.array([1, 2, 3]), np.array([1, 3])) == pytest.approx(1 - 1 / 3)
    assert edit_similarity(np.array([]), np.array([1, 2])) == 0
    assert without_end(np.array([4, 0, 5]), 0).tolist() == [4]
    assert without_end(np.array([4, 5]), 0).tolist() == [4, 5]
