"""Where answers lie: folders named by the content of all that decides them.

cells/MODEL/SET-KEY/...: MODEL stands for weights, configuration, precision and tokenizer; KEY for
the records, how they were asked for, and the tokens that the model read. What had the same name
before the content of a model's folder changed stays where it is, marked by superseded.json, and is
left out of the view.
"""

from __future__ import annotations

import hashlib
import json
import logging
import re
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np

from stillage.data.grouping import NEAR, group_numbers
from stillage.data.tokenise import encode_prompts, tokenise
from stillage.errors import CheckpointError
from stillage.evaluate.datasets import EvalSet
from stillage.evaluate.quality import references_of
from stillage.run.folder import read_json, remove, write_json
from stillage.run.progress import Doing, unheard
from stillage.types import Array, Example, Record

if TYPE_CHECKING:
    import pyarrow as pa
    from transformers import PreTrainedModel, PreTrainedTokenizerFast

T = TypeVar("T")
log = logging.getLogger("stillage")
SCHEMA = 4  # raise it when a cell's content changes: older cells then stand beside the new ones
SUPERSEDED = "superseded.json"
READ = ("template", "max_prompt_tokens")


@dataclass(frozen=True, slots=True, kw_only=True)
class EvaluatedModel:
    """The model under evaluation.

    name: for tables; key: equal iff weights, configuration, precision and tokenizer (but for its
    chat template, which decides the tokens that are read) are equal; where: the folder or hub id.
    """

    name: str
    key: str
    model: PreTrainedModel
    tokenizer: PreTrainedTokenizerFast
    eos_id: int
    pad_id: int
    where: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class PromptLayout:
    """How a record is laid out for the model: part of the key of its data set."""

    template: str = "alpaca"
    max_prompt_tokens: int = 256


@dataclass(frozen=True, slots=True, kw_only=True)
class EncodedSet:
    """A data set as one model reads it: prompts to continue, references to score."""

    chosen: EvalSet
    layout: PromptLayout
    prompts: tuple[Array, ...]  # ids, one for each record
    gold: tuple[Example, ...]  # of the records that have a reference

    @property
    def key(self) -> str:
        """64 hexadecimal digits of records, references, layout and tokens."""
        tokens = hashlib.sha256()
        for prompt in self.prompts:
            update_with_ids(tokens.update, prompt)
        for example in self.gold:
            update_with_ids(tokens.update, example.ids_T)
            tokens.update(np.ascontiguousarray(example.response_T, bool).tobytes())
        return digest([SCHEMA, self.chosen.key, asdict(self.layout), tokens.hexdigest()])


@dataclass(frozen=True, slots=True, kw_only=True)
class MatrixTask:
    """One model's part of the matrix: how it reads, where its answers lie, who hears."""

    subject: EvaluatedModel
    layout: PromptLayout
    out: Path
    batch_tokens: int = 16384
    say: Callable[[str], None] = log.info
    doing: Doing = unheard


def update_with_ids(update: Callable[[bytes], None], ids_T: Array) -> None:
    """Add a row of token ids to a hash by its `update`, its length first."""
    update(len(ids_T).to_bytes(8, "little"))
    update(np.ascontiguousarray(ids_T, np.int32).tobytes())


def encode_set(subject: EvaluatedModel, chosen: EvalSet, layout: PromptLayout) -> EncodedSet:
    """Lay out and tokenise a data set as the model reads it; errors as `tokenise`."""
    from stillage.models.limits import context_of

    room, template = layout.max_prompt_tokens, layout.template
    known = with_reference(chosen.records)
    prompts = encode_prompts(
        chosen.records, subject.tokenizer, template=template, max_prompt_tokens=room
    )
    gold = tokenise(
        [replace(record, response=references_of(record)[0]) for record in known],
        subject.tokenizer,
        template=template,
        max_tokens=context_of(subject.model) or room + 4096,
        max_prompt_tokens=room,
        what=chosen.label,
    )
    return EncodedSet(
        chosen=chosen, layout=layout, prompts=tuple(prompts), gold=tuple(gold.examples)
    )


def with_reference(records: Sequence[Record]) -> list[Record]:
    """Choose the records that have an answer to compare with."""
    return [record for record in records if references_of(record)]


def set_folder(task: MatrixTask, encoded: EncodedSet) -> Path:
    """Name the folder of a model's cells on one data set; say beside them what it is.

    Answers to the same question before the model, tokenizer or template changed are marked
    superseded.
    """
    subject, chosen, out = task.subject, encoded.chosen, task.out
    slug = re.sub(r"[^A-Za-z0-9._-]+", "-", chosen.label)[:60].strip(".-") or "set"
    folder = out / "cells" / subject.key[:16] / f"{slug}-{encoded.key[:16]}"
    about = {
        "label": chosen.label,
        "records": len(chosen.records),
        "records_key": chosen.key,
        **asdict(encoded.layout),
    }
    model = {
        "name": subject.name,
        "key": subject.key,
        "where": subject.where,
        "dtype": str(subject.model.dtype).removeprefix("torch."),
    }
    sources = {"sources": dict(chosen.sources), "notes": dict(chosen.notes)}
    write_once(folder.parent / "model.json", model)
    write_once(folder / "set.json", about | sources)
    remove(folder / SUPERSEDED)  # the model is again what it was then
    for other in earlier_answers(out, folder, model, about):
        write_json(other / SUPERSEDED, {"by": str(folder.relative_to(out))})
        task.say(
            f"{chosen.label}: {subject.name} is not what it was; its earlier answers stay in "
            f"{other}, out of the tables"
        )
    return folder


def earlier_answers(
    out: Path, folder: Path, model: dict[str, Any], about: dict[str, Any]
) -> list[Path]:
    """Find unmarked folders with answers to this question by a model of this place."""
    found = []
    for path in sorted((out / "cells").glob("*/*/set.json")):
        other = path.parent
        if other == folder or (other / SUPERSEDED).exists():
            continue
        theirs, asked = read_json(other.parent / "model.json"), read_json(path)
        # earlier versions kept the name alone
        place = "where" if theirs.get("where") and model["where"] else "name"
        same_model = theirs.get(place) == model[place]
        same_model &= theirs.get("dtype", model["dtype"]) == model["dtype"]
        if same_model and all(asked.get(name) == about[name] for name in ("records_key", *READ)):
            found.append(other)
    return found


def write_once(path: Path, value: object) -> None:
    """Write JSON where there is none yet: the first name of a thing stays."""
    if not path.exists():
        write_json(path, value)


def groups_among(records: Sequence[Record]) -> dict[str, str]:
    """Map record ids to their group of near-duplicates or one prompt, if not alone."""
    numbers = group_numbers(records, NEAR, 1.0, 1.0).tolist()
    sizes, pairs = Counter(numbers), zip(records, numbers, strict=True)
    return {one.id: str(number) for one, number in pairs if sizes[number] > 1}


def groups_in(samples: pa.Table) -> dict[str, str]:
    """Map record ids to their group, as groups_among does, from a cell's answers."""
    columns = (samples[name].to_pylist() for name in ("id", "prompt", "reference"))
    return groups_among(
        [Record(id=i, prompt=p or "", response=r or "") for i, p, r in zip(*columns, strict=True)]
    )


def digest(value: object) -> str:
    """Hash a JSON value, 64 hexadecimal digits."""
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()


def kept(path: Path, read: Callable[[Path], T]) -> T:
    """Read a file of ours; CheckpointError where it is damaged: it is not overwritten."""
    import pyarrow as pa

    try:
        return read(path)
    except (OSError, pa.ArrowException) as error:
        first = str(error).splitlines()[0]
        raise CheckpointError(
            "A finished part of the evaluation is damaged.",
            f"{path}: {first}",
            "Delete this file and run the same command again: only this part is done anew.",
        ) from error
