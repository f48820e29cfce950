"""The columns of every table of a mosaic run, for docs/reference/tables.md: types from the code."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import pyarrow as pa
from tables import kind

from stillage.mosaic.table_columns import (
    ANSWERS,
    BOOKS,
    CANARIES,
    LEDGER,
    MONITOR,
    POINTS,
    SCORES,
    VARIATIONS,
    table_schema,
)

SCHEMAS: Mapping[str, pa.Schema] = {
    "mosaic/points.parquet": table_schema(POINTS),
    "books/books.parquet": table_schema(BOOKS),
    "canaries/canaries.parquet": table_schema(CANARIES),
    "variations_KIND/variations.parquet": table_schema(VARIATIONS),
    "CONDITION/ledger.parquet": table_schema(LEDGER),
    "CONDITION/scores.parquet": table_schema(SCORES),
    "CONDITION/monitor.parquet": table_schema(MONITOR),
    "CONDITION/answers.parquet": table_schema(ANSWERS),
}
ROWS: Mapping[str, str] = {
    "mosaic/points.parquet": "A row per experiment, point and attack; `report/points.csv` has the same. A "
    "number that a point does not have is null. The schema's metadata has the experiments and the run (JSON).",
    "books/books.parquet": "A row per document; `mosaic books` writes the same.",
    "canaries/canaries.parquet": "A row per canary; `mosaic canaries` writes the same. The schema's metadata "
    "`canaries` (JSON) has the hash of the tokenizer, the generator, every sampling setting, and how many "
    "texts were rejected for what.",
    "variations_KIND/variations.parquet": "A row per near-copy, or per piece of a scattered one, whose distances "
    "are null. Distances are to the canary, in tokens. Paraphrases have `gram1`, `gram2` and `gram4` besides: "
    "the share of the canary's 1-, 2- and 4-grams that they keep.",
    "CONDITION/ledger.parquet": "A row per copy that was put into a document, or per piece of one.",
    "CONDITION/scores.parquet": "A row per attack and canary.",
    "CONDITION/monitor.parquet": "A row per AUC that was measured while the model trained "
    "(`mosaic.monitor_every`); also in `metrics.jsonl`.",
    "CONDITION/answers.parquet": "A row per canary: the greedy continuation of its first half (50 tokens at "
    "most), compared with the rest.",
}
SHARED: Mapping[str, str] = {
    "canary": "Number of the canary, from 0; members come first.",
    "role": "member (injected) or nonmember (nowhere).",
    "variation": "Number of the near-copy, from 0 for each canary; in a ledger, -1: an exact copy.",
    "piece": "Number of the piece, from 0; more than one where near-copies are scattered.",
    "text": "The text.",
    "ids": "Its token ids.",
    "attack": "Name of the attack.",
    "bleu": "BLEU of the continuation, a sentence at a time, unsmoothed, 0 to 1.",
    "edit_similarity": "1 - Levenshtein distance / the longer's tokens, 0 to 1.",
    "levenshtein": "Tokens to change, leave out or put in.",
    "damerau": "Levenshtein with swaps of neighbours.",
    "indel": "Tokens to leave out or put in.",
    "token_overlap": "1 - shared tokens, each as often as in both, over the longer length.",
    "token_jaccard": "1 - Jaccard of the sets of ids.",
    "gram_jaccard": "1 - Jaccard of the sets of 13-grams.",
}
COLUMN_TEXTS: Mapping[str, Mapping[str, str]] = {
    "mosaic/points.parquet": {
        "experiment": "Name, as `stillage ls experiments` has it.",
        "series": "Line of the figure; empty where there is one.",
        "x": "Place on the axis.",
        "label": "Its name, where the axis has names.",
        "condition": "Folder of the training.",
        "auc": "AUC of members against nonmembers.",
        "copies": "Exact copies that are worth as much as the canary with its near-copies, as published.",
        "rho": "(copies - 1) / (N - 1), the worth of one near-copy, as published.",
        "rho_isotonic": "The same by the nearest curve that never falls.",
        "branch": "Where the AUC lies: below the curve, above it, or on it (interp).",
        "flags": "What to know of the numbers; the report explains each.",
        "bleu": "BLEU of the continuations, mean over members.",
        "edit_similarity": "Their edit similarity, mean over members.",
        "survived": "Share of the injected pieces that are there token for token.",
        "members": "Members that were compared.",
        "nonmembers": "Nonmembers that were compared.",
        **{
            name: "That distance (see variations), mean over canaries and near-copies."
            for name in (
                "levenshtein",
                "damerau",
                "indel",
                "token_overlap",
                "token_jaccard",
                "gram_jaccard",
            )
        },
    },
    "books/books.parquet": {
        "document": "Number, from 0, in the order of the source.",
        "title": "Title, or the name of the file.",
        "sha256": "Hash of the UTF-8 text.",
        "is_host": "Whether it holds canaries.",
    },
    "canaries/canaries.parquet": {
        "text": "The text, which decodes from, and encodes to, the ids.",
        "perplexity": "Under the generator, of the tokens that it wrote.",
        "bucket": "Bucket of perplexity, from 0; null where there are none.",
        "seed": "The seed of the draw.",
    },
    "variations_KIND/variations.parquet": {
        "length": "Its tokens.",
        "hamming": "Places where the two differ; null where their lengths do.",
    },
    "CONDITION/ledger.parquet": {
        "copy": "Number of the exact copy, from 0; 0 for near-copies.",
        "document": "Number of the host, from 0 in the order of `books.parquet`, hosts alone.",
        "start": "Its first token, counted from the document's first.",
        "end": "The token after its last.",
        "lead": "Tokens put before it, so that it does not stick to the word before.",
        "survived": "Whether the tokens there are those that were injected.",
        "ids": "The token ids that really resulted.",
    },
    "CONDITION/scores.parquet": {"score": "Higher = more likely a member."},
    "CONDITION/monitor.parquet": {
        "step": "Optimiser steps done.",
        "auc": "AUC of the loss attack.",
    },
    "CONDITION/answers.parquet": {},
}


def mosaic_rows(name: str) -> Iterator[tuple[str, str, str]]:
    """Describe the columns of one of SCHEMAS: name, type, text."""
    texts = {**SHARED, **COLUMN_TEXTS[name]}
    for column in SCHEMAS[name]:
        value, _, end = column.name.rpartition("_")
        limit = {"low": "Lower", "high": "Upper"}.get(end, "")
        text = f"{limit} limit of {value}." if limit and value in texts else texts[column.name]
        yield f"`{column.name}`", kind(column.type), text
