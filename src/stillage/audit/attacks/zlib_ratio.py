"""zlib: the loss against how compressible the text is anyway.

Carlini et al. 2021, arXiv:2012.07805. The file is not called zlib.py so that it never hides the
standard library's module of that name.
"""

from __future__ import annotations

from zlib import compress

from stillage.errors import DataError
from stillage.functional.tails import mean_or_nan
from stillage.types import Attack, Query, TokenStats


def zlib(stats: TokenStats, text: str) -> float:
    """Mean log-probability divided by the text's compressed size in bytes.

    A text that compresses well is expected to be predicted well. score = (1/T) sum_t log q(y_t |
    before) / len(zlib.compress(utf8(text))), level 6. text is the record's own response, never the
    model's. DataError for an empty text; NaN without scored tokens.
    """
    if not text:
        raise DataError(
            "An empty text cannot be compressed.",
            "text = ''",
            "Leave records without a response out.",
        )
    return mean_or_nan(stats.logp_T) / len(compress(text.encode("utf-8"), level=6))


ZLIB = Attack(
    name="zlib",
    paper="Carlini et al. 2021, arXiv:2012.07805",
    access="logprob",
    queries=(Query(party="target"), Query(party="record", transform="text")),
    score=zlib,
)
