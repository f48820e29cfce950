"""Ids as texts, by the tokenizer that made them."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import Protocol

from stillage.errors import DataError, ModelError, first_line

Decode = Callable[[list[list[int]]], list[str]]
"""decode(documents of ids): their texts; special tokens are written as they are spelt."""


class Tokenised(Protocol):
    """What says which tokenizer made the ids: a ShardSet, or the plan of a scan."""

    @property
    def tokenizer(self) -> str:
        """The sha256 of its rules; "" where the ids came without one."""
        ...

    @property
    def vocab_size(self) -> int:
        """How many ids there can be."""
        ...


def open_decoder(place: Path, corpus: Tokenised) -> tuple[Decode, str]:
    """Open a tokenizer.json (or the folder that holds one) to decode a corpus; and its hash.

    ModelError where there is none; DataError where it is not the one that made the ids, or has not
    all of them.
    """
    from tokenizers import Tokenizer

    path = place / "tokenizer.json" if place.is_dir() else place
    if not path.is_file():
        fix = "Give a tokenizer.json, or the folder that holds it."
        raise ModelError("There is no tokenizer.", f"looked for: {path}", fix)
    try:
        tokenizer = Tokenizer.from_file(str(path))
    except Exception as error:  # the library raises plain Exceptions
        values, fix = f"{path}: {first_line(error)}", "Give a tokenizer.json that is whole."
        raise ModelError("The tokenizer cannot be read.", values, fix) from error
    tokenizer.no_truncation()
    tokenizer.no_padding()
    name = hashlib.sha256(tokenizer.to_str().encode()).hexdigest()
    fix = "Give the tokenizer that made the shards."
    if corpus.tokenizer and corpus.tokenizer != name:
        values = f"{path}: {name[:12]}; the shards': {corpus.tokenizer[:12]}"
        raise DataError("The shards were made with another tokenizer.", values, fix)
    if tokenizer.get_vocab_size() < corpus.vocab_size:
        values = f"{path}: {tokenizer.get_vocab_size()} ids; the shards': {corpus.vocab_size}"
        raise DataError("The tokenizer has fewer ids than the shards.", values, fix)

    def decode(documents: list[list[int]]) -> list[str]:
        return tokenizer.decode_batch(documents, skip_special_tokens=False)

    return decode, name
