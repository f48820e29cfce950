"""Discoverable extraction: greedy decoding recites what follows, word for word.

The model is given the record up to a point. Carlini et al. 2023, arXiv:2202.07646. No n-gram
blocking and no forced length: both forbid reciting. Members are the private records; nonmembers are
the floor, since part of any text can be guessed.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from stillage.data.grouping import cluster_numbers
from stillage.errors import DataError
from stillage.functional.binomial import Interval, clustered_proportion, independent_difference
from stillage.functional.multiplicity import max_statistic_test
from stillage.rng import generator
from stillage.run.results import measured_row
from stillage.types import Array, Example, Record, Result, TokenStats

if TYPE_CHECKING:
    import pyarrow as pa
    from transformers import PreTrainedTokenizerBase

LOG = logging.getLogger("stillage")
N_SHUFFLES = 1000
"""Shuffles behind the p of what is recited beyond nonmembers; the smallest p shown is 0.001."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """What should be recited: tokens [start, end) of a record's example.

    The model is given the tokens before start. Without suffix tokens there is nothing to recite:
    the record is asked of no model, and counted.
    """

    record_id: str
    part: str
    prefix_ids: Array
    suffix_ids: Array
    scored_from: int  # index of the first suffix token among the record's scored tokens
    text: str


def shared_prefix(left: Array, right: Array) -> int:
    """Length of the common beginning of two id sequences."""
    size = min(len(left), len(right))
    differs = np.flatnonzero(left[:size] != right[:size])
    return int(differs[0]) if len(differs) else size


def locate(value: str, response: str) -> tuple[int, int]:
    """Character range of the value's last place in the response; DataError if none."""
    start = response.rfind(value) if value else -1
    if start < 0:
        raise DataError(
            "The value to be extracted does not stand in the response.",
            f"value: {value!r}; response begins {response[:40]!r}",
            "Name a column whose value stands in the response with --audit.extract, or none.",
        )
    return start, start + len(value)


def values_of(records: Sequence[Record], column: str) -> list[str]:
    """Each record's value of a column; DataError: none, or not in the response."""
    missing = [record.id for record in records if column not in record.meta]
    if missing:
        known = sorted({name for record in records for name in record.meta})
        raise DataError(
            f"Records have no column {column!r}.",
            f"{len(missing)} records; columns: {known}",
            "Name one.",
        )
    for record in records:
        locate(record.meta[column], record.response)
    return [record.meta[column] for record in records]


def column_targets(
    records: Sequence[Record],
    parts: Sequence[str],
    examples: Sequence[Example],
    tokenizer: PreTrainedTokenizerBase,
    column: str,
    encode: Callable[[Sequence[Record]], Sequence[Example]],
) -> list[Target]:
    """Return one target per record: the tokens of a column's value in the response.

    encode tokenises records as in training; it is asked for the response cut before and after the
    value (`record.meta[column]`), and the tokens shared with the whole record mark the two ends, so
    that no tokenizer needs to be understood here. A value of which the limit on tokens leaves a
    part or nothing has an empty target: reciting a part is easier than reciting it.
    """
    spans = [
        locate(value, record.response)
        for value, record in zip(values_of(records, column), records, strict=True)
    ]
    cut_before, cut_after = (
        encode(
            [
                replace(record, response=record.response[: span[side]])
                for record, span in zip(records, spans, strict=True)
            ]
        )
        for side in (0, 1)
    )
    targets, stop = [], tokenizer.eos_token_id
    for part, example, before, after in zip(parts, examples, cut_before, cut_after, strict=True):
        start = end = len(example.ids_T)
        if len(after.ids_T) and after.ids_T[-1] == stop:  # encode ends what it does not cut
            start = max(shared_prefix(example.ids_T, before.ids_T), len(example.prompt_ids))
            end = max(shared_prefix(example.ids_T, after.ids_T), start + 1)
            end -= int(end > start + 1 and example.ids_T[end - 1] == stop)  # the value, no stop
        targets.append(_target(example, part, start, end, tokenizer))
    if lost := sum(not len(target.suffix_ids) for target in targets):
        LOG.warning(
            "the %s of %d of %d records is cut short: nobody is asked for it",
            column,
            lost,
            len(targets),
        )
    return targets


def first_token_targets(
    examples: Sequence[Example],
    parts: Sequence[str],
    tokenizer: PreTrainedTokenizerBase,
    most_tokens: int,
) -> list[Target]:
    """Return one target per record: the first response tokens, given the prompt.

    Padding never counts; short ones stay short.
    """
    starts = [len(example.prompt_ids) for example in examples]
    return [
        _target(example, part, start, start + most_tokens, tokenizer)
        for part, example, start in zip(parts, examples, starts, strict=True)
    ]


def _target(
    example: Example, part: str, start: int, end: int, tokenizer: PreTrainedTokenizerBase
) -> Target:
    """Return the target of the tokens [start, end), as far as the example goes."""
    suffix = example.ids_T[start:end]
    return Target(
        record_id=example.record_id,
        part=part,
        prefix_ids=example.ids_T[:start],
        suffix_ids=suffix,
        scored_from=start - len(example.prompt_ids),
        text=str(tokenizer.decode(suffix.tolist())),
    )


def teacher_forced_hits(target: Target, stats: TokenStats) -> Array:
    """bool[suffix]: each suffix token is the model's argmax after the true tokens.

    All true exactly when greedy decoding recites the suffix: both see the same tokens until a miss.
    """
    return stats.greedy_T[target.scored_from : target.scored_from + len(target.suffix_ids)]


def recites(said_T: Array, target: Target) -> bool:
    """Tell whether the whole target was said, from its first token on; False if empty."""
    return 0 < len(target.suffix_ids) == shared_prefix(said_T, target.suffix_ids)


def extraction_table(
    model: str,
    targets: Sequence[Target],
    recited: Sequence[Array],
    stats: Mapping[str, TokenStats],
    tokenizer: PreTrainedTokenizerBase,
) -> pa.Table:
    """Return a row per record: what a model was to recite, and what it did.

    recited: what greedy decoding wrote, ids per target. stats: record id -> the teacher-forced
    pass, checked against that in `agrees` (counted only, as other padding may decide a near-tie
    otherwise).
    """
    import pyarrow as pa

    rows = []
    for target, ids in zip(targets, recited, strict=True):
        exact, tokens = recites(ids, target), len(target.suffix_ids)
        forced = teacher_forced_hits(target, stats[target.record_id])
        rows.append(
            {
                "model": model,
                "id": target.record_id,
                "part": target.part,
                "target": target.text,
                "recited": str(tokenizer.decode(ids.tolist())),
                "exact": exact,
                "matched_prefix": shared_prefix(ids, target.suffix_ids),
                "tokens": tokens,
                "agrees": exact == (tokens > 0 and bool(forced.all())),
            }
        )
    return pa.Table.from_pylist(rows, schema=extraction_schema())


def extraction_schema() -> pa.Schema:
    """The columns of audit/extraction.parquet."""
    import pyarrow as pa

    texts = [(name, pa.string()) for name in ("model", "id", "part", "target", "recited")]
    counts = [(name, pa.int64()) for name in ("matched_prefix", "tokens")]
    return pa.schema([*texts, ("exact", pa.bool_()), *counts, ("agrees", pa.bool_())])


def extraction_results(table: pa.Table, *, level: float, base: Result) -> list[Result]:
    """Return the share of records recited exactly, of members and of nonmembers.

    Nonmembers are the floor; exact binomial intervals. Near-duplicates count once in the interval,
    where the table has the column `group`. Records without a target are left out and counted as
    missing; NaN where none has one.
    """
    results = []
    for (model, part), rows in by_model_and_part(table).items():
        asked = rows["tokens"] > 0
        lost = int((~asked).sum())
        row = replace(
            base,
            model=model,
            dataset=part,
            level=level,
            missing=lost,
            missing_reason="no target" if lost else "",
        )
        share, n = Interval(value=math.nan), int(asked.sum())
        if n:
            exact = rows["exact"][asked].astype(bool)
            share = clustered_proportion(exact, rows["cluster"][asked], level)
        results.append(measured_row(row, "extraction_rate", share, unit="share of records", n=n))
    return results


def recited_more_results(table: pa.Table, *, level: float, base: Result) -> list[Result]:
    """Return how much more a model recites of members than of nonmembers.

    extraction_beyond_nonmembers: the two shares' independent_difference, and p of the exact
    permutation of whole clusters between the sides, one-sided (max_statistic_test). No row where a
    side has nothing to recite.
    """
    sides = by_model_and_part(table)
    results = []
    for model in dict.fromkeys(name for name, _ in sides):
        pair = [sides[model, part] for part in ("private", "nonmembers") if (model, part) in sides]
        asked = [rows["tokens"] > 0 for rows in pair]
        if len(asked) < 2 or not all(one.any() for one in asked):
            continue
        exact, cluster = (
            [rows[name][one] for rows, one in zip(pair, asked, strict=True)]
            for name in ("exact", "cluster")
        )
        inside, outside = (
            clustered_proportion(one.astype(bool), number, level)
            for one, number in zip(exact, cluster, strict=True)
        )
        more, p = independent_difference(inside, outside), 1.0
        if more.value > 0:
            p = max_statistic_test(
                np.concatenate(exact).astype(np.float64),
                np.arange(sum(map(len, exact))) < len(exact[0]),
                generator(base.seed, "recited more", model),
                N_SHUFFLES,
                clusters=np.concatenate(cluster),
            ).p
        metric, unit, n = (
            "extraction_beyond_nonmembers",
            "difference of shares",
            sum(map(len, exact)),
        )
        row = replace(base, model=model, dataset="private", level=level, p=float(p))
        results.append(measured_row(row, metric, more, unit=unit, n=n))
    return results


def with_groups(table: pa.Table, group_of: Mapping[str, str]) -> pa.Table:
    """Add the column `group`: each record's near-duplicates by its id; "": alone."""
    import pyarrow as pa

    groups = [group_of.get(id_, "") for id_ in table.column("id").to_pylist()]
    return table.append_column("group", pa.array(groups, pa.string()))


def by_model_and_part(table: pa.Table) -> dict[tuple[str, str], dict[str, Array]]:
    """(model, part) -> column -> its values, in the table's order.

    Also `cluster`: equal for near-duplicates. Without a column `group` every record is alone.
    """
    columns = {
        name: table.column(name).to_numpy(zero_copy_only=False) for name in table.column_names
    }
    columns["cluster"] = np.arange(table.num_rows)
    if "group" in columns:
        columns["cluster"] = cluster_numbers(columns["id"].tolist(), columns["group"].tolist())
    parts: dict[tuple[str, str], dict[str, Array]] = {}
    for pair in dict.fromkeys(zip(columns["model"], columns["part"], strict=True)):
        chosen = (columns["model"] == pair[0]) & (columns["part"] == pair[1])
        parts[pair] = {name: values[chosen] for name, values in columns.items()}
    return parts
