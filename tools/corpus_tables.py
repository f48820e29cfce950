"""The columns of every table of `stillage corpus`, for docs/reference/tables.md: from the code."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path

import numpy as np
import pyarrow as pa
from tables import kind

from stillage.corpus.compared import Names
from stillage.corpus.copy_worth import published_worth
from stillage.corpus.dedup import with_ids
from stillage.corpus.dedup_rules import read_rule, whole_documents
from stillage.corpus.document_stream import bad_rows, document_columns
from stillage.corpus.in_common import InCommon, SideFindings
from stillage.corpus.overlap_tables import dropped_table, overlap_table
from stillage.corpus.policy import Survivors, worth_rows
from stillage.corpus.policy_run import survivor_table
from stillage.corpus.repeats import COLUMNS as REPEATS
from stillage.corpus.scan_part_file import hits_schema as part_schema
from stillage.corpus.shards import ShardSet
from stillage.corpus.targets import COLUMNS as TARGETS
from stillage.corpus.targets import target_table
from stillage.report.corpus_view import by_target_schema, rests_schema

NONE = np.zeros(0, dtype=np.int64)
NOTHING = np.zeros(0, dtype=bool)
NO_SHARDS = ShardSet(folder=Path(), shards=(), vocab_size=1, tokenizer="", manifest={})
NO_SIDE = SideFindings(
    names=Names(),
    is_empty_D=NOTHING,
    words_D=NONE,
    longest_D=NONE,
    start_D=NONE,
    other_D=NONE,
    other_start_D=NONE,
    covered_D=NONE,
    exact_D=NONE,
    near_D=NONE,
)
NO_SETS = InCommon(
    sides=(NO_SIDE, NO_SIDE), piece=8, unit="words", smaller=0, words_of_small=lambda number: ()
)
NO_HITS = Survivors(rule="", reading="", hits=part_schema().empty_table())
SCHEMAS: Mapping[str, pa.Schema] = {
    "SHARDS/shard-00000.documents.parquet": document_columns([], "", NONE).schema.insert(
        0, pa.field("document", pa.int64())
    ),
    "SHARDS/bad_lines.parquet": bad_rows([]).schema,
    "repeats.parquet": pa.schema([(name, pa.int64()) for name in REPEATS]),
    "targets.parquet": target_table({name: [] for name in TARGETS}, {}).schema,
    "SCAN/parts/part-000000.parquet": part_schema(),
    "SCAN/policy/policy.parquet": worth_rows(NO_HITS, 1, published_worth()).schema,
    "SCAN/policy/survivors.parquet": survivor_table([NO_HITS]).schema,
    "SCAN/report/near_counts.parquet": rests_schema(),
    "SCAN/report/by_target.parquet": by_target_schema(),
    "KEPT/removed.parquet": with_ids(
        NO_SHARDS, [whole_documents(NONE, NONE, read_rule("exact"))]
    ).schema,
    "OVERLAP/a.parquet": overlap_table(NO_SETS, 0, show_text=True).schema,
    "OVERLAP/dropped.parquet": dropped_table(NO_SETS, 0, [], NONE).schema,
}
ROWS: Mapping[str, str] = {
    "SHARDS/shard-00000.documents.parquet": "A row per document of a shard (`corpus tokenize`). "
    "In shards of `corpus dedup` also `of_document`, `start` and `end`: the span of the document before.",
    "SHARDS/bad_lines.parquet": "A row per row of the sources that was put aside (`--max-bad`).",
    "repeats.parquet": "A row per maximal repeat (`corpus repeats --out`); with `--with-tokens` also "
    "`tokens`, its ids.",
    "targets.parquet": "A row per target (`corpus targets --out`, and in SCAN as it was given).",
    "SCAN/parts/part-000000.parquet": "A row per near-duplicate, in each part of `corpus scan`: the "
    "parts together are what was found.",
    "SCAN/policy/policy.parquet": "A row per rule, reading, metric, target and distance at which "
    "something is left (`corpus policy`).",
    "SCAN/policy/survivors.parquet": "A row per near-duplicate that a rule leaves.",
    "SCAN/report/near_counts.parquet": "A row per rule, reading, metric, bucket and distance "
    "(`corpus report`; as .csv too).",
    "SCAN/report/by_target.parquet": "A row per metric and target, before any rule; of the whole "
    "corpus, also where a sample was scanned.",
    "KEPT/removed.parquet": "A row per span of tokens that went, and the rule that took it (`corpus "
    "dedup --out`).",
    "OVERLAP/a.parquet": "A row per document of A, b.parquet of B (`corpus overlap --out`). Of token "
    "shards `words` is `tokens`. `piece` stands there with `--show-text` alone.",
    "OVERLAP/dropped.parquet": "A row per document that was dropped (`--drop-from`).",
}
WORTH: Mapping[str, str] = {
    "worth": "What they are worth in exact copies, the mean over models.",
    "worth_low": "The least of the models: a range, no interval.",
    "worth_high": "The most of them.",
}
SHARED: Mapping[str, str] = {
    "document": "Number of the document, from 0 through all shards.",
    "start": "Its first token, from the document's first.",
    "end": "The token after its last.",
    "target": "Row of the targets, from 0.",
    "distance": "Tokens that differ; 0: an exact copy.",
    "metric": "levenshtein or hamming.",
    "rule": "The rule of deduplication; none: before any.",
    "reading": "in the corpus, or against the target; empty: before any rule.",
    "id": "Its own id, or FILE:LINE.",
    "source": "File that it came from.",
    "line": "Line or row in it, from 1.",
    "unique": "How many different tokens the target holds.",
    **WORTH,
}
COLUMN_TEXTS: Mapping[str, Mapping[str, str]] = {
    "SHARDS/bad_lines.parquet": {
        "reason": "Why it cannot be used.",
        "content": "The row as it stands in its file.",
    },
    "repeats.parquet": {
        "document": "Document of its first occurrence, from 0 through all shards.",
        "start": "Where it begins there, in tokens from the document's first.",
        "length": "Its tokens.",
        "count": "How often it occurs.",
        "documents": "How many documents hold it.",
    },
    "targets.parquet": {
        "target": "Number of the target, from 0.",
        "tokens": "Its ids.",
        "role": "repeated, random, or given (a list or text of yours).",
        "bucket": "The count that was asked for; null: none was.",
        "count": "How often it occurs in the corpus that it was drawn from; null: unknown.",
        "document": "Document of one occurrence; null: unknown.",
        "start": "Where that begins, in tokens from the document's first; null: unknown.",
    },
    "SCAN/policy/policy.parquet": {
        "near_duplicates": "How many are left at this distance; of a sample as found.",
        "is_measured": "Whether the worth of a copy was measured at this distance.",
    },
    "SCAN/report/near_counts.parquet": {
        "bucket": "How often its targets occur, or their role.",
        "distance": "The largest distance that counts; 0: exact copies, from 1 on without these.",
        "targets": "Targets of the bucket.",
        "counted": "What the row counts: exact copies (distance 0), or near-duplicates (1 and more).",
        "found": "Of all these targets, as found, their own places left out.",
        "mean": "Of a target, in the whole corpus.",
        "low": "Lower limit of its interval; NaN: too few to tell.",
        "high": "Upper limit of its interval; NaN: too few to tell.",
        "level": "Confidence level of the interval.",
        "documents": "Documents that hold one of them.",
        "reason": "Why there are no limits.",
    },
    "SCAN/report/by_target.parquet": {
        "bucket": "How often the target occurs, as was asked for, or its role.",
        "count": "How often it occurs, exactly; null: unknown.",
        "own_place": "Whether the place that it was taken from was found.",
        "exact": "Exact copies elsewhere.",
        "near": "Near-duplicates: at distance 1 and more.",
    },
    "KEPT/removed.parquet": {
        "copy_document": "Number of the document that holds a copy of the span.",
        "copy_start": "Where the copy begins there.",
        "rule": "The rule that took it.",
        "id": "Id of the document.",
        "copy_id": "Id of the copy's document.",
    },
    "OVERLAP/a.parquet": {
        "id": "Its own id; empty: it has none.",
        "verdict": "exact copy, near-duplicate, shares a piece, no such piece, too short to judge "
        "(fewer words than a piece), or empty.",
        "words": "Words of the document.",
        "covered": "Of these, in shared pieces of `--piece` words and more.",
        "longest": "Words of the longest piece that the other side has too.",
        "start": "Where it begins, in words; null: nothing is shared.",
        "other_id": "The document of the other side that has it: its id.",
        "other_source": "Its file.",
        "other_line": "Its line.",
        "other_start": "Where the piece begins there.",
        "other_words": "Words of that document.",
        "other_covered": "Of these, in shared pieces.",
        "copy_id": "The document that this one is an exact or near copy of: its id; null: of none.",
        "copy_source": "Its file.",
        "copy_line": "Its line.",
        "piece": "The words of the longest piece, where it has `--piece` words.",
    },
    "OVERLAP/dropped.parquet": {
        "id": "Its own id; empty: it has none.",
        "why": "exact copy, near-duplicate, or how much is shared.",
        "with_id": "The document of the other side: its id.",
        "with_source": "Its file.",
        "with_line": "Its line.",
    },
}


def corpus_rows(name: str) -> Iterator[tuple[str, str, str]]:
    """Describe the columns of one of SCHEMAS: name, type, text."""
    texts = {**SHARED, **COLUMN_TEXTS.get(name, {})}
    for column in SCHEMAS[name]:
        yield f"`{column.name}`", kind(column.type), texts[column.name]
