"""`st.mosaic.make_variations`: every kind through one call, on texts or ids."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any, cast

import pyarrow as pa
import pytest
from transformers import PreTrainedTokenizerFast

import stillage as st
from stillage.data.bpe import train_bpe
from stillage.errors import ConfigError, DataError, ModelError
from stillage.mosaic import python_variations
from stillage.mosaic.kinds import Kind
from stillage.mosaic.table_columns import VARIATIONS, table_schema

TEXTS = [
    " ".join(f"The {word} stood near a tree." for word in words)
    for words in (("amber", "birch", "cedar"), ("delta", "ember", "flint", "grove"))
]


@pytest.fixture(scope="module")
def tokenizer() -> PreTrainedTokenizerFast:
    return train_bpe(TEXTS * 3, 300)


@pytest.mark.parametrize(
    "kind",
    [
        None,
        st.mosaic.Insertion(piece=4, inserted=2),
        st.mosaic.Scatter(piece=7),
        st.mosaic.Shuffle(piece=2, tau=0.4),
    ],
)
def test_a_row_for_each_near_copy(
    tokenizer: PreTrainedTokenizerFast, kind: Kind | None, tmp_path: Path
) -> None:
    table = st.mosaic.make_variations(TEXTS, tokenizer, kind=kind, count=3)
    assert table.schema.equals(table_schema(VARIATIONS))
    ids = [tokenizer(text, add_special_tokens=False)["input_ids"] for text in TEXTS]
    again = st.mosaic.make_variations(ids, tokenizer, kind=kind, count=3, seed=1)
    assert again.equals(table, check_metadata=True)
    tokenizer.save_pretrained(tmp_path)
    assert st.mosaic.make_variations(TEXTS, str(tmp_path), kind=kind, count=3).equals(table)
    if not isinstance(kind, st.mosaic.Shuffle | st.mosaic.Scatter):
        assert not st.mosaic.make_variations(TEXTS, tokenizer, kind=kind, count=3, seed=2).equals(
            table
        )
    rows = table.to_pylist()
    whole = [row for row in rows if row["levenshtein"] is not None]
    assert len({(row["canary"], row["variation"]) for row in rows}) == 6
    assert len(whole) == (0 if isinstance(kind, st.mosaic.Scatter) else 6)
    assert all(row["length"] == len(row["ids"]) for row in rows)
    assert all(tokenizer.decode(row["ids"]) == row["text"] for row in rows)
    assert all(
        (row["hamming"] is None) == (len(ids[row["canary"]]) != row["length"]) for row in whole
    )
    if kind is None:
        assert [row["hamming"] for row in rows] == [10] * 6
    facts = json.loads(table.schema.metadata[b"variations"])
    other = [tokenizer(row["text"])["input_ids"] != row["ids"] for row in rows]
    assert facts["texts_encode_otherwise"] == sum(other)
    assert facts["near_copies"] == 6 and facts["equal_to_canary"] == 0


def test_a_small_masked_model_is_trained_on_public_texts(
    tokenizer: PreTrainedTokenizerFast, monkeypatch: pytest.MonkeyPatch
) -> None:
    from stillage.models import masked_train

    small = masked_train.small_masked

    def smaller(texts, seed, cache, *, tokenizer):  # noqa: ANN001, ANN202
        return small(texts, seed, cache, steps=2, tokenizer=tokenizer)

    monkeypatch.setattr(masked_train, "small_masked", smaller)
    kind = st.mosaic.Replacement(replaced=4)
    table = st.mosaic.make_variations(TEXTS, tokenizer, kind=kind, count=2, public_texts=TEXTS)
    assert table["hamming"].to_pylist() == [4] * 4


def test_refusals(tokenizer: PreTrainedTokenizerFast) -> None:
    with pytest.raises(ConfigError, match="masked language model's, and none was given"):
        st.mosaic.make_variations(TEXTS, tokenizer, kind=st.mosaic.Replacement(replaced=1))
    with pytest.raises(ConfigError, match="cannot be replaced"):
        st.mosaic.make_variations(["The"], tokenizer)
    with pytest.raises(ConfigError, match="No near-copies"):
        st.mosaic.make_variations(TEXTS, tokenizer, count=0)
    with pytest.raises(DataError, match="canary 1"):
        st.mosaic.make_variations([TEXTS[0], ""], tokenizer)
    with pytest.raises(ModelError, match="no fast one"):
        python_variations.fast(object())  # pyright: ignore[reportArgumentType]
    assert len(st.mosaic.make_variations([], tokenizer)) == 0


@pytest.mark.parametrize(
    ("texts", "said"),
    [
        (TEXTS[0], "texts: str"),
        ({"text": TEXTS}, "texts: dict"),
        (pa.table({"text": TEXTS}), "texts: Table"),
        (None, "texts: NoneType"),
        ([TEXTS[0], None], "text 1: None"),
        ([math.nan, TEXTS[0]], "text 0: nan"),
        ([[1, 2], [[1], [2, 3]]], "text 1"),
        ([["a", "b"]], "text 0: ['a', 'b']"),
        ([[1, 2, 10**6]], "ids from 1 to 1000000"),
        ([[1, -2, 3]], "ids from -2 to 3"),
    ],
)
def test_what_is_no_list_of_texts_is_refused(
    tokenizer: PreTrainedTokenizerFast,
    texts: Any,  # noqa: ANN401
    said: str,
) -> None:
    with pytest.raises(DataError) as caught:
        st.mosaic.make_variations(texts, tokenizer, count=1)
    assert said in caught.value.values and len(str(caught.value).splitlines()) == 3


@pytest.mark.parametrize(
    ("kind", "count", "said"),
    [
        ("shuffle", 1, "kind: 'shuffle'"),
        (st.mosaic.Shuffle, 1, "Shuffle"),
        (
            st.mosaic.Replacement(replaced=2, candidates=cast("Any", "foo")),
            1,
            "'foo', wanted masked",
        ),
        (
            st.mosaic.Replacement(replaced=2, places=cast("Any", "smae")),
            1,
            "wanted different or same",
        ),
        (
            st.mosaic.Replacement(replaced=cast("Any", 2.5)),
            1,
            "replaced: 2.5, wanted a whole number",
        ),
        (st.mosaic.Shuffle(piece=2, tau=cast("Any", "0.4")), 1, "tau: '0.4', wanted a number"),
        (None, "2", "count: '2', wanted a whole number"),
        (None, True, "count: True"),
    ],
)
def test_kinds_and_counts_of_other_types_are_refused(
    tokenizer: PreTrainedTokenizerFast,
    kind: Any,  # noqa: ANN401
    count: Any,  # noqa: ANN401
    said: str,
) -> None:
    with pytest.raises(ConfigError) as caught:
        st.mosaic.make_variations(TEXTS, tokenizer, kind=kind, count=count)
    assert said in caught.value.values and len(str(caught.value).splitlines()) == 3
