"""The Python function `st.mosaic.make_variations`: near-copies of one's own texts."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any, Literal, cast, get_args, get_origin, get_type_hints

import numpy as np

from stillage.errors import ConfigError, DataError, ModelError
from stillage.mosaic.kinds import Kind, Paraphrase, Replacement

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
    gram_jaccard. Equal seeds give equal tables. ConfigError for what is no kind, a setting of
    another type, or what no text of that length allows; DataError for what is no list of texts or
    ids, and a text that the tokenizer does not give back; ModelError for a tokenizer
    that is slow or a masked model that is none.
    """
    from stillage.mosaic import variations

    kind = Replacement(replaced=10, candidates="random") if kind is None else kind
    check_kind(kind, count)
    check_text_list(texts)
    reader = fast(tokenizer)
    ids = [ids_of_text(text, number, reader) for number, text in enumerate(texts)]
    return variations.variations_of_ids(
        ids,
        kind,
        count=count,
        seed=seed,
        tokenizer=reader,
        masked=proposer(masked_model, public_texts, reader, seed),
    )


def check_text_list(texts: object) -> None:
    """Refuse one text, and tables. DataError."""
    is_one = isinstance(texts, (str, bytes, Mapping)) or hasattr(texts, "columns")
    if is_one or not isinstance(texts, Iterable):
        values = f"texts: {type(texts).__name__}"
        fix = "Give a list, e.g. [text], or table['text'].tolist()."
        raise DataError("texts is no list of texts.", values, fix)


def ids_of_text(text: object, number: int, tokenizer: PreTrainedTokenizerFast) -> list[int]:
    """Encode a text, or check ids. DataError, with its number, for what is neither."""
    from stillage.mosaic.token_texts import encode_texts

    if isinstance(text, str):
        return encode_texts(tokenizer, [text])[0]
    words, fix = len(tokenizer), "Give a str, or a list of the tokenizer's ids."
    try:
        ids = np.asarray(text)
    except ValueError:  # lists of several lengths
        ids = np.asarray(None)
    if ids.ndim != 1 or (ids.size and ids.dtype.kind not in "iu"):
        raise DataError("A text is neither text nor ids.", f"text {number}: {text!r:.60}", fix)
    if ids.size and not 0 <= ids.min() <= ids.max() < words:
        values = f"text {number}: ids from {ids.min()} to {ids.max()}; the tokenizer has {words}"
        raise DataError("A text has ids that the tokenizer has not.", values, fix)
    return [int(token) for token in ids]


def check_kind(kind: object, count: object) -> None:
    """Refuse what is no kind of near-copies, and settings of other types. ConfigError."""
    known = [one for one in get_args(Kind) if one is not Paraphrase]
    if type(kind) not in known:
        example = "st.mosaic.Shuffle(piece=5, tau=0.2)"
        names = ", ".join(one.__name__ for one in known)
        fix = f"Give one of {names}, with its settings, e.g. {example}."
        raise ConfigError("kind is no kind of near-copies.", f"kind: {kind!r:.80}", fix)
    hints = get_type_hints(type(kind))
    given = {name: getattr(kind, name) for name in hints}
    wrong = [
        f"{name}: {value!r:.60}, wanted {wanted_word(hints[name])}"
        for name, value in given.items()
        if not is_of(value, hints[name])
    ]
    wrong += [] if is_of(count, int) else [f"count: {count!r:.60}, wanted {wanted_word(int)}"]
    if wrong:
        what = f"Near-copies of the kind {type(kind).__name__} cannot be made with these settings."
        raise ConfigError(what, "; ".join(wrong), "Change them.")


def is_of(value: object, hint: Any) -> bool:  # noqa: ANN401
    """Tell whether a value is of the type, or among the words, of a setting."""
    if get_origin(hint) is Literal:
        return value in get_args(hint)
    if hint in (int, float):
        numbers = (int, np.integer) if hint is int else (int, float, np.integer, np.floating)
        return isinstance(value, numbers) and not isinstance(value, bool)
    return isinstance(value, hint)


def wanted_word(hint: Any) -> str:  # noqa: ANN401
    """Say what a setting takes."""
    if get_origin(hint) is Literal:
        return " or ".join(get_args(hint))
    words = {int: "a whole number", float: "a number", bool: "True or False", str: "text"}
    return words[hint]


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
