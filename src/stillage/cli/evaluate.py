"""`stillage evaluate MODEL --data SET ...`: a model on data sets; `evaluate CONFIG`: a run's models."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from stillage.errors import ConfigError
from stillage.experiment.team import is_helper
from stillage.run.config import ModelConfig
from stillage.run.parse import typed

if TYPE_CHECKING:
    from stillage.cli.progress import Board
    from stillage.evaluate.cells import Subject
    from stillage.evaluate.datasets import EvalSet
    from stillage.types import Result

USAGE = """usage: stillage evaluate MODEL --data SET ... [settings]      a model on data sets and seeds
       stillage evaluate [CONFIG.yaml | RUN | PRESET]          the models of a run: what it reads
                                                               is shown by `stillage run --help`

MODEL: a folder (safetensors, or a PEFT adapter), or a hub id with --revision"""
OURS = ("--data", "--seeds", "--decoding", "--published", "--revision", "--teacher")
PUBLISHED = (10, 20, 30, 40, 50)
"""The seeds of the published evaluation."""
COLUMNS = (
    ("rouge_l", "ROUGE-L", 3),
    ("exact_match", "exact", 3),
    ("bleu", "BLEU", 2),
    ("chrf", "chrF", 2),
    ("generated_tokens", "tokens", 1),
    ("gold_loss", "gold loss", 3),
)


@dataclass(frozen=True, kw_only=True)
class Matrix:
    """What `stillage evaluate MODEL` takes besides the model."""

    data: tuple[str, ...] = ()
    """Data sets: dolly, self-instruct, vicuna, sinst, uinst (NAME@COMMIT for another commit), files,
    or HUB_ID@COMMIT."""
    published: bool = False
    """The published evaluation (MiniLLM, DistiLLM): five sampled answers to every record (--decoding
    as_released, --seeds 10 20 30 40 50). Without it every record gets one greedy answer."""
    seeds: tuple[int, ...] = ()
    """One sampled answer to every record for each; naming some without a decoding means --decoding as_released."""
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


def help_text(verb: str, words: list[str]) -> str:
    """Return the settings of an evaluated model, or a section of those of a run."""
    from stillage.cli.help import ALL, around_help, plan_help, settings_help

    if around_help(words)[1] not in ("", ALL):
        return plan_help(verb, words)
    return settings_help(USAGE, Matrix(), words)


def main(verb: str, words: list[str]) -> int:
    """Evaluate a model, or the models of a config."""
    if not names_model(words):
        from stillage.cli.run import main as run

        return run(verb, words)
    if is_helper():
        return 0  # one process evaluates
    if words[0].startswith("-"):
        raise ConfigError(
            "Which model?", f"given: {' '.join(words)}", "stillage evaluate MODEL --data SET"
        )
    return evaluate(words[0], typed(Matrix, words[1:], f"stillage {verb} MODEL"))


def names_model(words: Sequence[str]) -> bool:
    """Is a model meant, rather than a config? A model's folder, or a flag that only the evaluation of a model has."""
    if any(word.split("=")[0] in OURS for word in words) or (words and words[0].endswith(".gguf")):
        return True
    return bool(words) and any(
        (Path(words[0]) / name).is_file() for name in ("config.json", "adapter_config.json")
    )


def evaluate(model: str, asked: Matrix) -> int:
    """Fill the matrix, then print its table."""
    if not asked.data:
        from stillage.evaluate.datasets import KNOWN

        fix = f"Give --data with names ({', '.join(KNOWN)}) or files."
        raise ConfigError("What shall the model answer?", "data: none", fix)
    asked = with_defaults(asked)
    from stillage.cli.progress import Board
    from stillage.evaluate.datasets import counts, open_set
    from stillage.run.stop import watch_signals

    with watch_signals(), Board() as board:
        sets = [
            open_set(
                word, columns=asked.columns, limit=asked.records, max_bad_lines=asked.max_bad_lines
            )
            for word in asked.data
        ]
        board.say(counts(sets))
        results, curves = fill(model, asked, sets, board)
    print("\n".join(table(results)))
    if curves:
        print("\n".join(["", *exposure_table(curves)]))
    print(f"results of every cell below {asked.out}: {asked.out / 'results.parquet'}")
    return 0


def with_defaults(asked: Matrix) -> Matrix:
    """The decodings and seeds that are meant where none are named: one greedy answer, or the published matrix."""
    samples = asked.published or bool(asked.seeds)
    decoding = asked.decoding or (("as_released",) if samples else ("greedy",))
    return replace(
        asked,
        decoding=decoding,
        seeds=asked.seeds or (PUBLISHED if asked.published else PUBLISHED[:1]),
    )


def fill(
    model: str, asked: Matrix, sets: Sequence[EvalSet], board: Board
) -> tuple[list[Result], list[Result]]:
    """The results of the matrix, and of the exposure bias where a teacher is given."""
    from stillage.data.chat_templates import chosen as layout_of
    from stillage.data.chat_templates import layout_note, own_layout
    from stillage.evaluate.cells import Reading
    from stillage.evaluate.matrix import collect, decoding_of, run_matrix
    from stillage.experiment.inputs import new_tokens, prompt_room
    from stillage.run.progress import watched

    say, doing = board.say, watched(partial(board.show, "evaluate"), model)
    subject = load_subject(ModelConfig(path=model, revision=asked.revision, dtype=asked.dtype))
    longest = new_tokens(subject.model, asked.max_new_tokens, usual=256)
    decodings = {name: decoding_of(name, longest) for name in asked.decoding}
    say(layout_note(asked.template, subject.tokenizer, model))
    room = prompt_room(subject.model, longest, asked.max_prompt_tokens)
    reading = Reading(template=layout_of(asked.template, subject.tokenizer), max_prompt_tokens=room)
    results = run_matrix(
        subject,
        sets,
        decodings,
        asked.seeds,
        reading=reading,
        out=asked.out,
        batch_tokens=asked.batch_tokens,
        say=say,
        doing=doing,
    )
    if not asked.teacher:
        return results, []
    from stillage.evaluate.exposure import exposure_cell
    from stillage.models.pair import check_same_tokenizer

    teacher = load_subject(
        ModelConfig(path=asked.teacher, revision=asked.teacher_revision, dtype=asked.dtype)
    )
    check_same_tokenizer(teacher.tokenizer, subject.tokenizer)
    theirs = teacher.tokenizer.chat_template
    if theirs and own_layout(theirs) != reading.template:
        say(
            f"warning: the teacher reads the student's layout, and its own is another ({own_layout(theirs)})"
        )
    curves: list[Result] = []
    for chosen in sets:
        say(f"{chosen.label}: exposure bias, {asked.rollouts} texts per prompt by each model")
        curves += exposure_cell(
            subject,
            teacher,
            chosen,
            reading=reading,
            out=asked.out,
            seed=asked.seeds[0],
            max_new_tokens=longest,
            rollouts=asked.rollouts,
            batch_tokens=asked.batch_tokens,
            say=say,
            doing=doing,
        )
    collect(asked.out)
    return results, curves


def load_subject(source: ModelConfig) -> Subject:
    """A model with its tokenizer, and the hash of both as they are in memory."""
    from stillage.data.tokenizer_hash import tokenizer_hash
    from stillage.evaluate.cells import Subject, digest
    from stillage.experiment.inputs import device_name, special_ids
    from stillage.models.identity import model_hash
    from stillage.models.load import load_model, load_tokenizer

    tokenizer = load_tokenizer(source.path, source.revision)
    model = load_model(source, vocab_size=len(tokenizer), seed=0, device=device_name())
    eos, pad = special_ids(tokenizer)
    here = Path(source.path)
    return Subject(
        name=source.path,
        key=digest([model_hash(model), tokenizer_hash(tokenizer, chat_template=False)]),
        model=model,
        tokenizer=tokenizer,
        eos_id=eos,
        pad_id=pad,
        where=str(here.resolve()) if here.is_dir() else f"{source.path}@{source.revision}",
    )


def table(results: Sequence[Result]) -> list[str]:
    """One line per data set and decoding: mean and 95 % interval over the seeds (over the records for one seed)."""
    rows = {
        (result.dataset, decoding_name(result.note)): {}
        for result in results
        if result.metric != "gold_loss"
    }
    for result in results:
        for (dataset, decoding), cells in rows.items():
            if dataset == result.dataset and (
                result.metric == "gold_loss" or decoding == decoding_name(result.note)
            ):
                cells.setdefault(result.metric, []).append(result)
    lines = [("data set", "decoding", "records", "seeds", *(title for _, title, _ in COLUMNS))]
    for (dataset, decoding), found in rows.items():
        tokens = found["generated_tokens"]
        over_seeds = next(
            (result for result in tokens if result.note.endswith("; over seeds")), None
        )
        shown = [cell(found.get(metric, []), digits) for metric, _, digits in COLUMNS]
        lines.append(
            (dataset, decoding, str(tokens[0].n), str(over_seeds.n if over_seeds else 1), *shown)
        )
    return [
        *aligned(lines),
        "intervals: 95 %, over seeds (Student t); over records for one seed, and for the gold loss",
    ]


def decoding_name(note: str) -> str:
    """The decoding that a result's note names: as_released, of decoding=as_released-1a2b3c4d; over seeds."""
    return note.partition("decoding=")[2].partition(";")[0].rpartition("-")[0]


def cell(results: Sequence[Result], digits: int) -> str:
    """Value and interval (+- where it is symmetric): over seeds where there are several, else over records."""
    chosen = next((result for result in results if result.note.endswith("; over seeds")), None)
    if chosen is None:
        chosen = results[0] if results else None
    if chosen is None or math.isnan(chosen.value):
        return "-"
    if math.isnan(chosen.low):
        return f"{chosen.value:.{digits}f}"
    above, below = chosen.high - chosen.value, chosen.value - chosen.low
    if abs(above - below) > 1e-9 * max(1.0, abs(chosen.value)):  # counted proportions, bootstraps
        return f"{chosen.value:.{digits}f} ({chosen.low:.{digits}f} to {chosen.high:.{digits}f})"
    return f"{chosen.value:.{digits}f} +- {above:.{digits}f}"


def exposure_table(curves: Sequence[Result]) -> list[str]:
    """Excess accumulated error by length, one line per data set and length."""
    head = ("data set", "tokens", "excess accumulated error, %", "95 % interval")
    rows = [
        (
            row.dataset,
            row.note.partition("tokens=")[2].partition(";")[0],
            f"{row.value:.2f}",
            f"{row.low:.2f} to {row.high:.2f}",
        )
        for row in curves
    ]
    return aligned([head, *rows])


def aligned(rows: Sequence[Sequence[str]]) -> list[str]:
    """Columns of equal width."""
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    return [
        "  ".join(text.ljust(width) for text, width in zip(row, widths, strict=True)).rstrip()
        for row in rows
    ]
