"""What a condition puts into documents: exact copies, and near-copies."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from stillage.errors import DataError
from stillage.mosaic.condition import Condition
from stillage.mosaic.places import encode_with_spans

if TYPE_CHECKING:
    import pyarrow as pa
    from transformers import PreTrainedTokenizerBase

log = logging.getLogger("stillage")
Row = Mapping[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Copy:
    """What is put in one place: a copy of a canary, or a piece of one."""

    canary: int
    number: int  # among the copies of its canary: exact ones first
    variation: int  # -1: an exact copy
    piece: int
    text: str
    ids: Sequence[int]


def dose_copies(
    members: Sequence[Row], variations: pa.Table | None, condition: Condition
) -> list[Copy]:
    """What a condition injects of its members: exact copies first, then near-copies.

    Members behind the last that has near-copies get nothing, where any are asked for: an instruct
    model may have paraphrased the first alone. They are counted in a warning. DataError where one
    of the others lacks a near-copy.
    """
    near = _near_copies(variations) if condition.near and variations is not None else {}
    last = max((canary for canary, _ in near), default=-1)
    chosen = [row for row in members if row["canary"] <= last or not condition.near]
    if not chosen:
        values = f"asked for, of each canary: {condition.near}; there are: {len(near)}"
        raise DataError("There are no near-copies to inject.", values, "Make them first.")
    if behind := len(members) - len(chosen):
        log.warning("%d canaries stay out of the documents: they have no near-copies", behind)
    copies = list[Copy]()
    for row in chosen:
        copies += [_copy(row, number, -1) for number in range(condition.exact)]
        for variation in range(condition.near):
            pieces = near.get((row["canary"], variation), [])
            if not pieces or any(not piece["ids"] for piece in pieces):
                values = f"canary {row['canary']}: near-copy {variation}, counted from 0, is "
                values += f"{'empty' if pieces else 'missing'}; asked for: {condition.near}"
                fix = "Make more near-copies, or ask for fewer copies (mosaic.copies)."
                raise DataError("A canary has too few near-copies.", values, fix)
            copies += [_copy(piece, condition.exact + variation, variation) for piece in pieces]
    return copies


def check_tokenizer(members: Sequence[Row], tokenizer: PreTrainedTokenizerBase) -> None:
    """Raise DataError unless each canary's text is its ids in this tokenizer."""
    for row in members:
        ids = encode_with_spans(row["text"], tokenizer).ids_T.tolist()
        if ids != row["ids"]:
            name = tokenizer.name_or_path or type(tokenizer).__name__
            values = f"canary {row['canary']}: {len(row['ids'])} tokens, beginning "
            values += f"{row['ids'][:4]}; in {name}: {len(ids)}, beginning {ids[:4]}"
            fix = "Write canaries with the tokenizer of the model that is trained."
            raise DataError("The canaries are of another tokenizer.", values, fix)


def _near_copies(variations: pa.Table) -> dict[tuple[int, int], list[Row]]:
    """The pieces of each (canary, variation), in order."""
    found = dict[tuple[int, int], list[Row]]()
    names = ["canary", "variation", "piece", "text", "ids"]
    order = [(name, "ascending") for name in names[:3]]
    for row in variations.select(names).sort_by(order).to_pylist():
        found.setdefault((row["canary"], row["variation"]), []).append(row)
    return found


def _copy(row: Row, number: int, variation: int) -> Copy:
    """A copy of a canary or near-copy."""
    return Copy(
        canary=row["canary"],
        number=number,
        variation=variation,
        piece=row.get("piece", 0),
        text=row["text"],
        ids=row["ids"],
    )
