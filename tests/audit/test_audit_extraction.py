"""Extraction asks for the right tokens, and counts only words recited exactly."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pytest

from stillage.audit.extraction import (
    by_model_and_part,
    column_targets,
    extraction_results,
    extraction_table,
    first_token_targets,
    recited_more_results,
    with_groups,
)
from stillage.data.bpe import train_bpe
from stillage.data.synthetic import people
from stillage.data.tokenise import tokenise
from stillage.errors import DataError
from stillage.functional.binomial import clopper_pearson, clustered_proportion
from stillage.types import Array, Example, Record, Result, TokenStats

BASE = Result(run="", stage="audit", model="", metric="", value=math.nan)


@pytest.fixture(scope="module")
def records() -> list[Record]:
    return people(1, 30)["private"]


@pytest.fixture(scope="module")
def tokenizer(records: list[Record]):  # noqa: ANN201 - a transformers tokenizer
    return train_bpe([record.prompt + record.response for record in people(2, 30)["public"]], 400)


def encode(records: list[Record], tokenizer) -> list[Example]:  # noqa: ANN001
    return tokenise(
        records, tokenizer, template="raw", max_tokens=200, max_prompt_tokens=100
    ).examples


def said(example: Example, greedy: bool) -> TokenStats:
    n = int(example.response_T.sum())
    zeros = np.zeros(n, np.float32)
    return TokenStats(
        ids_T=example.ids_T[example.response_T],
        logp_T=zeros,
        mean_T=zeros,
        var_T=zeros,
        rank_T=np.zeros(n, np.int32),
        greedy_T=np.full(n, greedy),
    )


def test_the_column_is_asked_for_at_its_place(records: list[Record], tokenizer) -> None:  # noqa: ANN001
    examples = encode(records, tokenizer)
    parts = ["private"] * len(records)
    targets = column_targets(
        records, parts, examples, tokenizer, "badge", lambda some: encode(list(some), tokenizer)
    )
    for target, record, example in zip(targets, records, examples, strict=True):
        joined = np.concatenate([target.prefix_ids, target.suffix_ids])
        assert joined.tolist() == example.ids_T[: len(joined)].tolist()
        assert target.text.strip() == record.meta["badge"]
        assert tokenizer.decode(target.prefix_ids).rstrip().endswith("badge number")


def test_a_value_beyond_the_limit_is_neither_recited_nor_asked_for(
    records: list[Record],
    tokenizer,  # noqa: ANN001
) -> None:
    """A response cut before or within the value leaves nothing, or a part: no model can recite that, and none gets the credit."""
    lengths = sorted(len(example.ids_T) for example in encode(records, tokenizer))
    limit = lengths[len(lengths) // 2]  # half of the records lose at least their end of text

    def short(some: Sequence[Record]) -> list[Example]:
        return tokenise(
            some, tokenizer, template="raw", max_tokens=limit, max_prompt_tokens=20
        ).examples

    examples = short(records)
    targets = column_targets(
        records, ["private"] * len(records), examples, tokenizer, "badge", short
    )
    whole = [
        record.meta["badge"] in tokenizer.decode(example.ids_T)
        for record, example in zip(records, examples, strict=True)
    ]
    kept = [len(target.suffix_ids) > 0 for target in targets]
    assert 0 < sum(kept) < len(kept) and not any(
        k and not w for k, w in zip(kept, whole, strict=True)
    )
    for target, is_kept, record in zip(targets, kept, records, strict=True):
        assert target.text.strip() == (record.meta["badge"] if is_kept else "")
    nothing = [target.suffix_ids[:0] for target in targets]
    stats = {example.record_id: said(example, greedy=True) for example in examples}
    table = extraction_table("m", targets, nothing, stats, tokenizer)
    assert not any(table.column("exact").to_pylist())
    (rate,) = extraction_results(table, level=0.95, base=BASE)
    assert (rate.value, rate.n) == (
        0,
        sum(kept),
    ) and rate.missing == len(kept) - sum(kept)
    (none,) = extraction_results(table.filter(pc.field("tokens") == 0), level=0.95, base=BASE)
    assert math.isnan(none.value) and math.isnan(none.low) and none.n == 0


def test_recited_words_are_counted_exactly(records: list[Record], tokenizer) -> None:  # noqa: ANN001
    examples = encode(records, tokenizer)
    targets = first_token_targets(examples, ["private"] * 20 + ["nonmembers"] * 10, tokenizer, 6)
    recited: list[Array] = [target.suffix_ids.copy() for target in targets]
    for index in (0, 1, 25):  # two members and a nonmember differ, in the last token
        recited[index][-1] += 1
    stats = {e.record_id: said(e, greedy=i not in (0, 1, 25)) for i, e in enumerate(examples)}
    table = extraction_table("m", targets, recited, stats, tokenizer)
    assert all(table.column("agrees").to_pylist())
    assert table.column("matched_prefix").to_pylist()[:3] == [5, 5, 6]
    rates = {r.dataset: r for r in extraction_results(table, level=0.95, base=BASE)}
    assert rates["private"].value == 18 / 20 and rates["nonmembers"].value == 9 / 10
    assert rates["private"].low < 0.9 < rates["private"].high


def test_a_column_that_is_not_there_is_named(records: list[Record], tokenizer) -> None:  # noqa: ANN001
    examples = encode(records, tokenizer)
    with pytest.raises(DataError, match="badge"):
        column_targets(
            records,
            ["private"] * 30,
            examples,
            tokenizer,
            "salary",
            lambda some: encode(list(some), tokenizer),
        )


def test_near_duplicates_count_once() -> None:
    """Ten families of four, recited whole or not at all: ten draws, not forty."""
    rows = [
        {"model": model, "id": f"{part}{i}", "part": part, "exact": i // 4 < 3, "tokens": 6}
        for model in ("teacher", "student")
        for part in ("private", "nonmembers")
        for i in range(40)
    ]
    table = pa.Table.from_pylist(rows)
    group_of = {
        row["id"]: row["id"][:-1] if row["id"][-2].isdigit() else "" for row in rows
    }  # "private12" -> "private1"
    grouped = with_groups(table, group_of)
    parts = by_model_and_part(grouped)
    assert list(parts) == [
        (m, r) for m in ("teacher", "student") for r in ("private", "nonmembers")
    ]
    found = {(r.model, r.dataset): r for r in extraction_results(grouped, level=0.9, base=BASE)}
    alone = {(r.model, r.dataset): r for r in extraction_results(table, level=0.9, base=BASE)}
    exact = np.arange(40) // 4 < 3
    tens = np.array([i // 10 if i >= 10 else 10 + i for i in range(40)])
    wider, plain = clustered_proportion(exact, tens, 0.9), clopper_pearson(12, 40, 0.9)
    for pair in parts:
        assert (found[pair].value, found[pair].low, found[pair].high) == (
            0.3,
            wider.low,
            wider.high,
        )
        assert (alone[pair].low, alone[pair].high, alone[pair].n) == (plain.low, plain.high, 40)
    assert wider.high - wider.low > plain.high - plain.low


def test_what_is_recited_beyond_nonmembers_is_tested_exactly() -> None:
    """7 of 400 members against 0 of 400 nonmembers: Fisher's one-sided p is 0.0076; 2 against 1 show nothing."""
    from scipy.stats import fisher_exact

    def table(members: int, nonmembers: int, copies: int = 1) -> pa.Table:
        rows = [
            {
                "model": "student",
                "id": f"{part}{i:03}",
                "part": part,
                "exact": i < hits,
                "tokens": 2,
            }
            for part, hits in (("private", members), ("nonmembers", nonmembers))
            for i in range(400)
        ]
        groups = {row["id"]: f"{row['part']}{int(row['id'][-3:]) // copies}" for row in rows}
        return with_groups(pa.Table.from_pylist(rows), groups if copies > 1 else {})

    (seven,) = recited_more_results(table(7, 0), level=0.95, base=BASE)
    exact = fisher_exact([[7, 393], [0, 400]], alternative="greater").pvalue
    assert seven.p == pytest.approx(exact, abs=0.008) and seven.value == 7 / 400
    inside, outside = clopper_pearson(7, 400, 0.95), clopper_pearson(0, 400, 0.95)
    assert seven.low == pytest.approx(
        7 / 400 - math.hypot(7 / 400 - inside.low, outside.high), rel=1e-6
    )
    assert seven.high == pytest.approx(inside.high, rel=1e-6)
    (two,) = recited_more_results(table(2, 1), level=0.95, base=BASE)
    (none,) = recited_more_results(table(0, 3), level=0.95, base=BASE)
    assert two.p > 0.2 and none.p == 1 and none.value < 0
    (one_family,) = recited_more_results(table(8, 0, copies=8), level=0.95, base=BASE)
    assert one_family.p > 0.2  # eight copies of one text are one text
    only = table(7, 0).filter(pc.field("part") == "private")
    assert recited_more_results(only, level=0.95, base=BASE) == []
