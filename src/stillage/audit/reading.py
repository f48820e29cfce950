"""A model's loss on the records beside that of guesses which read nothing.

A model with another tokenizer, broken weights or none that were trained scores members and
nonmembers alike.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import compress

import numpy as np

from stillage.audit.sight import CLEARLY
from stillage.audit.validity import UNUSABLE, Check, Value
from stillage.evaluate.quality import likelihood_results
from stillage.functional.readings import in_common
from stillage.types import Array, Record, Result, TokenStats


@dataclass(frozen=True, slots=True, kw_only=True)
class Losses:
    """Nats of each record's scored tokens by quarters of them, float64[n, 4]."""

    model_NQ: Array
    guesses: Mapping[str, Array]  # by what each guess goes by, in words
    tokens_NQ: Array  # how many there are in each quarter
    is_member: Array
    in_parts: bool = True  # it was trained in this run, maybe on a part of the responses alone


def unigram_nats(ids: Sequence[Array], is_member: Array, vocabulary: int) -> list[Array]:
    """Return nats of each record's tokens, float64[T], by nonmembers' frequencies.

    Frequencies of the even nonmembers score all the others, and those of the odd ones the even.
    Witten and Bell 1991: p(v) = (count(v) + D / V) / (N + D), with N tokens of D kinds seen and V
    in the vocabulary. A nonmember's own half is thus left out.
    """
    member = np.asarray(is_member, dtype=bool)
    is_even = np.zeros(member.size, dtype=bool)
    is_even[np.flatnonzero(~member)[::2]] = True
    tables: list[Array] = []
    for fitted in (is_even, ~member & ~is_even):
        known = np.concatenate([*compress(ids, fitted), np.zeros(0)]).astype(np.int64)
        count_V = np.bincount(known, minlength=vocabulary)
        kinds = max(1, int((count_V > 0).sum()))
        tables.append(np.log(count_V.sum() + kinds) - np.log(count_V + kinds / count_V.size))
    return [tables[int(even)][tokens] for tokens, even in zip(ids, is_even, strict=True)]


def in_quarters(values: Sequence[Array]) -> Array:
    """Sum each record's numbers over near-equal quarters of its tokens, float64[n, 4]."""
    return np.array(
        [[part.sum(dtype=np.float64) for part in np.array_split(one, 4)] for one in values]
    )


def reading_results(
    stats: Mapping[str, Mapping[str, TokenStats]],
    records: Sequence[Record],
    clusters: Array,
    *,
    level: float,
    base: Result,
) -> list[Result]:
    """Measure how well each model reads texts that it never met.

    Metric nonmember_bits_per_byte, lower is better. stats: model -> record id -> what it says of
    the response. records: the nonmembers; clusters int[R]: near-duplicates share a number. Over the
    bytes that all models read (quality.likelihood_results); nothing where they share none.
    """
    said = {model: [replies[record.id] for record in records] for model, replies in stats.items()}
    common = [in_common(readings) for readings in zip(*said.values(), strict=True)]
    if not any(readings is not None and len(readings[0].logp_T) for readings in common):
        return []
    texts = [record.response for record in records]
    rows = likelihood_results(said, texts, level=level, base=base, clusters=clusters)
    return [
        replace(row, metric="nonmember_bits_per_byte", dataset="nonmembers")
        for row in rows
        if row.metric == "bits_per_byte"
    ]


def check_reading(losses: Mapping[str, Losses]) -> Check:
    """Check that the models read these texts better than guesses without reading.

    A model reads where it saves 5 % of the best guess's loss on all of the responses, of members or
    of nonmembers: one that knows its members by heart may be worse on others. Of a model that was
    trained in this run (in_parts) a quarter of the responses is enough: it may have been taught the
    beginnings alone, and its folder is known to be its own. Fails where a model does nowhere.
    Records without a finite loss are left out (check_answers counts them).
    """
    values: dict[str, Value] = {}
    blind: list[str] = []
    for model, loss in sorted(losses.items()):
        finite = np.isfinite(loss.model_NQ).all(1)
        said, better = [], False
        for name, side in (("members", loss.is_member), ("nonmembers", ~loss.is_member)):
            tokens_Q, own_Q = (one[side & finite].sum(0) for one in (loss.tokens_NQ, loss.model_NQ))
            tokens = tokens_Q.sum()
            if not tokens:
                continue
            guesses = {how: nats_NQ[side & finite].sum(0) for how, nats_NQ in loss.guesses.items()}
            how, best_Q = min(guesses.items(), key=lambda guess: guess[1].sum())
            better |= bool(own_Q.sum() < (1 - CLEARLY) * best_Q.sum())
            if loss.in_parts:
                guess_Q = np.min(list(guesses.values()), axis=0)
                better |= bool(((own_Q < (1 - CLEARLY) * guess_Q) & (tokens_Q > 0)).any())
            guess = f"{how}: {best_Q.sum() / tokens:.2f}"
            said.append(f"{own_Q.sum() / tokens:.2f} on {name} ({guess})")
        values[f"{model}, nats per token"] = "; ".join(said) or "none"
        if said and not better:
            blind.append(f"{model} with {'; '.join(said)} nats per token")
    detail = (
        "Scores say nothing where a model reads the records no better than by guessing: "
        f"{', '.join(blind)}. Check the folder, its tokenizer and dtype, the layout "
        "(data.template), the prompts (data.columns) and whether the texts are those that it was "
        "taught, whole and with their case."
        if blind
        else "Every model reads the records better than by guessing."
    )
    return Check(name="reading", passed=not blind, fault=UNUSABLE, detail=detail, values=values)
