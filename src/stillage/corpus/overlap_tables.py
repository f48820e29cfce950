"""Tables of a comparison: a row per document, counts, and dropped documents."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from stillage.corpus.in_common import NONE, InCommon, SideFindings
from stillage.errors import ConfigError
from stillage.types import Array

if TYPE_CHECKING:
    import pyarrow as pa

EXACT, NEAR, PIECE = "exact copy", "near-duplicate", "shares a piece"
SHORT, EMPTY, NOTHING = "too short to judge", "empty", "no such piece"
VERDICTS = (EXACT, NEAR, PIECE, NOTHING, SHORT, EMPTY)
"""What is said of a document: the first that holds. Too short: fewer words than a piece has."""
OVERLAPS = (EXACT, NEAR, PIECE)


def verdicts(found: SideFindings, piece: int) -> Array:
    """Say of each document what it has in common with the other side, str[D]."""
    holds = (
        found.is_empty_D,
        found.exact_D != NONE,
        found.near_D != NONE,
        found.longest_D >= piece,
        found.words_D < piece,
    )
    return np.select(holds, (EMPTY, EXACT, NEAR, PIECE, SHORT), NOTHING)


def side_counts(common: InCommon, side: int) -> dict[str, int]:
    """Count a side: documents and words in all, in shared pieces, and by verdict."""
    found = common.sides[side]
    said = verdicts(found, common.piece)
    counts = {
        "documents": len(found.names),
        common.unit: int(found.words_D.sum()),
        "covered": int(found.covered_D.sum()),
        "longest": int(found.longest_D.max(initial=0)),
        "with a piece": int((found.longest_D >= common.piece).sum()),
    }
    return counts | {verdict: int((said == verdict).sum()) for verdict in VERDICTS}


def by_overlap(found: SideFindings) -> Array:
    """Documents with anything in common, by their longest piece, the longest first."""
    is_copy = (found.exact_D != NONE) | (found.near_D != NONE)
    order = np.lexsort((np.arange(len(found.names)), -found.longest_D))
    return order[(is_copy | (found.longest_D > 0))[order]]


def overlap_table(common: InCommon, side: int, *, show_text: bool = False) -> pa.Table:
    """A row for each document of a side, in order.

    id, source, line, verdict; `words` (or `tokens`), `covered` (of these, in shared pieces of
    `piece` or more); `longest` piece, where it `start`s, and in which document of the other side:
    `other_id`, `other_source`, `other_line`, `other_start`, and that one's `other_words`,
    `other_covered`; of which document it is an exact or near copy: `copy_id`, `copy_source`,
    `copy_line` (null: of none). show_text: also the words of the longest `piece`.
    """
    import pyarrow as pa

    found, others = common.sides[side], common.sides[1 - side]
    copy_D = copies(found)
    columns: dict[str, object] = {
        "id": pa.array(found.names.ids, pa.string()),
        "source": pa.array(found.names.sources, pa.string()),
        "line": pa.array(np.array(found.names.lines)),
        "verdict": pa.array(verdicts(found, common.piece).tolist(), pa.string()),
        common.unit: pa.array(found.words_D),
        "covered": pa.array(found.covered_D),
        "longest": pa.array(found.longest_D),
        "start": pa.array(found.start_D, mask=found.other_D == NONE),
        **_named("other", found.other_D, others),
        "other_start": pa.array(found.other_start_D, mask=found.other_D == NONE),
        f"other_{common.unit}": _of(others.words_D, found.other_D),
        "other_covered": _of(others.covered_D, found.other_D),
        **_named("copy", copy_D, others),
    }
    if show_text:
        shown = np.flatnonzero(found.longest_D >= common.piece).tolist()
        pieces = {number: common.shared_piece(side, number) for number in shown}
        columns["piece"] = pa.array(map(pieces.get, range(len(found.names))), pa.string())
    return pa.table(columns)


def copies(found: SideFindings) -> Array:
    """The document that each is an exact or else a near copy of; -1: none."""
    return np.where(found.exact_D != NONE, found.exact_D, found.near_D)


def _named(prefix: str, number_D: Array, others: SideFindings) -> dict[str, pa.Array]:
    """Columns that name documents of the other side; null for none."""
    import pyarrow as pa

    numbers = [None if number == NONE else number for number in number_D.tolist()]
    columns = {"id": others.names.ids, "source": others.names.sources, "line": others.names.lines}
    kinds = {"id": pa.string(), "source": pa.string(), "line": pa.int64()}
    return {
        f"{prefix}_{name}": pa.array(
            [None if number is None else values[number] for number in numbers], kinds[name]
        )
        for name, values in columns.items()
    }


def _of(values_D: Array, number_D: Array) -> pa.Array:
    """Numbers of documents of the other side; null for none."""
    import pyarrow as pa

    return pa.array(values_D[number_D], mask=number_D == NONE)


@dataclass(frozen=True, slots=True, kw_only=True)
class DropRule:
    """Who is dropped. An exact copy always is."""

    near: bool = False  # and near-duplicates
    piece: int = 0  # and who shares so many words in a row; 0: that does not count


def read_drop_rule(words: Sequence[str]) -> DropRule:
    """Read `exact`, `near` and `piece:N`, one or more. ConfigError for any other word."""
    near, piece = False, 0
    for word in words:
        name, _, number = word.partition(":")
        if name == "piece" and number.isascii() and number.isdigit() and int(number) > 0:
            piece = min(piece or int(number), int(number))
        elif word not in ("exact", "near"):
            fix = "Give exact, near or piece:N (N words in a row), or several of them."
            fix = (
                f"Write piece:{number}: {number} words in a row."
                if name == "ngram" and number.isdigit()
                else fix
            )
            raise ConfigError("There is no such rule.", f"--rule {word}", fix)
        near |= word == "near"
    if not words:
        raise ConfigError("No rule was given.", "--rule", "Give exact, near or piece:N.")
    return DropRule(near=near, piece=piece)


def dropped(found: SideFindings, rule: DropRule, unit: str) -> tuple[list[str], Array]:
    """Say why each document is dropped ("": kept), and for which of the other side.

    That document is -1 where the document is kept.
    """
    is_exact, is_near = found.exact_D != NONE, (found.near_D != NONE) & rule.near
    has_piece = (found.longest_D >= rule.piece) & (rule.piece > 0)
    why = np.select((is_exact, is_near), (EXACT, NEAR), "").tolist()
    for number in np.flatnonzero(~is_exact & ~is_near & has_piece).tolist():
        why[number] = f"shares {found.longest_D[number]} {unit}"
    is_dropped = is_exact | is_near | has_piece
    other_D = np.where(is_exact | is_near, copies(found), found.other_D)
    return why, np.where(is_dropped, other_D, NONE)


def dropped_table(common: InCommon, side: int, why: Sequence[str], other_D: Array) -> pa.Table:
    """List the dropped documents: id, source, line, why, and with_* of the other side."""
    import pyarrow as pa

    names = common.sides[side].names
    columns = {
        "id": pa.array(names.ids, pa.string()),
        "source": pa.array(names.sources, pa.string()),
        "line": pa.array(np.array(names.lines)),
        "why": pa.array(why, pa.string()),
        **_named("with", other_D, common.sides[1 - side]),
    }
    return pa.table(columns).filter(pa.array([bool(one) for one in why], pa.bool_()))
