"""Scores of records against a float64 oracle, whatever the padding, the batch and the memory."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from transformers import PreTrainedModel

from stillage.errors import DataError, UserError
from stillage.models import query
from stillage.models.query import token_moments, token_stats
from stillage.types import Batch, Example, Readout, TokenStats

FIELDS = ("ids_T", "logp_T", "mean_T", "var_T", "rank_T", "greedy_T")


def examples_of(seed: int, count: int, longest: int = 30, vocab: int = 97) -> list[Example]:
    rng = np.random.default_rng(seed)
    made = []
    for k in range(count):
        length = int(rng.integers(2, longest))
        response = rng.random(length) < 0.6
        response[0] = False
        ids = rng.integers(0, vocab, length).astype(np.int32)
        made.append(Example(record_id=f"r{k}", ids_T=ids, response_T=response))
    return made


def oracle(model: PreTrainedModel, example: Example) -> dict[str, np.ndarray]:
    """One record alone, in float64, straight from the definitions."""
    with torch.no_grad():
        logits = (
            model(input_ids=torch.from_numpy(example.ids_T.astype(np.int64))[None])
            .logits[0]
            .double()
        )
    logq = logits.log_softmax(-1).numpy()
    rows = np.flatnonzero(example.response_T)
    out: dict[str, list[float]] = {name: [] for name in FIELDS}
    for row in rows:
        line, y = logq[row - 1], int(example.ids_T[row])
        q = np.exp(line)
        mean = float((q * line).sum())
        values = (
            y,
            line[y],
            mean,
            float((q * (line - mean) ** 2).sum()),
            int((line > line[y]).sum()),
            int(line.argmax()) == y,
        )
        for name, value in zip(FIELDS, values, strict=True):
            out[name].append(value)
    return {name: np.asarray(values) for name, values in out.items()}


def same(a: Sequence[TokenStats], b: Sequence[TokenStats], atol: float) -> None:
    for left, right in zip(a, b, strict=True):
        for name in FIELDS:
            np.testing.assert_allclose(
                getattr(left, name), getattr(right, name), atol=atol, rtol=atol
            )


@pytest.mark.parametrize(
    "family", ["gpt2", "llama", "opt", "gemma2", "phi", "cohere", "bloom", "mistral"]
)
def test_against_the_definitions_in_float64(
    family: str, build: Callable[..., PreTrainedModel]
) -> None:
    model = build(family)
    examples = examples_of(0, 12)
    for example, stats in zip(examples, token_stats(model, examples, batch_tokens=90), strict=True):
        expected = oracle(model, example)
        for name in FIELDS:
            np.testing.assert_allclose(
                getattr(stats, name), expected[name], atol=1e-4, rtol=1e-4, err_msg=name
            )
        assert [getattr(stats, name).dtype for name in FIELDS] == [
            np.int32,
            *[np.float32] * 3,
            np.int32,
            np.bool_,
        ]


def test_a_greedy_text_is_all_hits(build: Callable[..., PreTrainedModel]) -> None:
    model = build()
    ids = [5, 6, 7]
    for _ in range(12):
        ids.append(int(model(input_ids=torch.tensor([ids])).logits[0, -1].argmax()))
    response = np.arange(15) >= 3
    (stats,) = token_stats(
        model, [Example(record_id="a", ids_T=np.asarray(ids, np.int32), response_T=response)]
    )
    assert stats.greedy_T.all()
    assert (stats.rank_T == 0).all()


@settings(max_examples=15, deadline=None)
@given(
    seed=st.integers(0, 10**6),
    batch_tokens=st.integers(1, 400),
    chunk=st.sampled_from([1, 97, 97 * 5, 2**21]),
)
def test_batches_order_padding_and_chunks_change_nothing(
    seed: int, batch_tokens: int, chunk: int, build: Callable[..., PreTrainedModel]
) -> None:
    model = build("llama")
    examples = examples_of(seed, 7)
    alone = [token_stats(model, [example])[0] for example in examples]
    order = np.random.default_rng(seed).permutation(7)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(query, "CHUNK_ELEMENTS", chunk)
        patch.setitem(query.CACHED_ELEMENTS, "cpu", chunk // 2)
        together = token_stats(model, [examples[k] for k in order], batch_tokens=batch_tokens)
    same([alone[k] for k in order], together, 1e-5 * 10)


def test_nothing_to_score_gives_nothing(build: Callable[..., PreTrainedModel]) -> None:
    prompt_only = Example(
        record_id="p", ids_T=np.arange(5, dtype=np.int32), response_T=np.zeros(5, bool)
    )
    empty = Example(record_id="e", ids_T=np.zeros(0, np.int32), response_T=np.zeros(0, bool))
    full = examples_of(3, 1)[0]
    results = token_stats(build(), [prompt_only, full, empty])
    assert [len(stats.logp_T) for stats in results] == [0, int(full.response_T.sum()), 0]
    assert token_stats(build(), []) == []


def test_a_large_vocabulary_is_exact() -> None:
    generator = torch.Generator().manual_seed(0)
    logits = (
        torch.randn(6, 50257, generator=generator)
        * torch.tensor([[0.01], [1.0], [3.0], [10.0], [30.0], [1.0]])
        + 50
    )
    logits[5, 7] += 14
    labels = torch.tensor([0, 3, 1, 2, int(logits[4].argmax()), 9])
    logq = logits.double().log_softmax(-1)
    q, line = logq.exp(), logq[torch.arange(6), labels]
    mean = (q * logq).sum(-1)
    var = (q * (logq - mean[:, None]) ** 2).sum(-1)
    rank = (logits > logits[torch.arange(6), labels][:, None]).sum(-1)
    found = token_moments(logits.clone(), labels)
    np.testing.assert_allclose(found.logp_T, line, atol=1e-5, rtol=1e-5)
    np.testing.assert_allclose(found.mean_T, mean, atol=1e-5, rtol=1e-5)
    np.testing.assert_allclose(found.var_T, var, atol=1e-5, rtol=2e-5)
    assert found.rank_T.tolist() == rank.tolist()
    assert found.greedy_T.tolist() == [False, False, False, False, True, False]


def test_ties_and_infinities() -> None:
    inf = float("inf")
    rows = torch.tensor(
        [
            [1.0, 1.0, 0.0],
            [1.0, 1.0, 0.0],
            [0.0, -inf, 0.0],
            [0.0, -inf, 0.0],
            [0.0, float("nan"), 1.0],
            [inf, 0.0, 0.0],
        ]
    )
    found = token_moments(rows, torch.tensor([0, 1, 0, 1, 2, 1]))
    assert found.greedy_T.tolist() == [True, False, True, False, False, False]
    assert found.rank_T.tolist() == [0, 0, 0, 2, 3, 3]
    half = -np.log(2)
    np.testing.assert_allclose(found.logp_T[2:4], [half, -inf])
    np.testing.assert_allclose(found.mean_T[2:4], [half, half], rtol=1e-6)
    np.testing.assert_allclose(found.var_T[2:4], [0, 0], atol=1e-7)
    assert torch.isnan(torch.stack([found.logp_T, found.mean_T, found.var_T])[:, 4:]).all()


def test_a_model_that_returns_nan_is_counted(
    build: Callable[..., PreTrainedModel], caplog: pytest.LogCaptureFixture
) -> None:
    model = build()
    with torch.no_grad():
        model.transformer.wte.weight[11] = torch.nan
    clean, touched = (
        Example(
            record_id=name,
            ids_T=np.asarray(ids, np.int32),
            response_T=np.asarray([False, True, True]),
        )
        for name, ids in (("a", [1, 2, 3]), ("b", [1, 2, 11]))
    )
    with caplog.at_level("WARNING", "stillage"):
        results = token_stats(model, [clean, touched])
    assert all(
        np.isnan(stats.logp_T).all() for stats in results
    )  # the head is tied: every distribution has the NaN
    assert "2 of 2 records" in caplog.text


def test_a_head_that_is_not_linear_is_scored_anyway(
    build: Callable[..., PreTrainedModel], caplog: pytest.LogCaptureFixture
) -> None:
    model = build()
    model.lm_head.register_forward_hook(lambda _module, _inputs, output: output * 0.5)
    examples = examples_of(5, 4)
    with caplog.at_level("WARNING", "stillage"):
        results = token_stats(model, examples)
    assert "Its own logits are used" in caplog.text
    for example, stats in zip(examples, results, strict=True):
        np.testing.assert_allclose(stats.logp_T, oracle(model, example)["logp_T"], atol=1e-4)


def test_train_mode_and_generator_are_left_alone(build: Callable[..., PreTrainedModel]) -> None:
    model = build()
    model.train()
    model.transformer.h[0].eval()
    model.transformer.drop.p = 0.5
    modes = [module.training for module in model.modules()]
    state = torch.get_rng_state()
    first = token_stats(model, examples_of(1, 3))
    same(first, token_stats(model, examples_of(1, 3)), 0)
    assert torch.equal(state, torch.get_rng_state())
    assert [module.training for module in model.modules()] == modes


def test_bad_records_are_named(build: Callable[..., PreTrainedModel]) -> None:
    model = build(context=16)
    long = Example(record_id="abc", ids_T=np.ones(17, np.int32), response_T=np.arange(17) > 3)
    with pytest.raises(DataError, match=r"abc[\s\S]*17 tokens[\s\S]*16"):
        token_stats(model, [long])
    alien = Example(
        record_id="xyz", ids_T=np.asarray([1, 97], np.int32), response_T=np.asarray([False, True])
    )
    with pytest.raises(DataError, match=r"xyz[\s\S]*1 to 97[\s\S]*0 to 96"):
        token_stats(model, [alien])


@pytest.mark.parametrize(
    "error",
    [
        torch.OutOfMemoryError("CUDA out of memory"),
        RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate"),
        MemoryError(),
    ],
)
def test_out_of_memory_halves_the_batch(
    error: Exception, build: Callable[..., PreTrainedModel], monkeypatch: pytest.MonkeyPatch
) -> None:
    model, examples, sizes = build(), examples_of(2, 9), []
    expected = token_stats(model, examples)
    real = query.read

    def hungry(model: PreTrainedModel, batch: Batch) -> Readout:
        sizes.append(len(batch.ids_BS))
        if len(batch.ids_BS) > 2:
            raise error
        return real(model, batch)

    monkeypatch.setattr(query, "read", hungry)
    same(token_stats(model, examples), expected, 1e-5)
    assert sizes[:3] == [9, 4, 2]
    assert max(sizes[2:]) <= 2 or sizes.count(3) < 9
    monkeypatch.setattr(query, "read", lambda *_: (_ for _ in ()).throw(error))
    with pytest.raises(UserError, match="single record"):
        token_stats(model, examples)
    monkeypatch.setattr(
        query, "read", lambda *_: (_ for _ in ()).throw(RuntimeError("something else"))
    )
    with pytest.raises(RuntimeError, match="something else"):
        token_stats(model, examples)


def test_scores_are_kept_and_found_again(
    build: Callable[..., PreTrainedModel], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = build()
    examples = [
        *examples_of(4, 5),
        Example(record_id="p", ids_T=np.arange(5, dtype=np.int32), response_T=np.zeros(5, bool)),
    ]
    first = token_stats(model, examples, cache=tmp_path, key="m1")
    assert len(list(tmp_path.iterdir())) == 1
    calls = []
    real = query.read
    monkeypatch.setattr(query, "read", lambda *given: calls.append(1) or real(*given))
    again = token_stats(model, examples, cache=tmp_path, key="m1")
    same(first, again, 0)
    assert [getattr(again[0], name).dtype for name in FIELDS] == [
        getattr(first[0], name).dtype for name in FIELDS
    ]
    assert not calls
    other_mask = [
        replace(examples[0], response_T=np.roll(np.arange(len(examples[0].ids_T)) == 0, 1)),
        *examples[1:],
    ]
    for changed, key in (
        (examples, "m2"),
        (examples[::-1], "m1"),
        (examples[:4], "m1"),
        (other_mask, "m1"),
    ):
        calls.clear()
        token_stats(model, changed, cache=tmp_path, key=key)
        assert calls
    calls.clear()
    token_stats(build().bfloat16(), examples, cache=tmp_path, key="m1")
    assert calls, "another precision gives other scores"
    assert (
        token_stats(model, [], cache=tmp_path, key="m1")
        == token_stats(model, [], cache=tmp_path, key="m1")
        == []
    )


@pytest.mark.parametrize(
    "how", ["cut", "empty", "text", "other columns", "other records", "another model"]
)
def test_damaged_scores_are_scored_again(
    how: str,
    build: Callable[..., PreTrainedModel],
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
) -> None:
    import pyarrow as pa

    from stillage.run.folder import write_table

    model, examples = build(), examples_of(4, 5)
    first = token_stats(model, examples, cache=tmp_path / "c", key="m")
    (file,) = (tmp_path / "c").iterdir()
    whole = file.read_bytes()
    if how == "another model":
        token_stats(build(seed=2), examples, cache=tmp_path / "d", key="another")
    else:
        token_stats(model, examples_of(5, 5), cache=tmp_path / "d", key="m")
    match how:
        case "cut":
            file.write_bytes(whole[: len(whole) // 2])
        case "empty":
            file.write_bytes(b"")
        case "text":
            file.write_text("not a table")
        case "other columns":
            write_table(file, pa.table({"x": [1, 2]}))
        case _:
            file.write_bytes(next((tmp_path / "d").iterdir()).read_bytes())
    with caplog.at_level("WARNING", "stillage"):
        same(token_stats(model, examples, cache=tmp_path / "c", key="m"), first, 0)
    assert "scoring again" in caplog.text
    assert file.read_bytes() == whole
