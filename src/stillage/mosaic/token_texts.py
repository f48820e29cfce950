"""Token ids to text and back, as canaries and their near-copies are read."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, cast

import numpy as np

from stillage.corpus.tokenizers import ids_without_text
from stillage.errors import DataError
from stillage.types import Array

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase, PreTrainedTokenizerFast


def decode_ids(tokenizer: PreTrainedTokenizerBase, ids: Sequence[int]) -> str:
    """Decode ids as they are: special tokens stay, spaces are not tidied."""
    text = tokenizer.decode(
        list(ids), skip_special_tokens=False, clean_up_tokenization_spaces=False
    )
    return cast("str", text)


def encode_texts(tokenizer: PreTrainedTokenizerFast, texts: Sequence[str]) -> list[list[int]]:
    """Encode texts whole, without the special tokens that a tokenizer adds."""
    if not texts:
        return []
    found = tokenizer(list(texts), add_special_tokens=False, truncation=False, verbose=False)
    return found["input_ids"]


def round_trips(tokenizer: PreTrainedTokenizerFast, ids: Sequence[int]) -> bool:
    """Tell whether the text of the ids encodes to them."""
    return encode_texts(tokenizer, [decode_ids(tokenizer, ids)])[0] == list(ids)


def ordinary_ids(tokenizer: PreTrainedTokenizerFast) -> Array:
    """The ids that are not special, int64[W], ascending."""
    return np.array(
        sorted(set(tokenizer.get_vocab().values()) - set(ids_without_text(tokenizer))), np.int64
    )


def cuts(
    tokenizer: PreTrainedTokenizerFast, ids: Sequence[int], name: str
) -> tuple[str, list[int]]:
    """Decode ids; token i of N is text[cuts[i]:cuts[i + 1]]; -1 within a character.

    DataError, with the name, where the text encodes to other ids.
    """
    text = decode_ids(tokenizer, ids)
    if (found := encode_texts(tokenizer, [text])[0]) != list(ids):
        pairs = enumerate(zip([*found, None], [*ids, None], strict=False))
        first = next(place for place, (one, other) in pairs if one != other)
        values = f"{name}: {len(ids)} tokens, other ones from token {first} on: {text[:60]!r}"
        fix = "Take texts that the tokenizer writes back as they were, or candidates: random."
        raise DataError("The tokenizer does not give a canary back as it was.", values, fix)
    starts = [decode_ids(tokenizer, ids[:place]) for place in range(len(ids))]
    return text, [len(start) if text.startswith(start) else -1 for start in [*starts, text]]
