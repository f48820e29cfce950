"""The Python function `st.mosaic.make_variations`: near-copies of one's own texts."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, cast

from stillage.errors import ModelError
from stillage.mosaic.kinds import Kind, Replacement

if TYPE_CHECKING:
    import pyarrow as pa
    from transformers import PreTrainedTokenizerFast

    from stillage.models.masked import Masked


def make_variations(
    texts: Sequence[str] | Sequence[Sequence[int]],
    tokenizer: PreTrainedTokenizerFast | str | Path,
    *,
    kind: Kind | None = None,
    count: int = 9,
    seed: int = 1,
    masked_model: str = "",
    public_texts: Sequence[str] = (),
) -> pa.Table:
    """Make near-copies of texts: tokens replaced, others inserted, and so on.

    texts: strings, or lists of the tokenizer's ids. tokenizer: a fast one, or the folder or hub id
    of a model. kind: `st.mosaic.Replacement`, `Insertion`, `Scatter`, `Shuffle` or `Scanned`;
    without it 10 tokens are replaced by any others. Replacement's own default, the likely words of
    a masked model, wants `masked_model` (a folder or hub id) or `public_texts`, which a small one
    is trained on now (a minute for a few books; only on texts that may be learned from).

    Returns canary (the number of the text), variation, piece, text, ids, length, and the distances
    to the text in tokens: hamming, levenshtein, damerau, indel, token_overlap, token_jaccard,
    gram_jaccard. Equal seeds give equal tables. ConfigError for what no text of that length
    allows, DataError for a text that the tokenizer does not give back, ModelError for a tokenizer
    that is slow or a masked model that is none.
    """
    from stillage.mosaic import variations
    from stillage.mosaic.token_texts import encode_texts

    reader = fast(tokenizer)
    ids = [
        encode_texts(reader, [text])[0] if isinstance(text, str) else list(text) for text in texts
    ]
    return variations.variations_of_ids(
        ids,
        Replacement(replaced=10, candidates="random") if kind is None else kind,
        count=count,
        seed=seed,
        tokenizer=reader,
        masked=proposer(masked_model, public_texts, reader, seed),
    )


def fast(tokenizer: PreTrainedTokenizerFast | str | Path) -> PreTrainedTokenizerFast:
    """Load a tokenizer where a name is given. ModelError for a slow one."""
    if isinstance(tokenizer, (str, Path)):
        from stillage.models.load import read_tokenizer
        from stillage.models.source import find

        name = str(tokenizer)
        found = read_tokenizer(find(name, ""), name)
    else:
        found = tokenizer
    if not getattr(found, "is_fast", False):
        values = type(found).__name__
        raise ModelError("This tokenizer is no fast one.", values, "Give a tokenizer.json.")
    return cast("PreTrainedTokenizerFast", found)


def proposer(
    path: str, public_texts: Sequence[str], tokenizer: PreTrainedTokenizerFast, seed: int
) -> Masked | None:
    """Load the masked model, or train a small one; None where neither is given."""
    if path:
        from stillage.models.masked import load_masked

        return load_masked(path)
    if not public_texts:
        return None
    from stillage.models.masked_train import small_masked

    with TemporaryDirectory() as folder:
        return small_masked(public_texts, seed, Path(folder), tokenizer=tokenizer)
