"""`stillage evaluate MODEL --data SET ...`: how well a model answers, or a run's."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from stillage.cli.paths import aligned_lines
from stillage.errors import ConfigError
from stillage.face.evaluation import Matrix, MatrixRow, fill_matrix, load_subject, open_sets
from stillage.models.source import is_model
from stillage.run.config import ModelConfig
from stillage.run.parse import typed
from stillage.run.team import is_helper

if TYPE_CHECKING:
    import pyarrow as pa

    from stillage.types import Result

USAGE = """usage: stillage evaluate MODEL --data SET ... [settings]   a model on data sets and seeds
       stillage evaluate [CONFIG.yaml | RUN | PRESET]       the models of a run, by the settings
                                                            of `stillage run --help`

MODEL: a folder (safetensors, or a PEFT adapter), or a hub id with --revision"""
OURS = ("--data", "--seeds", "--decoding", "--published", "--revision", "--teacher")
COLUMNS = (
    ("rouge_l", "ROUGE-L", 3),
    ("exact_match", "exact", 3),
    ("bleu", "BLEU", 2),
    ("chrf", "chrF", 2),
    ("generated_tokens", "tokens", 1),
    ("gold_loss", "gold loss", 3),
)


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
    """Tell whether a model is meant, by its folder or a flag that no config has."""
    if any(word.split("=")[0] in OURS for word in words):
        return True
    return bool(words) and (words[0].endswith(".gguf") or is_model(Path(words[0])))


def measure_model(model: str, asked: Matrix) -> int:
    """Fill the matrix, then print its table."""
    from stillage.cli.board import Board
    from stillage.evaluate.datasets import counts
    from stillage.run.progress import watched
    from stillage.run.stop import watch_signals

    ours = ModelConfig(path=model, revision=asked.revision, dtype=asked.dtype)
    theirs = replace(ours, path=asked.teacher, revision=asked.teacher_revision)
    with watch_signals(), Board() as board:
        sets = open_sets(asked)
        board.say(counts(sets))
        found = fill_matrix(
            load_subject(ours),
            asked,
            sets,
            load_teacher=partial(load_subject, theirs) if asked.teacher else None,
            say=board.say,
            doing=watched(partial(board.show, "evaluate"), model),
        )
    print("\n".join(matrix_lines(found.rows)))
    if found.curves:
        print("\n".join(["", *exposure_lines(found.curves)]))
    print(f"results of every cell below {asked.out}: {asked.out / 'results.parquet'}")
    return 0


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
