"""The published scores as released: golden values, and what a batch must not change."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace
from zlib import compress

import numpy as np
import pytest
import torch
from safetensors.numpy import load_file

from stillage.mosaic.canary_reading import ModelReader
from stillage.mosaic.released_scores import RELEASED, released_scores
from stillage.types import TokenStats

ROOT = Path(__file__).parents[2]
TENSORS = load_file(ROOT / "tests/golden/membership_scores.safetensors")
CASES = {
    case["name"]: case
    for case in json.loads((ROOT / "tests/golden/membership_scores.json").read_text())["cases"]
}


def stats_of(weight: np.ndarray, ids: list[int]) -> TokenStats:
    """What a bigram model says of ids, from its definition."""
    logits_TV = weight.astype(np.float64)[ids[:-1]]
    logp_TV = logits_TV - np.log(np.exp(logits_TV).sum(1, keepdims=True))
    logp_T = logp_TV[np.arange(len(ids) - 1), ids[1:]]
    zero_T = np.zeros(len(ids) - 1, np.int32)
    return TokenStats(
        ids_T=zero_T,
        logp_T=logp_T,
        mean_T=logp_T,
        var_T=logp_T,
        rank_T=zero_T,
        greedy_T=zero_T == 0,
    )


def test_golden_scores_with_the_pad_that_was_scored() -> None:
    """There a text shorter than its batch's longest had the first pad scored; given that, all five agree."""
    case = CASES["mosaic/scores"]
    options, expected = case["options"], case["expected"]
    longest = max(map(len, options["texts"]))

    def published(name: str) -> np.ndarray:
        value = expected[name]
        return np.asarray(TENSORS[value] if isinstance(value, str) else value)

    for row, text in enumerate(options["texts"]):
        ids = [options["vocabulary"].index(letter) for letter in text]
        ids += [options["pad_id"]] * (len(text) < longest)
        own, other = (stats_of(TENSORS[name], ids) for name in ("in/char_W", "in/char_reference_W"))
        replies = {
            "loss": [own],
            "ratio": [own, other],
            "lowercase": [own, own],
            "zlib": [own, text],
            **({"minkprob": [own]} if len(text) == longest else {}),
        }
        for name, given in replies.items():
            assert -RELEASED[name].score(*given) == pytest.approx(published(name)[row], rel=1e-5)


def test_each_score_from_the_models_own_logits(case: SimpleNamespace) -> None:
    """Oracle: the formulas of the published code, one text at a time; the reference has its own tokenizer."""
    target = ModelReader(model=case.model(case.tokenizer, 1), tokenizer=case.tokenizer)
    tokenizer = case.other_tokenizer
    reference = ModelReader(model=case.model(tokenizer, 2), tokenizer=tokenizer)

    def logps(reader: ModelReader, ids: list[int]) -> np.ndarray:
        with torch.no_grad():
            logp = reader.model(torch.tensor([ids])).logits[0].double().log_softmax(-1)
        return logp[torch.arange(len(ids) - 1), torch.tensor(ids[1:])].numpy()

    rows = case.canaries.to_pylist()
    expected: dict[str, list[float]] = {name: [] for name in RELEASED}
    for row in rows:
        text, own = row["text"], logps(target, row["ids"])
        ppl = np.exp(-own.mean())
        expected["loss"].append(ppl)
        expected["ratio"].append(
            ppl / np.exp(-logps(reference, tokenizer(text)["input_ids"]).mean())
        )
        lower = case.tokenizer(text.lower())["input_ids"]
        expected["lowercase"].append(ppl / np.exp(-logps(target, lower).mean()))
        expected["zlib"].append(np.log(ppl) / (len(compress(text.encode())) / len(text)))
        expected["minkprob"].append(-np.sort(own)[:20].mean())
    for batch_tokens in (1, 4096):
        found = released_scores(target, case.canaries, reference, batch_tokens=batch_tokens)
        for name, values in expected.items():
            scores = [one["score"] for one in found.to_pylist() if one["attack"] == name]
            np.testing.assert_allclose(scores, -np.array(values), rtol=1e-4)
