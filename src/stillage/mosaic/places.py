"""Where copies may stand in a document: between two words, in one random order.

A word is a run without white space, or one character of a script that writes no spaces, with the
marks behind it. A place is the end of a word, before the white space that follows, so that distinct
places always have a word between them. Where copies are put in as tokens, a token must end there
and the next begin: a place inside a token is none, and none lies inside a character of several
bytes.

The order is drawn from the seed and the text alone, over the borders of words; whoever cannot use
a place passes over it, so that one order serves tokens and text.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING

import numpy as np

from stillage.errors import ModelError
from stillage.functional.words import UNSPACED
from stillage.rng import generator
from stillage.run.folder import sha256_text
from stillage.types import Array

if TYPE_CHECKING:
    import regex
    from transformers import PreTrainedTokenizerBase

SPACED = re.compile(r"\S+")


@dataclass(frozen=True, slots=True, kw_only=True)
class TokenSpans:
    """A text as tokens, and the characters [starts_T, ends_T) that each stands for."""

    ids_T: Array  # int32
    starts_T: Array  # int64, non-decreasing
    ends_T: Array  # int64, non-decreasing


def encode_with_spans(text: str, tokenizer: PreTrainedTokenizerBase) -> TokenSpans:
    """Encode a text, without special tokens; one that it spells is plain text.

    ModelError for a tokenizer that cannot say where its tokens lie.
    """
    if not tokenizer.is_fast:
        name = tokenizer.name_or_path or type(tokenizer).__name__
        what = "The tokenizer cannot tell where its tokens lie in the text."
        raise ModelError(what, name, "Give a tokenizer.json.")
    encoded = tokenizer(
        text,
        add_special_tokens=False,
        return_offsets_mapping=True,
        return_attention_mask=False,
        split_special_tokens=True,
        verbose=False,
    )
    offsets_T2 = np.array(encoded["offset_mapping"], dtype=np.int64).reshape(-1, 2)
    return TokenSpans(
        ids_T=np.array(encoded["input_ids"], dtype=np.int32),
        starts_T=np.maximum.accumulate(offsets_T2[:, 0]),
        ends_T=np.maximum.accumulate(offsets_T2[:, 1]),
    )


def word_ends(text: str) -> Array:
    """Where each word but the last ends: int64[P], characters, ascending."""
    pattern = SPACED if text.isascii() else _words()
    ends = [match.end() for match in pattern.finditer(text)]
    return np.array(ends[:-1], dtype=np.int64)


def token_borders(ends_P: Array, host: TokenSpans) -> Array:
    """Before which token each end of a word lies: int64[P]; -1 where inside a token."""
    borders_P = np.searchsorted(host.starts_T, ends_P, side="left")
    last_T = np.append(host.ends_T, -1)  # index -1 where no token comes before
    return np.where(last_T[borders_P - 1] == ends_P, borders_P, -1)


def random_order(text: str, places: int, seed: int) -> Array:
    """The order in which a document's places are given out: int64[P], a permutation."""
    return generator(seed, "injection", sha256_text(text)).permutation(places)


@cache
def _words() -> regex.Pattern[str]:
    """Compile a pattern of words in any script; punctuation stays with the word before."""
    import regex

    scripts = "".join(rf"\p{{Script={name}}}" for name in UNSPACED)
    return regex.compile(rf"[{scripts}][\p{{M}}\p{{P}}]*|[\S--[{scripts}]]+", regex.V1)
