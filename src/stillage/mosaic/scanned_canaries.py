"""Targets of a corpus scan as canaries: members and nonmembers drawn among them."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING

from stillage.corpus.tokenizers import rules_hash
from stillage.errors import DataError
from stillage.mosaic.kinds import Scanned
from stillage.mosaic.table_columns import CANARIES, table_schema
from stillage.rng import generator

if TYPE_CHECKING:
    import pyarrow as pa
    from transformers import PreTrainedTokenizerFast


def scanned_canaries(
    kinds: Sequence[Scanned], count: int, tokenizer: PreTrainedTokenizerFast, *, seed: int
) -> pa.Table:
    """Draw canaries among the targets with `count` near-copies of every kind.

    kinds: of one scan. Half of them, at random, are members; the others are nonmembers, so that
    before training nothing tells one from the other. No text is sampled: perplexity is null. Errors
    as `scanned.find_scanned`; DataError for fewer than 4 such targets.
    """
    import pyarrow as pa

    from stillage.mosaic.scanned import find_scanned
    from stillage.mosaic.token_texts import decode_ids

    enough = [set(find_scanned(kind, tokenizer).with_enough(count)) for kind in kinds]
    fit = sorted(set.intersection(*enough))
    if len(fit) < 4:
        ranges = ", ".join(f"{kind.min_distance} to {kind.max_distance}" for kind in kinds)
        raise DataError(
            "Too few targets have near-duplicates at every distance.",
            f"{kinds[0].scan}: {len(fit)} with {count} or more at each of {ranges}",
            "Ask for wider ranges (mosaic.params.scanned.distances), fewer copies, or scan more.",
        )
    order = generator(seed, "scanned canaries").permutation(len(fit)).tolist()
    half = len(fit) // 2
    rows = [
        {
            "canary": number,
            "role": "member" if number < half else "nonmember",
            "text": decode_ids(tokenizer, fit[at]),
            "ids": list(fit[at]),
            "perplexity": None,
            "bucket": None,
            "seed": seed,
        }
        for number, at in enumerate(order)
    ]
    about = {
        "tokenizer": rules_hash(tokenizer),
        "seed": seed,
        "scanned": [asdict(kind) for kind in kinds],
        "left_out": len(set.union(*enough)) - len(fit),
    }
    table = pa.Table.from_pylist(rows, table_schema(CANARIES))
    return table.replace_schema_metadata({"canaries": json.dumps(about)})
