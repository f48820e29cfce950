"""The columns of every table that mosaic stages write, stated once."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import pyarrow as pa

BOOKS = {
    "document": "int32",  # from 0, in the order of the source
    "title": "string",
    "text": "large_string",
    "sha256": "string",  # of the UTF-8 text
    "is_host": "bool",  # holds canaries
}
CANARIES = {
    "canary": "int32",  # from 0; members first
    "role": "string",  # member, nonmember
    "text": "string",  # decodes from, and encodes to, the ids
    "ids": "list<int32>",
    "perplexity": "double",  # under the generator, of the tokens that it wrote
    "bucket": "int32",  # of perplexity, from 0; null where there are none
    "seed": "int64",
}
"""Schema metadata "canaries" (JSON): tokenizer hash, generator, every sampling setting, counts of
rejected texts by reason."""
VARIATIONS = {
    "canary": "int32",
    "variation": "int32",  # from 0 for each canary
    "piece": "int32",  # from 0; more than one where a variation is scattered in pieces
    "text": "string",
    "ids": "list<int32>",
    "length": "int32",
    "hamming": "int32",  # null where lengths differ
    "levenshtein": "int32",
    "damerau": "int32",
    "indel": "int32",  # |a| + |b| - 2 LCS
    "token_overlap": "double",  # distance: 1 - |multiset intersection| / longest
    "token_jaccard": "double",  # distance between the sets of ids
    "gram_jaccard": "double",  # distance between the sets of 13-grams
}
"""Distances are to the canary, in tokens. Of scattered pieces: null."""
LEDGER = {
    "canary": "int32",
    "variation": "int32",  # -1: an exact copy
    "piece": "int32",
    "copy": "int32",  # number of the exact copy, from 0; 0 for variations
    "document": "int32",
    "start": "int64",  # tokens from the document's first
    "end": "int64",
    "lead": "int32",  # tokens put before it, so that it does not stick to the word before
    "survived": "bool",  # the tokens there are those that were injected
    "ids": "list<int32>",  # the tokens that really resulted
}
SCORES = {"canary": "int32", "role": "string", "attack": "string", "score": "double"}
"""Higher means more likely a member."""
MONITOR = {"step": "int64", "attack": "string", "auc": "double"}
ANSWERS = {
    "canary": "int32",
    "role": "string",
    "bleu": "double",  # of the greedy continuation, sentence level
    "edit_similarity": "double",  # 1 - Levenshtein / longest, in tokens
}
POINTS = {
    "experiment": "string",
    "series": "string",
    "x": "double",
    "label": "string",
    "condition": "string",  # its stage
    "attack": "string",
    "auc": "double",
    "auc_low": "double",
    "auc_high": "double",
    "copies": "double",  # exact-duplicate equivalent, as published
    "rho": "double",
    "rho_low": "double",
    "rho_high": "double",
    "rho_isotonic": "double",
    "rho_isotonic_low": "double",
    "rho_isotonic_high": "double",
    "branch": "string",
    "flags": "list<string>",
    "bleu": "double",
    "bleu_low": "double",
    "bleu_high": "double",
    "edit_similarity": "double",
    "edit_similarity_low": "double",
    "edit_similarity_high": "double",
    "levenshtein": "double",  # means over canaries and variations
    "damerau": "double",
    "indel": "double",
    "token_overlap": "double",
    "token_jaccard": "double",
    "gram_jaccard": "double",
    "survived": "double",  # share of the injected copies
    "members": "int32",
    "nonmembers": "int32",
}
"""Null where a point has no such number; rho is kept and flagged where its curve says nothing."""


def table_schema(columns: Mapping[str, str]) -> pa.Schema:
    """Make the Arrow schema of a table's columns."""
    import pyarrow as pa

    kinds = {
        "int32": pa.int32(),
        "int64": pa.int64(),
        "double": pa.float64(),
        "bool": pa.bool_(),
        "string": pa.string(),
        "large_string": pa.large_string(),
        "list<int32>": pa.list_(pa.int32()),
        "list<string>": pa.list_(pa.string()),
    }
    return pa.schema([(name, kinds[kind]) for name, kind in columns.items()])
