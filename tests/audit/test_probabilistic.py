"""(n, p)-extraction: its arithmetic against exact fractions, and log p_z against enumeration and 10^5 real samples."""

from __future__ import annotations

import itertools
import math
from fractions import Fraction

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from transformers import PreTrainedModel

from stillage.audit.memorization import memorization_schema
from stillage.audit.probabilistic import (
    log_hazard,
    probabilistic_results,
    samples_needed,
)
from stillage.errors import ConfigError, DataError
from stillage.functional import readout
from stillage.models.generate import Decoding, generate
from stillage.models.load import load_model
from stillage.models.prompts import Prompts, TextRules
from stillage.models.query import token_stats
from stillage.models.sampling_stats import sampling_logp
from stillage.run.config import ModelConfig
from stillage.types import Example, Result

VOCAB = 7
DECODINGS = (
    Decoding(sampling_temperature=1.0),
    Decoding(sampling_temperature=0.6),
    Decoding(sampling_temperature=1.5, top_k=3),
    Decoding(sampling_temperature=1.0, top_p=0.8),
    Decoding(sampling_temperature=0.8, top_k=5, top_p=0.9),
    Decoding(),  # greedy
)


@pytest.fixture(scope="module")
def model() -> PreTrainedModel:
    config = ModelConfig(architecture="gpt2", layers=1, width=16, heads=2, context=16)
    made = load_model(config, vocab_size=VOCAB, seed=3)
    with torch.no_grad():
        for parameter in made.parameters():
            if parameter.ndim > 1:
                parameter.mul_(6.0)
    return made


def example(prefix: list[int], suffix: list[int], name: str = "x") -> Example:
    ids = np.array(prefix + suffix, np.int32)
    return Example(record_id=name, ids_T=ids, response_T=np.arange(len(ids)) >= len(prefix))


def oracle(model: PreTrainedModel, one: Example, decoding: Decoding) -> np.ndarray:
    """Per token in float64, by sorting: temperature, top-k, top-p, renormalise, look up."""
    with torch.no_grad():
        logits_TV = (
            model(input_ids=torch.from_numpy(one.ids_T.astype(np.int64))[None])
            .logits[0]
            .double()
            .numpy()
        )
    found = []
    for t in np.flatnonzero(one.response_T):
        line, y = logits_TV[t - 1], int(one.ids_T[t])
        if decoding.sampling_temperature == 0:
            found.append(0.0 if line.argmax() == y else -math.inf)
            continue
        order = np.argsort(-line)[: decoding.top_k or None]
        p = np.exp(line[order] / decoding.sampling_temperature)
        p /= p.sum()
        size = int(np.searchsorted(np.cumsum(p), decoding.top_p - 1e-12)) + 1
        order, p = order[:size], p[:size] / p[:size].sum()
        at = np.flatnonzero(order == y)
        found.append(math.log(p[at[0]]) if at.size else -math.inf)
    return np.array(found)


def test_every_setting_against_float64(model: PreTrainedModel) -> None:
    rng = np.random.default_rng(0)
    examples = [
        example(
            rng.integers(0, VOCAB, 3).tolist(),
            rng.integers(0, VOCAB, int(rng.integers(0, 9))).tolist(),
            str(k),
        )
        for k in range(25)
    ]
    found = sampling_logp(model, examples, DECODINGS, batch_tokens=40)
    ruled_out = 0
    for one, logp_ST in zip(examples, found, strict=True):
        assert logp_ST.shape == (len(DECODINGS), int(one.response_T.sum()))
        for decoding, logp_T in zip(DECODINGS, logp_ST, strict=True):
            np.testing.assert_allclose(logp_T, oracle(model, one, decoding), atol=1e-5)
            ruled_out += int(np.isinf(logp_T).sum())
    assert ruled_out > 50
    plain = token_stats(model, examples)
    for stats, logp_ST in zip(plain, found, strict=True):
        np.testing.assert_allclose(logp_ST[0], stats.logp_T, atol=1e-5)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(
            readout, "chunk_sizes", lambda count, size, **_: [3] * (count // 3) + [count % 3]
        )
        for whole, parts in zip(found, sampling_logp(model, examples, DECODINGS), strict=True):
            np.testing.assert_allclose(parts, whole, atol=1e-5)


@pytest.mark.parametrize("decoding", DECODINGS[:5])
def test_the_suffixes_of_a_length_share_out_all_probability(
    model: PreTrainedModel, decoding: Decoding
) -> None:
    suffixes = list(itertools.product(range(VOCAB), repeat=2))
    examples = [example([2, 5, 1], list(suffix), str(suffix)) for suffix in suffixes]
    logp = np.array(
        [one[0].astype(np.float64).sum() for one in sampling_logp(model, examples, [decoding])]
    )
    assert np.exp(logp).sum() == pytest.approx(1, abs=1e-5)


def test_a_hundred_thousand_samples_agree(model: PreTrainedModel) -> None:
    """Real generation under temperature, top-k and top-p together: every suffix as often as p_z says."""
    decoding = Decoding(max_new_tokens=2, sampling_temperature=1.3, top_k=5, top_p=0.93)
    n, prefix = 100_000, [2, 5, 1]
    written = generate(
        model,
        Prompts([np.array(prefix)] * n, list(map(str, range(n))), 1),
        decoding,
        TextRules(VOCAB + 1, 0),
        batch_tokens=10**6,
    )
    counts = np.zeros((VOCAB, VOCAB), int)
    np.add.at(counts, tuple(np.array(written).T), 1)
    suffixes = list(itertools.product(range(VOCAB), repeat=2))
    examples = [example(prefix, list(suffix), str(suffix)) for suffix in suffixes]
    p = np.exp(
        [one[0].astype(np.float64).sum() for one in sampling_logp(model, examples, [decoding])]
    )
    seen = counts.ravel()
    assert (p == 0).sum() >= 20 and seen[p == 0].sum() == 0
    spread = np.sqrt(n * p * (1 - p)) + 1e-9
    assert np.abs((seen - n * p) / spread)[p > 0].max() < 4.5
    chi2 = float((((seen - n * p) ** 2)[p > 0] / (n * p[p > 0])).sum())
    assert chi2 < 60  # about 20 degrees of freedom


def test_bad_settings_are_refused(model: PreTrainedModel) -> None:
    with pytest.raises(ConfigError, match="repeating"):
        sampling_logp(
            model, [example([1], [2])], [Decoding(sampling_temperature=1.0, no_repeat_ngram=3)]
        )
    with pytest.raises(ConfigError):
        sampling_logp(model, [example([1], [2])], [Decoding(sampling_temperature=1.0, top_p=0.0)])
    with pytest.raises(DataError):
        sampling_logp(model, [example([1], [VOCAB])], [Decoding(sampling_temperature=1.0)])


@given(
    top=st.integers(1, 60),
    bottom=st.integers(61, 90),
    n=st.integers(1, 200),
    p=st.sampled_from([(1, 10), (1, 2), (9, 10)]),
)
def test_extractable_is_its_definition_in_exact_fractions(
    top: int, bottom: int, n: int, p: tuple[int, int]
) -> None:
    p_z = Fraction(top, bottom)
    exact = 1 - (1 - p_z) ** n >= Fraction(*p)
    assert bool(samples_needed(np.array([math.log(p_z)]), p[0] / p[1])[0] <= n) == exact


def test_the_ends_and_far_below_underflow() -> None:
    needed = samples_needed(np.array([0.0, -math.inf, -2000.0, math.log(0.5), math.nan]), 0.5)
    assert (
        needed[0] == 1
        and np.isinf(needed[1])
        and np.isinf(needed[2])
        and needed[3] == 1
        and math.isnan(needed[4])
    )
    assert samples_needed(np.array([-500.0]), 0.9)[0] == pytest.approx(
        math.log(10) * math.exp(500), rel=1e-9
    )
    assert log_hazard(np.array([-30.001, -29.999])) == pytest.approx([-30.001, -29.999], abs=1e-9)
    assert samples_needed(np.array([-math.inf]), 0.1)[0] > 1e300
    with pytest.raises(DataError, match="above 0"):
        log_hazard(np.array([0.1]))


def test_curves_rise_with_n_and_come_with_their_floor() -> None:
    import pyarrow as pa

    logp = {"private": [-0.1, -2.0, -7.0, -40.0], "nonmembers": [-7.0, -40.0, math.nan, -math.inf]}
    rows = [
        {
            name: 0.0
            for name in memorization_schema().names
            if name not in ("model", "id", "part", "tokens", "exact")
        }
        | {
            "model": "m",
            "id": f"{part}{k}",
            "part": part,
            "tokens": 3,
            "exact": False,
            "suffix_logp": value,
        }
        for part, values in logp.items()
        for k, value in enumerate(values)
    ]
    table = pa.Table.from_pylist(rows, schema=memorization_schema())
    results = probabilistic_results(
        table, level=0.95, base=Result(run="", stage="audit", model="", metric="", value=0.0)
    )
    rates = {(r.dataset, r.draws, r.probability): r for r in results}
    assert len(results) == len(rates) == 2 * 3 * 5
    members = [rates["private", n, 0.5].value for n in (1, 10, 100, 1000, 10000)]
    assert members == [0.25, 0.5, 0.5, 0.75, 0.75]
    floor = rates["nonmembers", 10000, 0.9]
    assert (floor.value, floor.n) == (0.25, 4) and floor.missing == 1
    assert rates["private", 1000, 0.1].value >= rates["private", 1000, 0.9].value
