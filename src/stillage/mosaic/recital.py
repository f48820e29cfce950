"""What a model recites of the canaries, continuing their first tokens."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from stillage.models.limits import special_ids
from stillage.mosaic.canary_reading import ModelReader, canary_examples, canary_names
from stillage.mosaic.table_columns import ANSWERS, table_schema
from stillage.types import Array, Decoding
from stillage.versions import overlap_counts, overlap_score

if TYPE_CHECKING:
    import pyarrow as pa

PROMPT_TOKENS = 50
"""Of a canary of 100 tokens, as published."""


def recite(
    target: ModelReader,
    canaries: pa.Table,
    *,
    prompt_tokens: int = PROMPT_TOKENS,
    batch_tokens: int = 16384,
) -> pa.Table:
    """Let the model continue each canary's first tokens greedily: rows of ANSWERS.

    The prompt is its first prompt_tokens ids, half of it where that is fewer, without BOS; the
    answer has as many ids as the rest, or ends at the end of text, which is not compared.
    """
    import pyarrow as pa

    from stillage.models.generate import generate
    from stillage.models.prompts import Prompts, TextRules

    ids = [example.ids_T for example in canary_examples(canaries)]
    cuts = [max(1, min(prompt_tokens, len(ids_T) // 2)) for ids_T in ids]
    rests = [ids_T[cut:] for ids_T, cut in zip(ids, cuts, strict=True)]
    end, pad = special_ids(target.tokenizer)
    written = generate(
        target.model,
        Prompts(
            [ids_T[:cut] for ids_T, cut in zip(ids, cuts, strict=True)], canary_names(canaries)
        ),
        Decoding(max_new_tokens=max(1, *map(len, rests))),
        TextRules(end, pad),
        batch_tokens=batch_tokens,
    )
    answers = [
        without_end(new_T[: len(rest_T)], end) for new_T, rest_T in zip(written, rests, strict=True)
    ]
    decode = target.tokenizer.decode
    texts = [[str(decode(one.tolist())) for one in some] for some in (answers, rests)]
    columns = {
        "canary": canaries["canary"].to_pylist(),
        "role": canaries["role"].to_pylist(),
        "bleu": sentence_bleu(*texts),
        "edit_similarity": [
            edit_similarity(answer, rest) for answer, rest in zip(answers, rests, strict=True)
        ],
    }
    return pa.table(columns, table_schema(ANSWERS))


def without_end(ids_T: Array, end: int) -> Array:
    """The ids before the end of text."""
    return ids_T[: int(np.argmax(ids_T == end))] if (ids_T == end).any() else ids_T


def sentence_bleu(answers: Sequence[str], references: Sequence[str]) -> list[float]:
    """BLEU of each answer against its reference, 0 to 1, without smoothing.

    Words up to 4-grams, brevity penalty (Papineni et al. 2002): 0 where an answer shares no 4-gram
    with its reference, or has fewer than four words. Published: nltk's, unsmoothed too, over
    nltk's words; here sacrebleu's over its 13a words.
    """
    from sacrebleu.metrics.bleu import BLEU

    if not answers:
        return []
    metric = BLEU(force=True, tokenize="13a", smooth_method="none")
    counts = overlap_counts(metric, answers, [references])
    return [overlap_score(metric, row) / 100 for row in counts]


def edit_similarity(answer_T: Array, rest_T: Array) -> float:
    """1 - Levenshtein distance / the longer's tokens; 1 for two empty ones."""
    from rapidfuzz.distance import Levenshtein

    return Levenshtein.normalized_similarity(answer_T.tolist(), rest_T.tolist())
