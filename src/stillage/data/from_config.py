"""From the data section of a config to the split."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path

from stillage.corpus.sources import HubPart
from stillage.data.coins import BERNOULLI, toss_coins
from stillage.data.columns import LENGTH, RecordColumns
from stillage.data.draw import draw_split, split_from_files
from stillage.data.grouping import NEAR
from stillage.data.parallel_text import read_parallel
from stillage.data.parts import assign_training, check_choices
from stillage.data.records import Loaded, read_records
from stillage.data.split import Split
from stillage.data.staff_cards import staff_cards
from stillage.data.synthetic import people
from stillage.data.unanswered import keep_answers
from stillage.errors import ConfigError
from stillage.run.config import DataConfig
from stillage.types import Part, Record

log = logging.getLogger("stillage")

SYNTHETIC = "synthetic"
EMBEDDED: Mapping[str, tuple[Callable[[int, int], dict[Part, list[Record]]], tuple[str, ...]]] = {
    SYNTHETIC: (people, ("badge",)),
    "staff_cards": (staff_cards, ("mentor", "badge")),
}
"""Data sets made up here: data.source -> what makes them of (seed, people), and their columns.

The columns are kept with each record, to slice by or to be recited."""


def split_from_config(
    data: DataConfig, seed: int, *, keep: Sequence[str] = (), audits: bool = True
) -> Split:
    """Make the split that a config asks for.

    keep: columns to take along besides `slice_by`, e.g. the extraction target. audits: refuse
    training records that teacher and student share. Raises what `check_data` and the readers do.
    """
    check_data(data, keep)
    if data.shares != DataConfig().shares and (data.files or is_synthetic(data)):
        why = "every part has its file" if data.files else "data.people says how many"
        log.warning("data.shares has no effect: %s", why)
    split = _split(data, seed, keep)
    if data.inclusion == BERNOULLI:
        split = toss_coins(split, seed)
    if data.train_on:
        split = assign_training(split, data.train_on, audits=audits)
    return split if data.public_answers == 1 else keep_answers(split, data.public_answers)


def check_data(data: DataConfig, keep: Sequence[str] = ()) -> None:
    """Refuse (ConfigError) what can be refused before a record is read.

    A pool and files at once, coins where files decide, a choice of training records that there is
    not, and columns that the made-up people do not have.
    """
    files = ", ".join(data.files)
    if data.files and data.inclusion == BERNOULLI:
        values = f"inclusion: {BERNOULLI}; files: {files}"
        fix = "Give one pool as data.source, or leave out data.inclusion."
        raise ConfigError("A split of your own has no coins to toss.", values, fix)
    if data.files and data.source != SYNTHETIC:
        values = f"source: {data.source}; files: {files}"
        fix = "Name one of `source` and `files`."
        raise ConfigError("Both a pool and a file per part are named.", values, fix)
    check_choices(data.train_on, data.inclusion)
    if not is_synthetic(data):
        return
    columns = EMBEDDED[data.source][1]
    missing = [name for name in (*data.slice_by, *keep) if name not in (*columns, LENGTH)]
    missing += [name for name in _grouping_column(data) if name not in columns]
    if missing:
        values = f"missing: {', '.join(missing)}; they have: {', '.join(columns)}"
        fix = "Choose one of these in data.slice_by, data.group_by and audit.extract, "
        fix += "or give records of yours (data.source)."
        raise ConfigError("The made-up people have no such column.", values, fix)


def is_synthetic(data: DataConfig) -> bool:
    """Whether the records are people made up here."""
    return data.source in EMBEDDED and not (data.files or data.parallel)


def _grouping_column(data: DataConfig) -> tuple[str, ...]:
    """The column whose equal values stay in one part, if any."""
    return () if data.group_by in ("", NEAR) else (data.group_by,)


def _split(data: DataConfig, seed: int, keep: Sequence[str]) -> Split:
    """The split with as many records in each part as the shares say."""
    named = (*data.slice_by, *keep, *_grouping_column(data))
    columns = tuple(dict.fromkeys(filter(None, named)))
    if data.files:
        read, read_public = _reader(data, columns), _reader(data, columns, need_response=False)
        readers = {part: read_public if part == "public" else read for part in data.files}
        return split_from_files(data.files, readers, seed=seed, group_by=data.group_by)
    if is_synthetic(data):
        records = EMBEDDED[data.source][0](seed, data.people)
        name = "synthetic people" if data.source == SYNTHETIC else data.source.replace("_", " ")
        sources = {name: f"seed {seed}"}
        return Split(records_by_part=records, drawn_by_us=True, seed=seed, sources=sources)
    return draw_split(_reader(data, columns)(data.source), data.shares, seed, data.group_by)


def _reader(
    data: DataConfig, columns: Sequence[str], *, need_response: bool = True
) -> Callable[[str | Path], Loaded]:
    """Choose what makes records of an input: of a table, or of parallel text.

    need_response: of a table, whether a row without an answer is a broken line, or a prompt alone.
    """
    if not data.parallel:
        keep = tuple(columns)
        wanted = RecordColumns(named=data.columns, keep=keep, need_response=need_response)
        hub = HubPart(revision=data.revision, subset=data.subset, split=data.hub_split)
        return partial(read_records, wanted=wanted, hub=hub, max_bad_lines=data.max_bad_lines)
    asked = [*data.columns.values(), *(name for name in columns if name not in ("src", LENGTH))]
    if asked or (data.source == SYNTHETIC and not data.files):
        values = f"columns asked for: {', '.join(asked) or 'none'}; data.source: {data.source}"
        fix = "Give x as data.source, where x.src and x.tgt are; "
        fix += "leave out columns, slice_by and audit.extract."
        raise ConfigError("Parallel text is two files of lines, without columns.", values, fix)
    return partial(
        read_parallel,
        endings=data.parallel,
        template=data.parallel_prompt,
        max_bad_lines=data.max_bad_lines,
    )
