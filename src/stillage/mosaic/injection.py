"""Copies of canaries into documents, each at a place that no condition moves.

Canary i goes into document i mod H, members alone. Its copies are numbered: first the exact ones,
then the near-copies. In each document:

- `places.py` puts its places in one random order, from the seed and the text alone;
- with J members in the document, copy k of the j-th of them takes place number k J + j of that
  order. So 3 exact copies stand where the first 3 of 10 stand, and near-copy v beside one exact
  copy stands where exact copy v + 1 would. Where the original stands among the copies of its
  canary is random, and the same in all conditions;
- of a near-copy scattered in pieces, the first piece takes that place. The others take the last
  places of the order, backwards, copy by copy, in each canary by canary.

As tokens (mode "tokens"), the ids themselves are put between two tokens of the host, all others
unchanged: exact by construction. White space of the host follows; where the copy does not begin
with white space, as the model reads it there, a line break is put before it (`lead` in the ledger;
a space where the tokenizer has no line break, nothing where it has neither). So byte-level models
see "the", newline, "The cat" for a canary written without a space before, and not "theThe cat".

As text (mode "text"), " " and the copy's text are put behind a word of the host, before the white
space that follows (or " " where none does); no space where the copy brings its own. The whole
document is encoded afterwards, so that tokens at the borders may be others: the ledger holds those
that overlap the copy's characters, and `survived` says whether they are the injected ones. The
published code put no space behind: its last word stuck to the host's next.

Neither puts BOS or EOS: whoever cuts documents into blocks does.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from stillage.errors import ConfigError, DataError
from stillage.mosaic.condition import Condition
from stillage.mosaic.doses import Copy, check_tokenizer, dose_copies
from stillage.mosaic.ledger import ledger_table
from stillage.mosaic.places import (
    TokenSpans,
    encode_with_spans,
    random_order,
    token_borders,
    word_ends,
)
from stillage.mosaic.token_texts import decode_ids
from stillage.types import Array

if TYPE_CHECKING:
    import pyarrow as pa
    from transformers import PreTrainedTokenizerBase

Mode = Literal["tokens", "text"]
LEADS = ("\n", " ")
"""What parts a copy from the word before, as tokens: the first that the tokenizer can write."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Injected:
    """Documents with copies of canaries in them, and where each stands."""

    documents: list[Array]  # int32[T] each, in the order of the hosts
    ledger: pa.Table  # table_columns.LEDGER; by canary, then copy, then piece


@dataclass(frozen=True, slots=True, kw_only=True)
class Host:
    """A document, and the canaries that belong to it."""

    number: int
    text: str
    members: Sequence[int]  # ascending; also those that a condition leaves out
    seed: int


def inject(
    hosts: Sequence[str],
    canaries: pa.Table,
    variations: pa.Table | None = None,
    *,
    condition: Condition,
    tokenizer: PreTrainedTokenizerBase,
    mode: Mode = "tokens",
    seed: int,
) -> Injected:
    """Put copies of canaries into documents, by the rule that this file begins with.

    Where only the first canaries have near-copies, as paraphrases may, the others are left out of
    the documents, and move nothing.

    Args:
        hosts: texts of the documents.
        canaries, variations: `table_columns.CANARIES`, `table_columns.VARIATIONS`.
        condition: its `exact` copies of each member, and the first `near` of its near-copies.
        tokenizer: of the model that is trained, and of the canaries.

    Raises DataError without hosts or members, for canaries of another tokenizer, too few
    near-copies, and more copies than a document has places; ConfigError for a negative dose.
    """
    if condition.exact < 0 or condition.near < 0:
        values = f"exact: {condition.exact}; near: {condition.near}"
        raise ConfigError("A number of copies is negative.", values, "Give 0 or more.")
    members = [row for row in canaries.to_pylist() if row["role"] == "member"]
    if not hosts or not members:
        values = f"documents: {len(hosts)}; members among the canaries: {len(members)}"
        raise DataError("There is nothing to inject, or nowhere.", values, "Give both.")
    check_tokenizer(members, tokenizer)
    copies = dose_copies(members, variations, condition)
    documents, rows = list[Array](), list[dict[str, Any]]()
    for number, text in enumerate(hosts):
        here = sorted(row["canary"] for row in members if row["canary"] % len(hosts) == number)
        mine = [copy for copy in copies if copy.canary % len(hosts) == number]
        host = Host(number=number, text=text, members=here, seed=seed)
        ids_T, found = MODES[mode](host, mine, tokenizer)
        documents.append(ids_T)
        rows += found
    rows.sort(key=lambda row: [row[key] for key in ("canary", "variation", "copy", "piece")])
    return Injected(documents=documents, ledger=ledger_table(rows))


def put_tokens(
    host: Host, copies: Sequence[Copy], tokenizer: PreTrainedTokenizerBase
) -> tuple[Array, list[dict[str, Any]]]:
    """Put the ids of copies between tokens of a host.

    Returns (ids int32[T], rows of the ledger).
    """
    encoded = encode_with_spans(host.text, tokenizer)
    borders_P = token_borders(word_ends(host.text), encoded)
    places_C = choose_places(host, copies, borders_P >= 0)
    begins, lead = _begins_with_space(tokenizer), _lead_ids(tokenizer)
    parts, rows, at, length = list[Any](), list[dict[str, Any]](), 0, 0
    for index in np.argsort(places_C).tolist():
        copy, border = copies[index], int(borders_P[places_C[index]])
        before = [] if begins(copy.ids[0]) else lead
        start = length + border - at + len(before)
        parts += [encoded.ids_T[at:border], before, copy.ids]
        at, length = border, start + len(copy.ids)
        rows.append(_row(host, copy, start, copy.ids) | {"lead": len(before)})
    parts.append(encoded.ids_T[at:])
    return np.concatenate([np.asarray(part, dtype=np.int32) for part in parts]), rows


def put_text(
    host: Host, copies: Sequence[Copy], tokenizer: PreTrainedTokenizerBase
) -> tuple[Array, list[dict[str, Any]]]:
    """Put the text of copies between words of a host, and encode it all.

    Returns as `put_tokens`.
    """
    ends_P = word_ends(host.text)
    places_C = choose_places(host, copies, np.ones(len(ends_P), dtype=bool))
    parts, spans, at, length = list[str](), list[tuple[int, int]](), 0, 0
    inner = np.argsort(places_C).tolist()
    for index in inner:
        text, end = copies[index].text, int(ends_P[places_C[index]])
        before = "" if text[:1].isspace() else " "
        after = "" if host.text[end].isspace() else " "
        start = length + end - at + len(before)
        parts += [host.text[at:end], before, text, after]
        spans.append((start, start + len(text)))
        at, length = end, start + len(text) + len(after)
    encoded = encode_with_spans("".join([*parts, host.text[at:]]), tokenizer)
    rows = [
        _row(host, copies[index], first, encoded.ids_T[first:last].tolist())
        for index, (first, last) in zip(inner, _tokens_of(spans, encoded), strict=True)
    ]
    return encoded.ids_T, rows


MODES: dict[
    Mode,
    Callable[[Host, Sequence[Copy], PreTrainedTokenizerBase], tuple[Array, list[dict[str, Any]]]],
] = {"tokens": put_tokens, "text": put_text}


def choose_places(host: Host, copies: Sequence[Copy], usable_P: Array) -> Array:
    """Choose the place of each copy among the ends of a host's words.

    Returns int64[C], all different. DataError where there are fewer than copies.
    """
    order_P = random_order(host.text, len(usable_P), host.seed)
    order_P = order_P[usable_P[order_P]]
    rank = {canary: j for j, canary in enumerate(host.members)}
    index_C, further = np.zeros(len(copies), dtype=np.int64), 0
    keys = [(copy.number, copy.canary, copy.piece, c) for c, copy in enumerate(copies)]
    for number, canary, piece, c in sorted(keys):
        further += piece > 0
        index_C[c] = -further if piece else number * len(rank) + rank[canary]
    needed = further + len(rank) * max((copy.number + 1 for copy in copies), default=0)
    if needed > len(order_P):
        values = f"document {host.number}: {len(usable_P) + 1} words, {len(order_P)} places; "
        values += f"needed for {len(rank)} canaries: {needed}"
        fix = "Give longer or more documents (mosaic.hosts), or fewer canaries or copies."
        raise DataError("A document has fewer places than copies go into it.", values, fix)
    return order_P[index_C]


def _begins_with_space(tokenizer: PreTrainedTokenizerBase) -> Callable[[int], bool]:
    """A function that tells whether a token begins with white space, within a text."""
    context = encode_with_spans("a", tokenizer).ids_T.tolist()
    known = dict[int, bool]()

    def begins(first: int) -> bool:
        if first not in known:
            text = decode_ids(tokenizer, [*context, first])
            known[first] = text.removeprefix(decode_ids(tokenizer, context))[:1].isspace()
        return known[first]

    return begins


def _lead_ids(tokenizer: PreTrainedTokenizerBase) -> list[int]:
    """The first of LEADS that the tokenizer can write behind a word; none where it cannot."""
    word = encode_with_spans("a", tokenizer).ids_T.tolist()
    for text in LEADS:
        ids = encode_with_spans(f"a{text}", tokenizer).ids_T.tolist()
        if ids[: len(word)] == word and decode_ids(tokenizer, ids) == f"a{text}":
            return ids[len(word) :]
    return []


def _tokens_of(spans: Sequence[tuple[int, int]], encoded: TokenSpans) -> list[tuple[int, int]]:
    """The tokens [first, last) that overlap each span of characters.

    A space that a tokenizer trims from its offsets has none: it counts where the span ends in it.
    """
    if not spans:
        return []
    starts_C, ends_C = np.array(spans, dtype=np.int64).T
    first_C = np.searchsorted(encoded.ends_T, starts_C, side="right")
    trimmed_T = np.maximum.accumulate(encoded.starts_T + (encoded.starts_T < encoded.ends_T))
    last_C = np.searchsorted(trimmed_T, ends_C, side="right")
    return list(zip(first_C.tolist(), np.maximum(first_C, last_C).tolist(), strict=True))


def _row(host: Host, copy: Copy, start: int, ids: Sequence[int]) -> dict[str, Any]:
    """A row of the ledger: `ids` are the tokens that resulted."""
    return {
        "canary": copy.canary,
        "variation": copy.variation,
        "piece": copy.piece,
        "copy": copy.number if copy.variation < 0 else 0,
        "document": host.number,
        "start": start,
        "end": start + len(ids),
        "lead": 0,
        "survived": list(ids) == list(copy.ids),
        "ids": ids,
    }
