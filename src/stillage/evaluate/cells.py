"""Where the answers of an evaluation lie: folders named by the content of all that decides what is in them.

cells/MODEL/SET-KEY/...: MODEL stands for weights, configuration, precision and tokenizer; KEY for the records, how they
were asked for, and the tokens that the model read. What had the same name before the content of a model's folder
changed stays where it is, marked by superseded.json, and is left out of the view.
"""

from __future__ import annotations

import hashlib
import json
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
from stillage.types import Array, Example, Record

if TYPE_CHECKING:
    import pyarrow as pa
    from transformers import PreTrainedModel, PreTrainedTokenizerFast

T = TypeVar("T")
SCHEMA = 4  # raise it when a cell's content changes: older cells then stand beside the new ones
SUPERSEDED = "superseded.json"
READ = ("template", "max_prompt_tokens")


@dataclass(frozen=True, slots=True, kw_only=True)
class Subject:
    """The model under evaluation.

    name: for tables; key: equal iff weights, configuration, precision and tokenizer (but for its chat template, which
    decides the tokens that are read) are equal; where: the folder or hub id it was loaded from.
    """

    name: str
    key: str
    model: PreTrainedModel
    tokenizer: PreTrainedTokenizerFast
    eos_id: int
    pad_id: int
    where: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Reading:
    """How a record is laid out for the model: part of the key of its data set."""

    template: str = "alpaca"
    max_prompt_tokens: int = 256


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """A data set as one model reads it: the prompts to continue, and the first references to score."""

    chosen: EvalSet
    reading: Reading
    prompts: tuple[Array, ...]  # ids, one for each record
    gold: tuple[Example, ...]  # of the records that have a reference

    @property
    def key(self) -> str:
        """64 hexadecimal digits: equal iff records, references, settings and the tokens that are read are equal."""
        tokens = hashlib.sha256()
        for prompt in self.prompts:
            tokens.update(
                len(prompt).to_bytes(8, "little") + np.ascontiguousarray(prompt, np.int32).tobytes()
            )
        for example in self.gold:
            tokens.update(len(example.ids_T).to_bytes(8, "little"))
            tokens.update(np.ascontiguousarray(example.ids_T, np.int32).tobytes())
            tokens.update(np.ascontiguousarray(example.response_T, bool).tobytes())
        return digest([SCHEMA, self.chosen.key, asdict(self.reading), tokens.hexdigest()])


def read_set(subject: Subject, chosen: EvalSet, reading: Reading) -> Asked:
    """A data set as the model reads it. Raises ModelError, DataError and ConfigError as `tokenise` does."""
    from stillage.models.pair import context_of

    room, limit = (
        reading.max_prompt_tokens,
        context_of(subject.model) or reading.max_prompt_tokens + 4096,
    )
    known = with_reference(chosen.records)
    return Asked(
        chosen=chosen,
        reading=reading,
        prompts=tuple(
            encode_prompts(
                chosen.records, subject.tokenizer, template=reading.template, max_prompt_tokens=room
            )
        ),
        gold=tuple(
            tokenise(
                [replace(record, response=references_of(record)[0]) for record in known],
                subject.tokenizer,
                template=reading.template,
                max_tokens=limit,
                max_prompt_tokens=room,
                what=chosen.label,
            ).examples
        ),
    )


def with_reference(records: Sequence[Record]) -> list[Record]:
    """The records that have an answer to compare with."""
    return [record for record in records if references_of(record)]


def set_folder(out: Path, subject: Subject, asked: Asked, say: Callable[[str], None]) -> Path:
    """The folder of a model's cells on one data set; what its name stands for is written beside them.

    Cells of the same question to what the model, its tokenizer or its template was before are marked as superseded.
    """
    chosen = asked.chosen
    slug = re.sub(r"[^A-Za-z0-9._-]+", "-", chosen.label)[:60].strip(".-") or "set"
    folder = out / "cells" / subject.key[:16] / f"{slug}-{asked.key[:16]}"
    dtype = str(subject.model.dtype).removeprefix("torch.")
    about = {
        "label": chosen.label,
        "records": len(chosen.records),
        "records_key": chosen.key,
        **asdict(asked.reading),
    }
    model = {"name": subject.name, "key": subject.key, "where": subject.where, "dtype": dtype}
    write_once(folder.parent / "model.json", model)
    write_once(
        folder / "set.json", {**about, "sources": dict(chosen.sources), "notes": dict(chosen.notes)}
    )
    remove(folder / SUPERSEDED)  # the model is again what it was then
    for other in earlier_answers(out, folder, model, about):
        write_json(other / SUPERSEDED, {"by": str(folder.relative_to(out))})
        say(
            f"{chosen.label}: {subject.name} is not what it was; its earlier answers stay in {other}, out of the tables"
        )
    return folder


def earlier_answers(
    out: Path, folder: Path, model: dict[str, Any], about: dict[str, Any]
) -> list[Path]:
    """Other folders, not yet marked, that hold answers to the same question by a model of the same place."""
    found = []
    for path in sorted((out / "cells").glob("*/*/set.json")):
        other = path.parent
        if other == folder or (other / SUPERSEDED).exists():
            continue
        theirs, asked = read_json(other.parent / "model.json"), read_json(path)
        place = (
            "where" if theirs.get("where") and model["where"] else "name"
        )  # earlier versions kept the name alone
        same_model = (
            theirs.get(place) == model[place]
            and theirs.get("dtype", model["dtype"]) == model["dtype"]
        )
        if same_model and all(asked.get(name) == about[name] for name in ("records_key", *READ)):
            found.append(other)
    return found


def write_once(path: Path, value: object) -> None:
    """Write JSON where there is none yet: the first name of a thing stays."""
    if not path.exists():
        write_json(path, value)


def groups_among(records: Sequence[Record]) -> dict[str, str]:
    """Record id -> name of its group, of the records that have near-duplicates, or their prompt, among these."""
    numbers = group_numbers(records, NEAR, 1.0, 1.0).tolist()
    sizes = Counter(numbers)
    return {
        one.id: str(number)
        for one, number in zip(records, numbers, strict=True)
        if sizes[number] > 1
    }


def groups_in(samples: pa.Table) -> dict[str, str]:
    """As groups_among, of the records that a cell's answers belong to."""
    columns = (samples[name].to_pylist() for name in ("id", "prompt", "reference"))
    return groups_among(
        [Record(id=i, prompt=p or "", response=r or "") for i, p, r in zip(*columns, strict=True)]
    )


def digest(value: object) -> str:
    """64 hexadecimal digits of a JSON value."""
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()


def kept(path: Path, read: Callable[[Path], T]) -> T:
    """What a file of ours holds. Raises CheckpointError where it is damaged: it is not overwritten."""
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
