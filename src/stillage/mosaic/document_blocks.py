"""Documents as blocks to train on, each block within one document."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from stillage.corpus.token_blocks import all_trained
from stillage.errors import ConfigError, DataError
from stillage.types import Array, Example


def document_blocks(
    documents: Sequence[Array], block_tokens: int, *, first_ids: Sequence[int] = ()
) -> list[Example]:
    """Cut documents, ids [T] each, into blocks of block_tokens to train on.

    No block holds two documents; the short one at a document's end stays if it has 2 tokens or
    more, and a longer document's single last token is trained nowhere. All tokens but a block's
    first are trained. A block is named "document:start", start in the document's own tokens.

    first_ids: what the tokenizer itself puts before a text (`corpus.tokenizers.first_ids`: BOS, or
    nothing), put before each document, as the published training did; its end-of-text token comes
    nowhere. ConfigError for blocks under 2 tokens; DataError where no block is left.
    """
    if block_tokens < 2:
        values = f"block_tokens: {block_tokens}"
        raise ConfigError("A block is too short to train on.", values, "Give 2 or more.")
    first_F = np.asarray(first_ids, dtype=np.int64)
    blocks = []
    for number, ids_T in enumerate(documents):
        whole_T = np.concatenate([first_F, np.asarray(ids_T)])
        for start in range(0, len(whole_T) - 1, block_tokens):
            name = f"{number}:{max(0, start - len(first_F))}"
            blocks.append(all_trained(name, whole_T[start : start + block_tokens]))
    if not blocks:
        values = f"{len(documents)} documents, {sum(map(len, documents))} tokens"
        raise DataError("The documents are too short to train on.", values, "Give longer ones.")
    return blocks
