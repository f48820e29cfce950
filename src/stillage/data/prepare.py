"""From the data section of a config to the split: synthetic people, one pool to draw from, or a file per role."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path

from stillage.data.coins import BERNOULLI, tossed
from stillage.data.columns import LENGTH
from stillage.data.groups import NEAR
from stillage.data.parallel import endings, read_parallel
from stillage.data.parts import assigned, check_choices
from stillage.data.records import Loaded, read_records
from stillage.data.split import Split, drawn, given
from stillage.data.staff_cards import COLUMNS as CARD_COLUMNS
from stillage.data.staff_cards import staff_cards
from stillage.data.synthetic import COLUMNS as PEOPLE_COLUMNS
from stillage.data.synthetic import people
from stillage.data.unanswered import with_answers
from stillage.errors import ConfigError
from stillage.run.config import DataConfig
from stillage.types import Record, Role

log = logging.getLogger("stillage")

SYNTHETIC = "synthetic"
EMBEDDED: Mapping[str, tuple[Callable[[int, int], dict[Role, list[Record]]], tuple[str, ...]]] = {
    SYNTHETIC: (people, PEOPLE_COLUMNS),
    "staff_cards": (staff_cards, CARD_COLUMNS),
}
"""Data sets made up here, by their name as data.source: what makes them of (seed, people), and the columns they have."""


def prepare(data: DataConfig, seed: int, *, keep: Sequence[str] = (), audits: bool = True) -> Split:
    """The split that a config asks for. keep: columns to take along besides `slice_by`, e.g. the extraction target.

    audits: refuse training records that teacher and student share.
    Raises ConfigError as `check_data`, DataError for input that cannot be used.
    """
    check_data(data, keep)
    if data.shares != DataConfig().shares and (data.files or is_synthetic(data)):
        why = "every role has its file" if data.files else "data.people says how many"
        log.warning("data.shares has no effect: %s", why)
    split = _split(data, seed, keep)
    split = tossed(split, seed) if data.inclusion == BERNOULLI else split
    split = assigned(split, data.train_on, audits=audits) if data.train_on else split
    return split if data.public_answers == 1 else with_answers(split, data.public_answers)


def check_data(data: DataConfig, keep: Sequence[str] = ()) -> None:
    """ConfigError for what can be refused before a record is read.

    That is: a pool and files at once, coins where files decide, a choice of training records that there is not, and columns
    that the people made up here do not have. Grouped by near-duplicates or by badge, each of these people is alone.
    """
    files = ", ".join(data.files)
    if data.files and data.inclusion == BERNOULLI:
        fix = "Give one pool as data.source, or leave out data.inclusion."
        raise ConfigError(
            "A split of your own has no coins to toss.",
            f"inclusion: {BERNOULLI}; files: {files}",
            fix,
        )
    if data.files and data.source != SYNTHETIC:
        values = f"source: {data.source}; files: {files}"
        raise ConfigError(
            "Both a pool and a file per role are named.",
            values,
            "Name one of `source` and `files`.",
        )
    check_choices(data.train_on, data.inclusion)
    if not is_synthetic(data):
        return
    columns = EMBEDDED[data.source][1]
    missing = [name for name in (*data.slice_by, *keep) if name not in (*columns, LENGTH)]
    missing += [name for name in grouping_column(data) if name not in columns]
    if missing:
        raise ConfigError(
            "The made-up people have no such column.",
            f"missing: {', '.join(missing)}; they have: {', '.join(columns)}",
            "Choose one of these in data.slice_by, data.group_by and audit.extract, or give records of yours (data.source).",
        )


def is_synthetic(data: DataConfig) -> bool:
    """Are the records people made up here?"""
    return data.source in EMBEDDED and not (data.files or data.parallel)


def grouping_column(data: DataConfig) -> tuple[str, ...]:
    """The column whose equal values stay in one role; none where near-duplicates do, or nothing."""
    return () if data.group_by in ("", NEAR) else (data.group_by,)


def _split(data: DataConfig, seed: int, keep: Sequence[str]) -> Split:
    """The split with as many records in each role as the shares say."""
    slice_by = tuple(dict.fromkeys(filter(None, (*data.slice_by, *keep, *grouping_column(data)))))
    if data.files:
        return given(
            data.files,
            read=reader(data, slice_by),
            read_public=reader(data, slice_by, need_response=False),
            seed=seed,
            group_by=data.group_by,
        )
    if is_synthetic(data):
        records = EMBEDDED[data.source][0](seed, data.people)
        name = "synthetic people" if data.source == SYNTHETIC else data.source.replace("_", " ")
        return Split(
            records_by_role=records, drawn_by_us=True, seed=seed, sources={name: f"seed {seed}"}
        )
    return drawn(reader(data, slice_by)(data.source), data.shares, seed, data.group_by)


def reader(
    data: DataConfig, slice_by: Sequence[str], *, need_response: bool = True
) -> Callable[[str | Path], Loaded]:
    """What makes records of an input: rows of a table, or the lines of parallel text.

    need_response: of a table, whether a row without an answer is a broken line, or a prompt alone.

    Raises ConfigError for endings that make no pair, and for settings that only a table has.
    """
    if not data.parallel:
        return partial(
            read_records,
            columns=data.columns,
            max_bad_lines=data.max_bad_lines,
            slice_by=slice_by,
            revision=data.revision,
            subset=data.subset,
            hub_split=data.hub_split,
            need_response=need_response,
        )
    ends = endings(data.parallel)
    columns = [*data.columns.values(), *(name for name in slice_by if name not in ("src", LENGTH))]
    if columns or (data.source == SYNTHETIC and not data.files):
        values = f"columns asked for: {', '.join(columns) or 'none'}; data.source: {data.source}"
        fix = "Give x as data.source, where x.src and x.tgt are; leave out columns, slice_by and audit.extract."
        raise ConfigError("Parallel text is two files of lines, without columns.", values, fix)
    return partial(
        read_parallel,
        template=data.parallel_prompt,
        source_suffix=ends[0],
        target_suffix=ends[1],
        max_bad_lines=data.max_bad_lines,
    )
