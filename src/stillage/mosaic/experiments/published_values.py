"""Published values, for orientation.

GPT-Neo 1.3B, attack: loss ratio to Llama-2-7B. Shilov et al., The mosaic memory of large language
models (Nature Communications 2026; arXiv 2405.15523), from their released results; paraphrases:
other writers, read off the paper.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from stillage.corpus.copy_worth import PUBLISHED, REPLACED

Values = tuple[tuple[str, float, float], ...]
"""(series, x, value)."""


def series_lines(x: Sequence[float], values: Mapping[str, Sequence[float]]) -> Values:
    """Write lines over one axis as (series, x, value)."""
    return tuple(
        (series, at, value)
        for series, line in values.items()
        for at, value in zip(x, line, strict=True)
    )


REPLACEMENT_RHO = series_lines(REPLACED, {"": PUBLISHED["GPT-Neo 1.3B"]})
TOP_K_RHO = series_lines(
    REPLACED,
    {
        "k = 10": PUBLISHED["GPT-Neo 1.3B"],
        "k = 100": (0.920, 0.728, 0.585, 0.490, 0.410, 0.341, 0.147, 0.053),
        "k = 1000": (0.948, 0.736, 0.588, 0.449, 0.363, 0.305, 0.117, 0.037),
        "any token": (0.909, 0.726, 0.541, 0.433, 0.336, 0.285, 0.090, 0.031),
    },
)
INSERTION_RHO = series_lines(
    (1, 2, 5, 10, 20, 50),
    {
        "X = 1": (0.211, 0.315, 0.521, 0.691, 0.827, 0.955),
        "X = 5": (0.019, 0.168, 0.403, 0.598, 0.728, 0.892),
        "X = 10": (0.010, 0.097, 0.354, 0.541, 0.700, 0.895),
        "scattered": (0.063, 0.097, 0.185, 0.309, 0.479, 0.730),
    },
)
TENTHS = tuple(tenth / 10 for tenth in range(1, 10))
SHUFFLE_RHO = (
    *series_lines(
        TENTHS,
        {
            "n = 2": (0.526, 0.346, 0.240, 0.181, 0.174, 0.166, 0.171, 0.163, 0.162),
            "n = 5": (0.643, 0.501, 0.386, 0.334, 0.302, 0.294, 0.293, 0.285, 0.277),
        },
    ),
    *series_lines(TENTHS[1:8], {"n = 10": (0.567, 0.537, 0.467, 0.439, 0.411, 0.411, 0.393)}),
)
PARAPHRASE_RHO: Values = (
    ("Llama-3-8B", 0.0, 0.11),
    ("Mistral-7B", 0.0, 0.17),
    ("GPT-4o", 0.0, 0.30),
)
EXTRACTION_BLEU: Values = (
    ("exact copies", 10, 0.175),
    *series_lines(
        (1, 5, 10, 15, 20, 25, 50, 75),
        {"near-copies": (0.276, 0.237, 0.170, 0.142, 0.111, 0.106, 0.073, 0.069)},
    ),
)
SCANNED_RHO = series_lines((10, 20, 30, 40, 50), {"": (0.708, 0.426, 0.666, 0.222, 0.319)})
