"""Targets of a corpus scan as canaries: members and nonmembers drawn among them."""

from __future__ import annotations

import json
import logging
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING

from stillage.corpus.tokenizers import rules_hash
from stillage.errors import DataError
from stillage.mosaic.canary_choice import SIMILAR, id_jaccard
from stillage.mosaic.kinds import Scanned
from stillage.mosaic.scanned import Ids, ScanFound, find_scanned, pieces_of
from stillage.mosaic.table_columns import CANARIES, table_schema
from stillage.rng import generator

if TYPE_CHECKING:
    import pyarrow as pa
    from transformers import PreTrainedTokenizerFast

log = logging.getLogger("stillage")
FEW, NEAR, SHARED = "too few near-copies", "near another", "in near-copies of another"
LEAST = 4  # canaries: two of each role


@dataclass(frozen=True, slots=True, kw_only=True)
class TargetWithCopies:
    """A target that may be a canary, and what else its injection would show a model."""

    ids: Ids
    different: frozenset[int]  # its ids
    copies: frozenset[Ids]  # near-copies, and their pieces of a canary's length


def scanned_canaries(
    kinds: Sequence[Scanned],
    count: int,
    tokenizer: PreTrainedTokenizerFast,
    *,
    max_jaccard: float,
    seed: int,
) -> pa.Table:
    """Draw canaries among the targets with `count` near-copies of every kind.

    kinds: of one scan. Targets are taken in a random order, those alone that are unlike all taken
    before: Jaccard of ids <= max_jaccard, farther than the scan looked, in no near-copy of theirs,
    and none in common. Half of them are members, the first in that order; the others are
    nonmembers, so that before training nothing tells one from the other. No text is sampled:
    perplexity is null. The metadata count those left out by reason. Errors as
    `scanned.find_scanned`; DataError for fewer than 4 such targets.
    """
    import pyarrow as pa

    from stillage.mosaic.token_texts import decode_ids

    found = [find_scanned(kind, tokenizer) for kind in kinds]
    enough = [set(one.with_enough(count)) for one in found]
    fit = sorted(set.intersection(*enough))
    order = generator(seed, "scanned canaries").permutation(len(fit)).tolist()
    chosen, left_out = unlike_targets([fit[at] for at in order], found, max_jaccard)
    left_out[FEW] = len(found[0].copies) - len(fit)
    if len(chosen) < LEAST:
        raise too_few_targets(kinds, count, len(fit), left_out)
    why = ", ".join(f"{many} {reason}" for reason, many in sorted(left_out.items()) if many)
    log.info("%d targets are canaries; left out: %s", len(chosen), why or "none")
    half = len(chosen) // 2
    rows = [
        {
            "canary": number,
            "role": "member" if number < half else "nonmember",
            "text": decode_ids(tokenizer, ids),
            "ids": list(ids),
            "perplexity": None,
            "bucket": None,
            "seed": seed,
        }
        for number, ids in enumerate(chosen)
    ]
    about = {
        "tokenizer": rules_hash(tokenizer),
        "seed": seed,
        "scanned": [asdict(kind) for kind in kinds],
        "max_jaccard": max_jaccard,
        "order": "a uniform permutation, by the seed",
        "left_out": dict(sorted(left_out.items())),
        "near_copies_left_out": sum(one.holding for one in found),
    }
    table = pa.Table.from_pylist(rows, table_schema(CANARIES))
    return table.replace_schema_metadata({"canaries": json.dumps(about)})


def unlike_targets(
    targets: Sequence[Ids], found: Sequence[ScanFound], max_jaccard: float
) -> tuple[list[Ids], Counter[str]]:
    """Take the targets, in order, that are unlike all taken before.

    Returns them, and how many were left out for which reason.
    """
    chosen: list[TargetWithCopies] = []
    left_out: Counter[str] = Counter()
    for ids in targets:
        near = {copy for one in found for copy in one.copies.get(ids, ())}
        pieces = {piece for copy in near for piece in pieces_of(copy, len(ids))}
        target = TargetWithCopies(
            ids=ids, different=frozenset(ids), copies=frozenset(near | pieces)
        )
        farthest = found[0].farthest
        reasons = [why_alike(target, other, farthest, max_jaccard) for other in chosen]
        if reason := next(filter(None, reasons), ""):
            left_out[reason] += 1
        else:
            chosen.append(target)
    return [target.ids for target in chosen], left_out


def why_alike(
    target: TargetWithCopies, other: TargetWithCopies, farthest: int, max_jaccard: float
) -> str:
    """Say why two targets cannot both be canaries; empty where they can."""
    from rapidfuzz.distance import Levenshtein

    if id_jaccard(target.different, other.different) > max_jaccard:
        return SIMILAR
    is_held = target.ids in other.copies or other.ids in target.copies
    if is_held or not target.copies.isdisjoint(other.copies):
        return SHARED
    is_near = Levenshtein.distance(target.ids, other.ids, score_cutoff=farthest) <= farthest
    return NEAR if is_near else ""


def too_few_targets(
    kinds: Sequence[Scanned], count: int, fit: int, left_out: Counter[str]
) -> DataError:
    """Make the error for a scan that gives too few canaries, with the reasons."""
    ranges = ", ".join(f"{kind.min_distance} to {kind.max_distance}" for kind in kinds)
    alike = ", ".join(f"{left_out[why]} {why}" for why in sorted(left_out) if why != FEW)
    values = f"{kinds[0].scan}: {fit} with {count} or more at each of {ranges}"
    few = "Ask for wider ranges (mosaic.params.scanned.distances), fewer copies, or scan more."
    if fit < LEAST:
        return DataError("Too few targets have near-duplicates at every distance.", values, few)
    return DataError(
        "Too few targets of the scan are unlike each other.",
        f"{values}; left out: {alike}; wanted: {LEAST} or more",
        "Raise mosaic.canaries.max_jaccard, or scan for more, and for other, targets.",
    )
