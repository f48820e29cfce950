"""The teacher answers every prompt once, before the first step; the answers are kept in the training's folder.

texts.parquet: id, text, finished (ended by itself), cut (ended by stop_after), ids; texts.json: what decided them. While it
goes on, texts/ holds the parts that are done, so that a stopped run continues there.
"""

from __future__ import annotations

import hashlib
import json
import logging
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from stillage.distill.answer import Desk, answer
from stillage.distill.batches import canonical, fingerprint
from stillage.distill.journal import Report
from stillage.distill.processes import agreed
from stillage.distill.texts import answered, with_extras
from stillage.errors import Interrupted
from stillage.run.folder import read_json, read_table, remove, sha256_file, write_json, write_table
from stillage.run.progress import Done, unheard, watched
from stillage.types import Example, Rollout

if TYPE_CHECKING:
    import pyarrow as pa
    from transformers import PreTrainedModel, PreTrainedTokenizerFast

log = logging.getLogger("stillage")
PART = 256  # prompts between two looks at the clock and the stop signal


def answers_once(
    desk: Desk,
    teacher: PreTrainedModel,
    tokenizer: PreTrainedTokenizerFast,
    examples: Sequence[Example],
    rollout: Rollout,
    folder: Path,
    should_stop: Callable[[], bool],
    report: Report | None,
    *,
    about: Mapping[str, Any],
) -> list[Example]:
    """Every prompt with the teacher's response, from the folder where they are there; Interrupted when asked to stop.

    about: the identity of the training, for what it says of teacher, tokenizer and rollout.
    """
    ordered = canonical(examples)
    key = key_of(desk, ordered, about)
    if (table := finished(folder, key)) is None:
        table = write_parts(
            desk, teacher, tokenizer, ordered, rollout, folder, key, should_stop, report
        )
    rows, cut = table.column("ids").to_pylist(), table.column("cut").to_pylist()
    ended = int(np.sum(table.column("finished").to_numpy(zero_copy_only=False)))
    log.info("the teacher answered %d prompts; %d answers ended by themselves", len(rows), ended)
    say_whole(table.column("text").to_pylist(), rollout.stop_after)
    texts = [
        answered(example, np.array(ids, np.int32))
        for example, ids in zip(ordered, rows, strict=True)
    ]
    return with_cuts(texts, cut) if rollout.stop_after else texts


def say_whole(texts: Sequence[str], stop_after: str) -> None:
    """A warning where answers never come to the text that should end them: they are trained whole."""
    whole = sum(stop_after not in text for text in texts)
    if whole:
        log.warning(
            "%d of %d answers never come to %r: they are trained whole",
            whole,
            len(texts),
            stop_after,
        )


def with_cuts(texts: Sequence[Example], cut: Sequence[bool]) -> list[Example]:
    """The texts with their extra "cut": 1 at the end of text that stands for what the teacher went on to say."""
    found = []
    for text, is_cut in zip(texts, cut, strict=True):
        cut_T = np.zeros(int(text.response_T[1:].sum()), np.float32)
        cut_T[-1] = is_cut
        found.append(with_extras(text, {"cut": cut_T}))
    return found


def cut_after(
    ids: Sequence[int], marker: str, tokenizer: PreTrainedTokenizerFast, eos_id: int
) -> tuple[list[int], bool]:
    """The ids up to the first token that completes `marker`, and the end of text; as they are where it never comes."""
    for length in range(1, len(ids) + 1):
        if marker in str(tokenizer.decode(list(ids[:length]), skip_special_tokens=True)):
            rest_ends = length < len(ids) and ids[length] == eos_id
            return [*ids[:length], eos_id], not rest_ends
    return list(ids), False


def key_of(desk: Desk, examples: Sequence[Example], about: Mapping[str, Any]) -> str:
    """sha256 of all that decides the texts; the student only by what it could not read of them."""
    kept = {name: about[name] for name in ("schema", "teacher", "tokenizer", "rollout", "seed")}
    kept |= {"eos": desk.eos_id, "most_tokens": desk.most_tokens, "known_ids": desk.known_ids}
    parts = [fingerprint(examples), desk.precision.name, json.dumps(kept, sort_keys=True)]
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()


def finished(folder: Path, key: str) -> pa.Table | None:
    """All texts, where they were written before for the same key and are as written."""
    table, facts = folder / "texts.parquet", folder / "texts.json"
    if not (table.is_file() and facts.is_file()) or read_json(facts) != {
        "key": key,
        "sha256": sha256_file(table),
    }:
        return None
    return read_table(table)


def write_parts(
    desk: Desk,
    teacher: PreTrainedModel,
    tokenizer: PreTrainedTokenizerFast,
    examples: Sequence[Example],
    rollout: Rollout,
    folder: Path,
    key: str,
    should_stop: Callable[[], bool],
    report: Report | None,
) -> pa.Table:
    """Answer part after part; those of an earlier attempt are taken as they are."""
    import pyarrow as pa

    tables = []
    doing = (
        unheard
        if report is None or not desk.accelerator.is_main_process
        else watched(report, "teacher")
    )
    progress = doing("answering {} prompts")
    missing, written = len(examples), 0
    for start in range(0, len(examples), PART):
        part = folder / "texts" / f"{key[:16]}-{start:09d}.parquet"
        asked, known = examples[start : start + PART], part.is_file()
        desk.accelerator.wait_for_everyone()  # nobody writes it before all have looked
        if not known:
            if agreed(desk.accelerator, should_stop()):
                raise Interrupted(
                    f"Stopped after the teacher's answers to {start} of {len(examples)} prompts, as asked.",
                    f"texts: {part.parent}",
                    "Run the same command again: it continues from there.",
                )
            names = [example.record_id for example in asked]
            told = partial(part_of, progress, start, written, missing, len(examples))
            texts = answer(desk, teacher, asked, names, rollout, progress=told)
            written += len(asked)
            tables.append(table_of(texts, tokenizer, desk.eos_id, rollout.stop_after))
            if desk.accelerator.is_main_process:
                part.parent.mkdir(parents=True, exist_ok=True)
                write_table(part, tables[-1])
        else:
            tables.append(read_table(part))
            missing -= len(asked)
    table = pa.concat_tables(tables)
    desk.accelerator.wait_for_everyone()  # nobody removes the parts before all have read them
    if desk.accelerator.is_main_process:
        write_table(folder / "texts.parquet", table)
        write_json(
            folder / "texts.json", {"key": key, "sha256": sha256_file(folder / "texts.parquet")}
        )
        remove(folder / "texts")
    desk.accelerator.wait_for_everyone()
    return table


def part_of(
    progress: Done,
    before: int,
    written: int,
    missing: int,
    of: int,
    rows: int,
    of_part: int,
    share: float,
) -> None:
    """Progress within one part as that of the whole: `written` prompts of the `missing` ones were answered before it."""
    progress(before + rows, of, (written + share * of_part) / missing)


def table_of(
    texts: Sequence[Example], tokenizer: PreTrainedTokenizerFast, eos_id: int, stop_after: str
) -> pa.Table:
    """Texts for people and for the training."""
    import pyarrow as pa

    rows: list[list[int]] = [text.ids_T[text.response_T].tolist() for text in texts]
    cut = [False] * len(rows)
    if stop_after:
        ended = [cut_after(row, stop_after, tokenizer, eos_id) for row in rows]
        rows, cut = [row for row, _ in ended], [is_cut for _, is_cut in ended]
    return pa.table(
        {
            "id": pa.array([text.record_id for text in texts], pa.string()),
            "text": pa.array(
                [str(tokenizer.decode(row, skip_special_tokens=True)) for row in rows], pa.string()
            ),
            "finished": pa.array([row[-1] == eos_id for row in rows], pa.bool_()),
            "cut": pa.array(cut, pa.bool_()),
            "ids": pa.array(rows, pa.list_(pa.int32())),
        }
    )
