"""Near-copies of canaries, by kind, with texts, ids and distances."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from stillage.corpus.tokenizers import tokenizer_hash
from stillage.errors import ConfigError, DataError
from stillage.mosaic.distances import DISTANCES
from stillage.mosaic.insertion import inserted, scattered
from stillage.mosaic.kinds import Insertion, Kind, Replacement, Scanned, Scatter, Shuffle
from stillage.mosaic.replacement import replacements
from stillage.mosaic.replacement_candidates import CandidateSource
from stillage.mosaic.scanned import find_scanned, scanned_variations
from stillage.mosaic.shuffle import shuffled_variations
from stillage.mosaic.table_columns import VARIATIONS, table_schema
from stillage.mosaic.token_texts import decode_ids, encode_texts

if TYPE_CHECKING:
    import pyarrow as pa
    from transformers import PreTrainedTokenizerFast

    from stillage.models.masked import Masked

log = logging.getLogger("stillage")
Ids = list[int]


def variations_of_ids(
    ids_by_canary: Sequence[Sequence[int]],
    kind: Kind,
    *,
    count: int,
    seed: int,
    tokenizer: PreTrainedTokenizerFast,
    masked: Masked | None = None,
) -> pa.Table:
    """Make `count` near-copies of each canary, a table of VARIATIONS.

    Canary i is ids_by_canary[i]. masked: proposes replacements where the kind asks for it. Near-
    copies of a canary depend on seed, its number and its ids alone, not on the other canaries.
    Metadata "variations" (JSON): the kind and its settings, seed, tokenizer, and how many near-
    copies equal their canary, and how many texts encode to other ids than those beside them.
    ConfigError and DataError as each kind says; for a canary without tokens too.
    """
    if count < 1:
        raise ConfigError("No near-copies are asked for.", f"count: {count}", "Give 1 or more.")
    for canary, ids in enumerate(ids_by_canary):
        if not len(ids):
            raise DataError("A canary is empty.", f"canary {canary}", "Give texts with tokens.")
    ids_by_canary = [list(ids) for ids in ids_by_canary]
    source = CandidateSource(
        ids_by_canary=ids_by_canary, tokenizer=tokenizer, masked=masked, seed=seed
    )
    assert type(kind) in MAKERS, "paraphrases are written by mosaic.paraphrase"
    near = MAKERS[type(kind)](source, kind, count)
    return variation_table(source, near, {"kind": type(kind).__name__, **asdict(kind)})


def _replaced(source: CandidateSource, kind: Replacement, count: int) -> list[list[list[Ids]]]:
    return one_piece(replacements(source, kind, count=count))


def _inserted(source: CandidateSource, kind: Insertion, count: int) -> list[list[list[Ids]]]:
    ids, others = source.ids_by_canary, source.ordinary
    return one_piece(inserted(ids, kind, count=count, seed=source.seed, others=others))


def _scattered(source: CandidateSource, kind: Scatter, count: int) -> list[list[list[Ids]]]:
    return scattered(source.ids_by_canary, kind, count=count)


def _shuffled(source: CandidateSource, kind: Shuffle, count: int) -> list[list[list[Ids]]]:
    return one_piece(shuffled_variations(source.ids_by_canary, kind, count=count, seed=source.seed))


def _scanned(source: CandidateSource, kind: Scanned, count: int) -> list[list[list[Ids]]]:
    found = find_scanned(kind, source.tokenizer)
    ids = source.ids_by_canary
    return one_piece(scanned_variations(ids, found, count=count, seed=source.seed))


MAKERS: Mapping[type, Callable[[CandidateSource, Any, int], list[list[list[Ids]]]]] = {
    Replacement: _replaced,
    Insertion: _inserted,
    Scatter: _scattered,
    Shuffle: _shuffled,
    Scanned: _scanned,
}
"""Kind -> its near-copies, [canary][variation][piece] ids."""


def one_piece(near: Sequence[Sequence[Ids]]) -> list[list[list[Ids]]]:
    """Near-copies that are one piece each."""
    return [[[ids] for ids in of_canary] for of_canary in near]


def variation_table(
    source: CandidateSource, near: Sequence[Sequence[Sequence[Ids]]], about: Mapping[str, object]
) -> pa.Table:
    """Make the table of near-copies, with their distances.

    near: [canary][variation][piece] ids.
    """
    import pyarrow as pa

    rows = list(variation_rows(source, near))
    again = encode_texts(source.tokenizer, [row["text"] for row in rows])
    facts = {
        **about,
        "seed": source.seed,
        "tokenizer": tokenizer_hash(source.tokenizer, chat_template=False),
        "masked": source.masked.key if source.masked is not None else "",
        "near_copies": sum(map(len, near)),
        "equal_to_canary": sum(row["levenshtein"] == 0 for row in rows),
        "texts_encode_otherwise": sum(
            found != row["ids"] for found, row in zip(again, rows, strict=True)
        ),
    }
    log.info(
        "near-copies: %d; equal to their canary: %d; texts that encode to other ids: %d of %d",
        facts["near_copies"],
        facts["equal_to_canary"],
        facts["texts_encode_otherwise"],
        len(rows),
    )
    columns = table_schema(VARIATIONS).with_metadata(
        {"variations": json.dumps(facts, sort_keys=True)}
    )
    return pa.Table.from_pylist(rows, schema=columns)


def with_distances(table: pa.Table, ids_by_canary: Sequence[Sequence[int]]) -> pa.Table:
    """Add the distances to near-copies that were written as text.

    Returns VARIATIONS and the table's own columns. table: canary, variation, piece, text, ids,
    length, and any others; its metadata stay.
    """
    import pyarrow as pa

    rows = [
        row | {name: of(ids_by_canary[row["canary"]], row["ids"]) for name, of in DISTANCES.items()}
        for row in table.to_pylist()
    ]
    known = table_schema(VARIATIONS)
    others = [column for column in table.schema if column.name not in known.names]
    return pa.Table.from_pylist(rows, pa.schema([*known, *others], metadata=table.schema.metadata))


def variation_rows(
    source: CandidateSource, near: Sequence[Sequence[Sequence[Ids]]]
) -> Iterator[dict[str, Any]]:
    """The rows of VARIATIONS; distances are null where a near-copy lies in pieces."""
    for canary, of_canary in enumerate(near):
        original = source.ids_by_canary[canary]
        for variation, parts in enumerate(of_canary):
            for piece, ids in enumerate(parts):
                is_whole = len(parts) == 1
                yield {
                    "canary": canary,
                    "variation": variation,
                    "piece": piece,
                    "text": decode_ids(source.tokenizer, ids),
                    "ids": ids,
                    "length": len(ids),
                } | {
                    name: distance(original, ids) if is_whole else None
                    for name, distance in DISTANCES.items()
                }
