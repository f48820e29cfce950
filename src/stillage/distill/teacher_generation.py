"""The teacher answers every prompt once, before the first step.

texts.parquet: id, text, finished (ended by itself), cut (ended by stop_after), ids; texts.json:
what decided them, in the training's folder. While it goes on, texts/ holds the parts that are done,
so that a stopped run continues there.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from stillage.distill.batches import fingerprint, trained_tokens
from stillage.distill.generation import GenerationContext, TextWriter, write_texts
from stillage.distill.journal import Report
from stillage.distill.task import TrainingTask
from stillage.distill.texts import with_extras, with_response
from stillage.errors import Interrupted
from stillage.run.folder import (
    read_json,
    read_table,
    remove,
    sha256_file,
    sha256_text,
    write_json,
    write_table,
)
from stillage.run.progress import Done, unheard, watched
from stillage.types import Example, TeacherRollout

if TYPE_CHECKING:
    import pyarrow as pa
    from transformers import PreTrainedTokenizerFast

log = logging.getLogger("stillage")
PART = 256  # prompts between two looks at the clock and the stop signal


def teacher_texts(
    context: GenerationContext,
    task: TrainingTask,
    folder: Path,
    should_stop: Callable[[], bool],
    report: Report | None,
    identity: Mapping[str, Any],
) -> list[Example]:
    """Every prompt with the teacher's response, from the folder where they are there.

    identity: of the training, for what it says of teacher, tokenizer and rollout.
    """
    rollout, examples = task.rollout, task.examples
    assert isinstance(rollout, TeacherRollout)
    key = texts_key(context, examples, identity)
    table = kept_texts(folder, key)
    if table is None:
        table = write_parts(context, task, folder, key, should_stop, report)
    rows, cut = table.column("ids").to_pylist(), table.column("cut").to_pylist()
    ended = int(np.sum(table.column("finished").to_numpy(zero_copy_only=False)))
    log.info("the teacher answered %d prompts; %d answers ended by themselves", len(rows), ended)
    warn_of_whole_texts(table.column("text").to_pylist(), rollout.stop_after)
    texts = [
        with_response(example, np.array(ids, np.int32))
        for example, ids in zip(examples, rows, strict=True)
    ]
    return with_cuts(texts, cut) if rollout.stop_after else texts


def warn_of_whole_texts(texts: Sequence[str], stop_after: str) -> None:
    """Warn of answers that never come to the text that should end them."""
    whole = sum(stop_after not in text for text in texts)
    if whole:
        message = "%d of %d answers never come to %r: they are trained whole"
        log.warning(message, whole, len(texts), stop_after)


def with_cuts(texts: Sequence[Example], cut: Sequence[bool]) -> list[Example]:
    """The texts with their extra "cut": 1 at an end that the teacher did not write."""
    marked = []
    for text, is_cut in zip(texts, cut, strict=True):
        cut_T = np.zeros(trained_tokens(text), np.float32)
        cut_T[-1] = is_cut
        marked.append(with_extras(text, {"cut": cut_T}))
    return marked


def cut_after(
    ids: Sequence[int], marker: str, tokenizer: PreTrainedTokenizerFast, eos_id: int
) -> tuple[list[int], bool]:
    """The ids up to the first token that completes `marker`, and whether that cuts.

    The end of text is added; the ids are as they are where the marker never comes.
    """
    for length in range(1, len(ids) + 1):
        if marker in str(tokenizer.decode(list(ids[:length]), skip_special_tokens=True)):
            rest_ends = length < len(ids) and ids[length] == eos_id
            return [*ids[:length], eos_id], not rest_ends
    return list(ids), False


def texts_key(
    context: GenerationContext, examples: Sequence[Example], identity: Mapping[str, Any]
) -> str:
    """sha256 of all that decides the texts; the student by what it cannot read."""
    kept = {name: identity[name] for name in ("schema", "teacher", "tokenizer", "rollout", "seed")}
    limits = {"most_tokens": context.most_tokens, "known_ids": context.known_ids}
    decided = json.dumps({**kept, **limits, "eos": context.eos_id}, sort_keys=True)
    return sha256_text("\n".join([fingerprint(examples), context.precision.name, decided]))


def kept_texts(folder: Path, key: str) -> pa.Table | None:
    """All texts, where they were written before for the same key and are as written."""
    table, facts = folder / "texts.parquet", folder / "texts.json"
    if not (table.is_file() and facts.is_file()):
        return None
    return read_table(table) if read_json(facts) == text_facts(table, key) else None


def text_facts(table: Path, key: str) -> dict[str, str]:
    """What texts.json says of a table of texts."""
    return {"key": key, "sha256": sha256_file(table)}


def write_parts(
    context: GenerationContext,
    task: TrainingTask,
    folder: Path,
    key: str,
    should_stop: Callable[[], bool],
    report: Report | None,
) -> pa.Table:
    """Answer part after part; those of an earlier attempt are taken as they are."""
    import pyarrow as pa

    examples, accelerator = task.examples, context.accelerator
    heard = report if accelerator.is_main_process else None
    progress = (unheard if heard is None else watched(heard, "teacher"))("answering {} prompts")
    tables = []
    missing, written = len(examples), 0
    for start in range(0, len(examples), PART):
        part = folder / "texts" / f"{key[:16]}-{start:09d}.parquet"
        asked, known = examples[start : start + PART], part.is_file()
        accelerator.wait_for_everyone()  # nobody writes it before all have looked
        if known:
            tables.append(read_table(part))
            missing -= len(asked)
            continue
        if context.agreed(should_stop()):
            raise Interrupted(
                f"Stopped after the teacher's answers to {start} of {len(examples)} prompts, "
                "as asked.",
                f"texts: {part.parent}",
                "Run the same command again: it continues from there.",
            )
        done = progress_of_part(progress, start, len(examples), written / missing, 1 / missing)
        tables.append(write_part(context, task, asked, done))
        written += len(asked)
        if accelerator.is_main_process:
            part.parent.mkdir(parents=True, exist_ok=True)
            write_table(part, tables[-1])
    table = pa.concat_tables(tables)
    accelerator.wait_for_everyone()  # nobody removes the parts before all have read them
    if accelerator.is_main_process:
        write_table(folder / "texts.parquet", table)
        write_json(folder / "texts.json", text_facts(folder / "texts.parquet", key))
        remove(folder / "texts")
    accelerator.wait_for_everyone()
    return table


def progress_of_part(progress: Done, before: int, of: int, share: float, each: float) -> Done:
    """Progress within a part as that of the whole, whose `share` was done before."""
    return lambda rows, of_part, part: progress(before + rows, of, share + part * of_part * each)


def write_part(
    context: GenerationContext, task: TrainingTask, examples: Sequence[Example], progress: Done
) -> pa.Table:
    """The teacher's texts for people and for the training."""
    import pyarrow as pa

    rollout, tokenizer = task.rollout, task.tokenizer
    assert task.teacher is not None and isinstance(rollout, TeacherRollout)
    writer = TextWriter(model=task.teacher, decoding=rollout.decoding, beams=rollout.beams)
    names = [example.record_id for example in examples]
    rows = []
    for text in write_texts(context, writer, examples, names, progress):
        ids, cut = text.ids_T[text.response_T].tolist(), False
        if rollout.stop_after:
            ids, cut = cut_after(ids, rollout.stop_after, tokenizer, context.eos_id)
        words = str(tokenizer.decode(ids, skip_special_tokens=True))
        rows.append((text.record_id, words, ids[-1] == context.eos_id, cut, ids))
    kinds = (pa.string(), pa.string(), pa.bool_(), pa.bool_(), pa.list_(pa.int32()))
    schema = pa.schema(zip(("id", "text", "finished", "cut", "ids"), kinds, strict=True))
    return pa.table(list(zip(*rows, strict=True)), schema)
