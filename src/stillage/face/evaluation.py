"""How well a model answers: data sets, decodings and seeds, each cell done once."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Literal

from stillage.errors import ConfigError
from stillage.face.answering import check_template_name
from stillage.face.finished_run import frame
from stillage.face.memory import in_memory, json_lines, name_list
from stillage.face.python_names import with_python_names
from stillage.run.config import ModelConfig
from stillage.run.folder import write_text
from stillage.run.progress import Doing, unheard
from stillage.types import Result

if TYPE_CHECKING:
    import pandas as pd
    import pyarrow as pa
    from transformers import PreTrainedModel, PreTrainedTokenizerBase, PreTrainedTokenizerFast

    from stillage.evaluate.datasets import EvalSet
    from stillage.evaluate.matrix_cells import EvaluatedModel, PromptLayout
    from stillage.face.memory import Model, Records

LOG = logging.getLogger("stillage")
NONE: Mapping[str, str] = {}
PUBLISHED = (10, 20, 30, 40, 50)
"""The seeds of the published evaluation."""


@dataclass(frozen=True, kw_only=True)
class Matrix:
    """What `stillage evaluate MODEL` takes besides the model."""

    data: tuple[str, ...] = ()
    """Data sets by name, files, or HUB_ID@COMMIT. Names are dolly, self-instruct, vicuna, sinst and
    uinst (NAME@COMMIT for another commit)."""
    published: bool = False
    """The published evaluation: five sampled answers. As in MiniLLM and DistiLLM, to every record
    (--decoding as_released, --seeds 10 20 30 40 50). Without it every record gets one greedy
    answer."""
    seeds: tuple[int, ...] = ()
    """One sampled answer to every record for each. Naming some without a decoding means --decoding
    as_released."""
    decoding: tuple[Literal["paper", "as_released", "greedy", "greedy_no_repeat"], ...] = ()
    """paper: sampled at temperature 1. as_released: and no 6-gram twice. greedy, greedy_no_repeat:
    the likeliest token. Empty: greedy; with --published or --seeds as_released."""
    max_new_tokens: int = 0
    """Longest answer, in tokens; 0: 256, or half of the model's context where that is less."""
    max_prompt_tokens: int = 256
    """Longest prompt; a longer one loses its middle."""
    template: Literal["auto", "alpaca", "raw", "chat"] = "auto"
    """Layout of prompts in training: auto, alpaca, raw or chat. auto: as the model's folder says,
    its chat template where it has one, else alpaca."""
    records: int = 0
    """Use only the first so many records of each data set; 0: all."""
    columns: dict[str, str] = field(default_factory=dict)
    """Your column names, e.g. prompt question response answer."""
    max_bad_lines: int = 0
    """Broken lines to tolerate in each data set."""
    revision: str = ""
    """Commit of the model's hub id: 40 hexadecimal digits."""
    dtype: Literal["float32", "bfloat16"] = "float32"
    """Precision of the weights in memory."""
    teacher: str = ""
    """Measure exposure bias against this teacher (folder or hub id), with the first seed."""
    teacher_revision: str = ""
    """Commit of the teacher's hub id."""
    rollouts: int = 10
    """Texts per prompt and writer, for the exposure bias."""
    batch_tokens: int = 16384
    """Tokens in one forward pass, padding included; halved by itself when memory runs out."""
    out: Path = Path("runs/evaluate")
    """Where the cells are kept; finished ones are never done again, nor overwritten."""


def with_defaults(asked: Matrix) -> Matrix:
    """Fill in decodings and seeds: one greedy answer, or the published matrix."""
    samples = asked.published or bool(asked.seeds)
    decoding = asked.decoding or (("as_released",) if samples else ("greedy",))
    seeds = asked.seeds or (PUBLISHED if asked.published else PUBLISHED[:1])
    return replace(asked, decoding=decoding, seeds=seeds)


@dataclass(frozen=True, slots=True, kw_only=True)
class MatrixRow:
    """The results of one data set and decoding: those of each seed, then their means."""

    decoding: str
    seeds: int
    results: list[Result]

    def of(self, metric: str) -> Result | None:
        """Return a metric's result: over seeds where there are several, else over records."""
        known = [result for result in self.results if result.metric == metric]
        return next((one for one in known if one.over == "seeds"), known[0] if known else None)


@dataclass(frozen=True, slots=True, kw_only=True)
class Evaluation:
    """What a model's answers are worth: a row for each data set and decoding.

    curves: data set -> exposure bias at each length, where a teacher was given.
    """

    rows: list[MatrixRow]
    curves: dict[str, pa.Table]

    def results(self) -> pd.DataFrame:
        """Return every number with its interval, a row each."""
        import pyarrow as pa

        named = (replace(one, decoding=row.decoding) for row in self.rows for one in row.results)
        return frame(pa.Table.from_pylist(list(map(asdict, named))))

    def table(self) -> pd.DataFrame:
        """Return the mean of each metric, a row for each data set and decoding."""
        import pyarrow as pa

        rows: list[dict[str, object]] = []
        for row in self.rows:
            metrics = dict.fromkeys(result.metric for result in row.results)
            values = {mean.metric: mean.value for mean in map(row.of, metrics) if mean is not None}
            dataset = row.results[0].dataset.partition("#")[0]
            rows.append({"dataset": dataset, "decoding": row.decoding, **values})
        return frame(pa.Table.from_pylist(rows))


@with_python_names(template="data.template", columns="data.columns")
def evaluate_model(
    model: Model,
    data: Records | Sequence[str],
    *,
    tokenizer: PreTrainedTokenizerBase | None = None,
    revision: str = "",
    decoding: Sequence[str] = (),
    seeds: Sequence[int] = (),
    records: int = 0,
    max_new_tokens: int = 0,
    max_prompt_tokens: int = 256,
    template: str = "auto",
    columns: Mapping[str, str] = NONE,
    teacher: Model | None = None,
    batch_tokens: int = 16384,
    out: str | Path | None = None,
) -> Evaluation:
    """Let a model answer data sets, and compare its answers with theirs.

    Args:
        data: records, or names and files of data sets, as `stillage evaluate --data` takes them.
        tokenizer: of models in memory that come without one.
        revision: commit of the model's hub id.
        decoding: how answers are written: greedy, paper, ...; empty: greedy, or with seeds
            as_released.
        seeds: one sampled answer to every record for each.
        records: the first so many of each data set; 0: all.
        teacher: measure exposure bias against this model, with the first seed.
        out: where finished cells are kept, and never done again; None: nowhere.

    Raises ConfigError, DataError or ModelError, in three lines, for what you can mend.
    """
    from stillage.evaluate.matrix import decoding_of

    with TemporaryDirectory(prefix="stillage-") as temporary:
        asked = Matrix(
            data=named_sets(data, Path(temporary)),
            seeds=tuple(name_list(seeds)),
            decoding=tuple(name_list(decoding)),  # pyright: ignore[reportArgumentType] - below
            records=records,
            max_new_tokens=max_new_tokens,
            max_prompt_tokens=max_prompt_tokens,
            template=template,  # pyright: ignore[reportArgumentType] - checked below
            columns=dict(columns),
            batch_tokens=batch_tokens,
            out=Path(out or temporary) / "cells",
        )
        for name in asked.decoding:
            decoding_of(name)
        check_template_name(template)
        sets = open_sets(asked)
        load = None if teacher is None else partial(given_subject, "teacher", teacher, tokenizer)
        subject = given_subject("model", model, tokenizer, revision)
        return fill_matrix(subject, asked, sets, load_teacher=load)


def named_sets(data: Records | Sequence[str], folder: Path) -> tuple[str, ...]:
    """Name the data sets that are given; rows in memory become a file in the folder."""
    if isinstance(data, (str, Path)):
        return (str(data),)
    rows = list(data) if data is not None else []
    if rows and all(isinstance(row, (str, Path)) for row in rows):
        return tuple(map(str, rows))
    write_text(folder / "data.jsonl", json_lines("data", rows))
    return (str(folder / "data.jsonl"),)


def open_sets(asked: Matrix) -> list[EvalSet]:
    """Read the data sets. ConfigError for none, DataError for one that cannot be read."""
    from stillage.evaluate.datasets import KNOWN, open_set

    if not asked.data:
        fix = f"Give --data with names ({', '.join(KNOWN)}) or files."
        raise ConfigError("What shall the model answer?", "data: none", fix)
    return [
        open_set(
            word, columns=asked.columns, limit=asked.records, max_bad_lines=asked.max_bad_lines
        )
        for word in asked.data
    ]


def fill_matrix(
    subject: EvaluatedModel,
    asked: Matrix,
    sets: Sequence[EvalSet],
    *,
    load_teacher: Callable[[], EvaluatedModel] | None = None,
    say: Callable[[str], None] = LOG.info,
    doing: Doing = unheard,
) -> Evaluation:
    """Fill the matrix; with a teacher also the exposure bias of each data set."""
    from stillage.data.chat_templates import chosen_template, layout_note
    from stillage.evaluate.exposure_bias import ExposurePlan, exposure_cell
    from stillage.evaluate.matrix import collect, decoding_of, run_matrix
    from stillage.evaluate.matrix_cells import MatrixTask, PromptLayout
    from stillage.models.limits import new_tokens, prompt_room

    asked = with_defaults(asked)
    longest = new_tokens(subject.model, asked.max_new_tokens, usual=256)
    decodings = {name: decoding_of(name, longest) for name in asked.decoding}
    say(layout_note(asked.template, subject.tokenizer, subject.name))
    layout = PromptLayout(
        template=chosen_template(asked.template, subject.tokenizer),
        max_prompt_tokens=prompt_room(subject.model, longest, asked.max_prompt_tokens),
    )
    task = MatrixTask(
        subject=subject,
        layout=layout,
        out=asked.out,
        batch_tokens=asked.batch_tokens,
        say=say,
        doing=doing,
    )
    plan = ExposurePlan(
        max_new_tokens=longest, rollouts=asked.rollouts, batch_tokens=asked.batch_tokens
    )
    rows = [
        MatrixRow(
            decoding=name,
            seeds=len(set(asked.seeds)) if decoding.sampling_temperature > 0 else 1,
            results=run_matrix(task, [chosen], {name: decoding}, asked.seeds),
        )
        for chosen in sets
        for name, decoding in decodings.items()
    ]
    curves: dict[str, pa.Table] = {}
    if load_teacher is not None:
        check_teacher(subject, teacher := load_teacher(), layout, say)
        for chosen in sets:
            say(f"{chosen.label}: exposure bias, {asked.rollouts} texts per prompt by each model")
            curves[chosen.label] = exposure_cell(
                task, teacher, chosen, seed=asked.seeds[0], plan=plan
            )
        collect(asked.out)
    return Evaluation(rows=rows, curves=curves)


def check_teacher(
    subject: EvaluatedModel,
    teacher: EvaluatedModel,
    layout: PromptLayout,
    say: Callable[[str], None],
) -> None:
    """Refuse a teacher with another tokenizer; say where its own layout is another."""
    from stillage.data.chat_templates import own_layout
    from stillage.models.pair import check_same_tokenizer

    check_same_tokenizer(teacher.tokenizer, subject.tokenizer)
    theirs = teacher.tokenizer.chat_template
    if theirs and (own := own_layout(theirs)) != layout.template:
        say(f"warning: the teacher reads the student's layout, and its own is another ({own})")


def given_subject(
    name: str, model: Model, tokenizer: PreTrainedTokenizerBase | None, revision: str = ""
) -> EvaluatedModel:
    """Load the model of a folder or hub id, or take the one in memory as it is."""
    if isinstance(model, (str, Path)):
        return load_subject(ModelConfig(path=str(model), revision=revision))
    return make_subject(name, *in_memory(name, model, tokenizer))


def load_subject(source: ModelConfig) -> EvaluatedModel:
    """Load a model with its tokenizer, and the hash of both as they are in memory."""
    from stillage.models.load import load_on_device, load_tokenizer

    tokenizer = load_tokenizer(source.path, source.revision)
    model = load_on_device(source, tokenizer)
    here = Path(source.path)
    where = str(here.resolve()) if here.is_dir() else f"{source.path}@{source.revision}"
    return make_subject(source.path, model, tokenizer, where)


def make_subject(
    name: str, model: PreTrainedModel, tokenizer: PreTrainedTokenizerFast, where: str = ""
) -> EvaluatedModel:
    """Describe a loaded model. where: the folder or hub id; empty: it was in memory."""
    from stillage.corpus.tokenizers import tokenizer_hash
    from stillage.evaluate.matrix_cells import EvaluatedModel, digest
    from stillage.models.identity import model_hash
    from stillage.models.limits import special_ids

    eos, pad = special_ids(tokenizer)
    return EvaluatedModel(
        name=name,
        key=digest([model_hash(model), tokenizer_hash(tokenizer, chat_template=False)]),
        model=model,
        tokenizer=tokenizer,
        eos_id=eos,
        pad_id=pad,
        where=where,
    )
