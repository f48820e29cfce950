"""`stillage evaluate MODEL --data SET ...`: how well a model answers, or a run's."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from stillage.cli.paths import aligned_lines, is_model
from stillage.errors import ConfigError
from stillage.experiment.team import is_helper
from stillage.run.config import ModelConfig
from stillage.run.parse import typed

if TYPE_CHECKING:
    import pyarrow as pa

    from stillage.cli.board import Board
    from stillage.evaluate.cells import Reading, Subject
    from stillage.evaluate.datasets import EvalSet
    from stillage.run.progress import Doing
    from stillage.types import Result

USAGE = """usage: stillage evaluate MODEL --data SET ... [settings]   a model on data sets and seeds
       stillage evaluate [CONFIG.yaml | RUN | PRESET]       the models of a run, by the settings
                                                            of `stillage run --help`

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


def help_text(verb: str, words: list[str]) -> str:
    """Return the settings of an evaluated model, or a section of those of a run."""
    from stillage.cli.help import ALL, around_help, plan_help, settings_help

    if around_help(words)[1] not in ("", ALL):
        return plan_help(verb, words)
    return settings_help(USAGE, Matrix(), words)


def main(verb: str, words: list[str]) -> int:
    """Evaluate a model, or the models of a config."""
    if not names_model(words):
        from stillage.cli.runs import main as run

        return run(verb, words)
    if is_helper():
        return 0  # one process evaluates
    if words[0].startswith("-"):
        fix = "stillage evaluate MODEL --data SET"
        raise ConfigError("Which model?", f"given: {' '.join(words)}", fix)
    return measure_model(words[0], typed(Matrix, words[1:], f"stillage {verb} MODEL"))


def names_model(words: Sequence[str]) -> bool:
    """Tell whether a model is meant, rather than a config.

    A model's folder, or a flag that only the evaluation of a model has.
    """
    if any(word.split("=")[0] in OURS for word in words):
        return True
    return bool(words) and (words[0].endswith(".gguf") or is_model(Path(words[0])))


def measure_model(model: str, asked: Matrix) -> int:
    """Fill the matrix, then print its table."""
    if not asked.data:
        from stillage.evaluate.datasets import KNOWN

        fix = f"Give --data with names ({', '.join(KNOWN)}) or files."
        raise ConfigError("What shall the model answer?", "data: none", fix)
    asked = with_defaults(asked)
    from stillage.cli.board import Board
    from stillage.evaluate.datasets import counts, open_set
    from stillage.run.stop import watch_signals

    with watch_signals(), Board() as board:
        most, bad = asked.records, asked.max_bad_lines
        sets = [
            open_set(word, columns=asked.columns, limit=most, max_bad_lines=bad)
            for word in asked.data
        ]
        board.say(counts(sets))
        rows, curves = fill_matrix(model, asked, sets, board)
    print("\n".join(matrix_lines(rows)))
    if curves:
        print("\n".join(["", *exposure_lines(curves)]))
    print(f"results of every cell below {asked.out}: {asked.out / 'results.parquet'}")
    return 0


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
        return known[self.seeds if len(known) > self.seeds > 1 else 0] if known else None


def fill_matrix(
    model: str, asked: Matrix, sets: Sequence[EvalSet], board: Board
) -> tuple[list[MatrixRow], dict[str, pa.Table]]:
    """Fill the matrix; with a teacher also a curve of exposure bias for each data set."""
    from stillage.data.chat_templates import chosen_template, layout_note
    from stillage.evaluate.cells import Reading
    from stillage.evaluate.matrix import decoding_of, run_matrix
    from stillage.experiment.inputs import new_tokens, prompt_room
    from stillage.run.progress import watched

    doing = watched(partial(board.show, "evaluate"), model)
    subject = load_subject(ModelConfig(path=model, revision=asked.revision, dtype=asked.dtype))
    longest = new_tokens(subject.model, asked.max_new_tokens, usual=256)
    decodings = {name: decoding_of(name, longest) for name in asked.decoding}
    board.say(layout_note(asked.template, subject.tokenizer, model))
    room = prompt_room(subject.model, longest, asked.max_prompt_tokens)
    template = chosen_template(asked.template, subject.tokenizer)
    reading = Reading(template=template, max_prompt_tokens=room)
    rows: list[MatrixRow] = []
    for chosen in sets:
        for name, decoding in decodings.items():
            results = run_matrix(
                subject,
                [chosen],
                {name: decoding},
                asked.seeds,
                reading=reading,
                out=asked.out,
                batch_tokens=asked.batch_tokens,
                say=board.say,
                doing=doing,
            )
            seeds = len(set(asked.seeds)) if decoding.sampling_temperature > 0 else 1
            rows.append(MatrixRow(decoding=name, seeds=seeds, results=results))
    if not asked.teacher:
        return rows, {}
    return rows, exposure_curves(subject, asked, sets, reading, longest, board, doing)


def exposure_curves(
    subject: Subject,
    asked: Matrix,
    sets: Sequence[EvalSet],
    reading: Reading,
    longest: int,
    board: Board,
    doing: Doing,
) -> dict[str, pa.Table]:
    """Measure the exposure bias against the teacher on every data set."""
    from stillage.data.chat_templates import own_layout
    from stillage.evaluate.exposure import ExposurePlan, exposure_cell
    from stillage.evaluate.matrix import collect
    from stillage.models.pair import check_same_tokenizer

    source = ModelConfig(path=asked.teacher, revision=asked.teacher_revision, dtype=asked.dtype)
    teacher = load_subject(source)
    check_same_tokenizer(teacher.tokenizer, subject.tokenizer)
    theirs = teacher.tokenizer.chat_template
    if theirs and own_layout(theirs) != reading.template:
        warning = "warning: the teacher reads the student's layout, and its own is another"
        board.say(f"{warning} ({own_layout(theirs)})")
    count, size = asked.rollouts, asked.batch_tokens
    plan = ExposurePlan(max_new_tokens=longest, rollouts=count, batch_tokens=size)
    curves: dict[str, pa.Table] = {}
    for chosen in sets:
        board.say(f"{chosen.label}: exposure bias, {asked.rollouts} texts per prompt by each model")
        curves[chosen.label] = exposure_cell(
            subject,
            teacher,
            chosen,
            reading=reading,
            out=asked.out,
            seed=asked.seeds[0],
            plan=plan,
            say=board.say,
            doing=doing,
        )
    collect(asked.out)
    return curves


def load_subject(source: ModelConfig) -> Subject:
    """Load a model with its tokenizer, and the hash of both as they are in memory."""
    from stillage.corpus.tokenizers import tokenizer_hash
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


def matrix_lines(rows: Sequence[MatrixRow]) -> list[str]:
    """Write a line per data set and decoding: means with 95 % intervals."""
    lines = [("data set", "decoding", "records", "seeds", *(title for _, title, _ in COLUMNS))]
    for row in rows:
        tokens = next(one for one in row.results if one.metric == "generated_tokens")
        shown = [value_in_words(row.of(metric), digits) for metric, _, digits in COLUMNS]
        lines.append((tokens.dataset, row.decoding, str(tokens.n), str(row.seeds), *shown))
    return [
        *aligned_lines(lines),
        "intervals: 95 %, over seeds (Student t); over records for one seed, and for the gold loss",
    ]


def value_in_words(result: Result | None, digits: int) -> str:
    """Write a value and its interval, +- where that is symmetric."""
    if result is None or math.isnan(result.value):
        return "-"
    if math.isnan(result.low):
        return f"{result.value:.{digits}f}"
    above, below = result.high - result.value, result.value - result.low
    if abs(above - below) > 1e-9 * max(1.0, abs(result.value)):  # counted proportions, bootstraps
        return f"{result.value:.{digits}f} ({result.low:.{digits}f} to {result.high:.{digits}f})"
    return f"{result.value:.{digits}f} +- {above:.{digits}f}"


def exposure_lines(curves: Mapping[str, pa.Table]) -> list[str]:
    """Write the excess accumulated error at lengths 1, 2, 4, ... and the last."""
    lines = [("data set", "tokens", "excess accumulated error, %", "95 % interval")]
    for label, curve in curves.items():
        for row in curve.to_pylist():
            length = row["tokens"]
            if length & (length - 1) == 0 or length == curve.num_rows:
                interval = f"{row['low']:.2f} to {row['high']:.2f}"
                lines.append((label, str(length), f"{row['excess_percent']:.2f}", interval))
    return aligned_lines(lines)
