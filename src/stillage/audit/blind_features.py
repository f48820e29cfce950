"""What blind attackers read of a record, as numbers; no feature has seen a label.

White space, order and the ends of a text count, since a model reads them too.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import pairwise
from typing import Any
from zlib import compress

import numpy as np

from stillage.functional.words import words_of
from stillage.types import Array, Record

MOST_FEATURES = 20_000
PART = "\x02"
"""Stands around the name of every part of a record: in no file of text, and no white space."""
EDGE = "\x03"
"""Stands before and after a text whose ends matter."""
SPACES = {
    ord(space): 0xE000 + number
    for number, space in enumerate(filter(str.isspace, map(chr, range(0x10000))))
}
"""White space -> a character that scikit-learn does not fold into one space."""
QUARTERS = 4
PAIRED_WORDS = 40
"""Words of a prompt, and of a response, that are paired: bounds the pairs of a long record."""


def marked_text(record: Record) -> str:
    """Join a record's turns or prompt and input, then response, each under its name."""
    before = record.messages or tuple(
        (name, text) for name, text in (("prompt", record.prompt), ("input", record.input)) if text
    )
    return "\n".join(
        f"{PART}{name}{PART}\n{text}" for name, text in (*before, ("response", record.response))
    )


def word_features(texts: Sequence[str]) -> Any:  # noqa: ANN401 - as _tfidf
    """tf-idf float[N, F] of the lower-cased words that two or more texts share."""
    return _tfidf(texts, {"token_pattern": r"\S+"})


def character_features(texts: Sequence[str]) -> Any:  # noqa: ANN401 - as _tfidf
    """tf-idf float[N, F] of 2- to 4-character n-grams; case, white space, ends kept."""
    marked = [f"{EDGE}{text}{EDGE}".translate(SPACES) for text in texts]
    return _tfidf(marked, {"analyzer": "char", "ngram_range": (2, 4), "lowercase": False})


def place_features(texts: Sequence[str]) -> Any:  # noqa: ANN401 - as _tfidf
    """tf-idf float[N, F] of each part's words by quarter, its first and last pieces."""
    return _tfidf(texts, {"analyzer": _placed})


def pair_features(texts: Sequence[str]) -> Any:  # noqa: ANN401 - as _tfidf
    """tf-idf float[N, F] of pairs of a word of the prompt and one of the response.

    Prompts exchanged among one side's records change no word and no place, only these pairs.
    """
    return _tfidf(texts, {"analyzer": _paired})


def token_tfidf(readers: Sequence[Sequence[Array]]) -> Any:  # noqa: ANN401 - as _tfidf
    """tf-idf float[N, F] of single tokens and pairs that two or more records share.

    The ends count as tokens. readers: for each way of reading (a tokenizer, a layout, a limit) the
    ids int[T] of all N records, in one order.
    """

    def pieces(index: int) -> list[tuple[int, ...]]:
        said: list[tuple[int, ...]] = []
        for number, ids in enumerate(readers):
            tokens = [-1, *ids[index].tolist(), -2]
            said += [(number, token) for token in tokens[1:-1]]
            said += [(number, *pair) for pair in pairwise(tokens)]
        return said

    return _tfidf(range(len(readers[0])), {"analyzer": pieces})


def length_features(texts: Sequence[str]) -> Array:
    """float[N, 12]: sizes, compressibility and lines of a text, and their squares.

    Sizes: log characters, words, bytes, zlib bytes. Standardised; squares see a shift of spread.
    """
    values_NF = np.array([_sizes(text) for text in texts])
    spread = values_NF.std(axis=0)
    scaled_NF = (values_NF - values_NF.mean(axis=0)) / np.where(spread > 0, spread, 1)
    return np.hstack([scaled_NF, scaled_NF**2])


def _parts(text: str) -> list[tuple[str, str]]:
    """(name, text) of every part of a record; one without a name where none is marked."""
    parts = text.split(PART)
    return [("", text)] if len(parts) < 3 else list(zip(parts[1::2], parts[2::2], strict=True))


def has_prompt(text: str) -> bool:
    """Tell whether a marked text has a part before its response."""
    return text.count(PART) > 2


def _paired(text: str) -> list[str]:
    """Each distinct word of the parts before the response with each of the response's."""
    *before, (_, response) = _parts(text)
    asked = dict.fromkeys(word for _, body in before for word in words_of(body))
    said = list(dict.fromkeys(words_of(response)))[:PAIRED_WORDS]
    return [f"{one} {two}" for one in list(asked)[:PAIRED_WORDS] for two in said]


def _placed(text: str) -> Iterator[str]:
    """Where the words and the outermost characters of each part stand, as names."""
    for name, body in _parts(text):
        words = words_of(body)
        for number, word in enumerate(words):
            yield f"{name} {number * QUARTERS // len(words)} {word}"
        yield from (f"{name} < {' '.join(words[:size])}" for size in (1, 3))
        yield from (f"{name} > {' '.join(words[-size:])}" for size in (1, 3))
        yield from (f"{name} ^ {body[:size]}" for size in (1, 2, 4))
        yield from (f"{name} $ {body[-size:]}" for size in (1, 2, 4))


def _tfidf(items: Sequence[Any], reading: Mapping[str, Any]) -> Any:  # noqa: ANN401
    """Weigh the pieces that two or more items share: float[N, F], sparse, or [N, 0] for none.

    reading: how scikit-learn's vectorizer takes an item apart.
    """
    from sklearn.feature_extraction.text import TfidfVectorizer

    kept = {"min_df": 2, "max_features": MOST_FEATURES, "sublinear_tf": True}
    try:
        return TfidfVectorizer(**kept, **reading).fit_transform(items)
    except ValueError:  # scikit-learn's word for: no piece is left
        return np.zeros((len(items), 0))


def _sizes(text: str) -> tuple[float, ...]:
    """Log characters, words, bytes, compressed bytes; compressed share; line breaks."""
    raw = text.encode("utf-8")
    packed = len(compress(raw, level=6))
    sizes = np.log1p([len(text), len(text.split()), len(raw), packed])
    return (*sizes.tolist(), packed / max(1, len(raw)), float(text.count("\n")))
