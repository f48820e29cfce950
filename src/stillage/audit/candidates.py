"""A planted secret beside those that might have stood in its place, scored alike.

The score is the log-probability of everything from the value to the end of the response, as a SUM
over tokens: whatever tokens the candidates are split into, that is log q(response with this value |
prompt) up to a constant that all candidates of a record share, since the tokens before the first
difference are the same. A mean per token would favour values of many easy tokens, and the value's
tokens alone a value that begins another (12 of 123), or one whose last character the tokenizer
joins to what follows. Carlini et al. 2019, arXiv:1802.08232, section 4.2, score the whole text too.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import chain, compress, pairwise

import numpy as np

from stillage.audit.extraction import locate, values_of
from stillage.audit.queries import ScoringModel, scored_tokens
from stillage.corpus.tokenizers import end_id
from stillage.errors import DataError
from stillage.rng import generator
from stillage.run.progress import unheard
from stillage.types import Array, Example, Record

CUT_OFF = "longer than the model's context or data.max_tokens"
AT_ONCE = 16
"""Canaries whose candidates are held in memory together."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Canary:
    """A record with its secret, and values that nonmembers have there, repeats too."""

    record: Record
    part: str
    value: str
    references: tuple[str, ...]
    reference_ids: tuple[str, ...]  # the nonmembers that they are the values of


def draw_canaries(
    records: Sequence[Record],
    parts: Sequence[str],
    nonmembers: Sequence[Record],
    column: str,
    count: int,
    seed: int,
) -> list[Canary]:
    """Return each record as a canary, with `count` other nonmembers' values drawn.

    Where there are fewer nonmembers, all but one serve each canary. A reference that equals the
    value stays: it is a tie. DataError with fewer than two nonmembers; errors as values_of.
    """
    if len(nonmembers) < 2:
        raise DataError(
            "A secret cannot be ranked without others that might have been planted.",
            f"nonmembers: {len(nonmembers)}",
            "Give at least two nonmembers, better as many as audit.exposure_candidates.",
        )
    ordered = sorted(nonmembers, key=lambda record: record.id)
    value_of = {
        other.id: own for other, own in zip(ordered, values_of(ordered, column), strict=True)
    }
    canaries = []
    for record, part, value in zip(records, parts, values_of(records, column), strict=True):
        others = [id_ for id_ in value_of if id_ != record.id]
        drawn = generator(seed, "exposure", record.id).permutation(len(others))
        ids = tuple(others[index] for index in drawn[: min(count, len(ordered) - 1)])
        references = tuple(value_of[id_] for id_ in ids)
        canaries.append(
            Canary(record=record, part=part, value=value, references=references, reference_ids=ids)
        )
    return canaries


def in_place(record: Record, value: str, other: str) -> Record:
    """The record with another value where its own stands last in the response."""
    start, end = locate(value, record.response)
    return replace(record, response=record.response[:start] + other + record.response[end:])


def from_first_difference(examples: Sequence[Example]) -> list[Example]:
    """Return the examples, scored only after what all of them begin with."""
    shortest = min(len(example.ids_T) for example in examples)
    ids = np.stack([example.ids_T[:shortest] for example in examples])
    differs = np.flatnonzero((ids != ids[0]).any(axis=0))
    start = int(differs[0]) if differs.size else shortest
    return [
        replace(
            example,
            response_T=example.response_T & (np.arange(len(example.ids_T)) >= start),
            span=None,
        )
        for example in examples
    ]


def candidate_scores(
    asked: ScoringModel, canaries: Sequence[Canary]
) -> list[tuple[float, Array] | str]:
    """Return each canary's scores (true value, references float64[R]), or why not.

    In nats. Equal values of a canary are scored once, and so tie exactly. A response cut anywhere
    is not scored: what is missing would differ between candidates.
    """
    scores: list[tuple[float, Array] | str] = []
    progress, quiet = (
        asked.doing("ranking the secrets of {} records"),
        replace(asked, doing=unheard),
    )
    for start in range(0, len(canaries), AT_ONCE):
        scores += _scores_of_some(quiet, canaries[start : start + AT_ONCE])
        progress(len(scores), len(canaries), len(scores) / len(canaries))
    return scores


def _scores_of_some(
    asked: ScoringModel, canaries: Sequence[Canary]
) -> list[tuple[float, Array] | str]:
    """The scores of a few canaries, in one pass."""
    values = [tuple(dict.fromkeys([canary.value, *canary.references])) for canary in canaries]
    texts = [
        in_place(canary.record, canary.value, value)
        for canary, some in zip(canaries, values, strict=True)
        for value in some
    ]
    examples, end = asked.encode(texts), end_id(asked.tokenizer)
    starts = np.cumsum([0, *map(len, values)]).tolist()
    parts = [examples[first:last] for first, last in pairwise(starts)]
    whole = [all(len(one.ids_T) and one.ids_T[-1] == end for one in part) for part in parts]
    compared = chain.from_iterable(map(from_first_difference, compress(parts, whole)))
    stats = iter(scored_tokens(asked, list(compared)))
    scores: list[tuple[float, Array] | str] = []
    for canary, some, is_whole in zip(canaries, values, whole, strict=True):
        if not is_whole:
            scores.append(CUT_OFF)
            continue
        score_of = {value: float(np.sum(next(stats).logp_T, dtype=np.float64)) for value in some}
        references = np.array([score_of[value] for value in canary.references])
        bad = np.isnan([*score_of.values()]).any()
        scores.append("a score is NaN" if bad else (score_of[canary.value], references))
    return scores
