"""The table that `stillage evaluate MODEL` prints: one line per data set and decoding."""

from __future__ import annotations

from dataclasses import replace

import pyarrow as pa
import pytest

from stillage.cli.evaluate import exposure_lines, matrix_lines, value_in_words
from stillage.face.evaluation import MatrixRow
from stillage.types import Result


def result(metric: str, value: float, *, seed: int = 0, n: int = 40) -> Result:
    return Result(
        run="r",
        stage="matrix",
        model="m",
        dataset="dev",
        metric=metric,
        value=value,
        low=value - 0.25,
        high=value + 0.25,
        seed=seed,
        n=n,
    )


def row(values: list[float], means: list[float]) -> MatrixRow:
    """The results of some seeds, then their mean over seeds, then that over records."""
    seeds = len(values)
    results = [result("gold_loss", 2.5)]
    for metric in ("rouge_l", "generated_tokens"):
        results += [result(metric, value, seed=k + 1) for k, value in enumerate(values)]
        results += [
            replace(result(metric, mean, n=n), over=over)
            for mean, n, over in zip(means, (seeds, 40), ("seeds", "records"), strict=False)
        ]
    return MatrixRow(decoding="paper", seeds=seeds, results=results)


@pytest.mark.parametrize(
    ("values", "means", "shown"),
    [
        ([0.5], [], 0.5),  # one seed: over its records
        ([0.25, 0.75], [0.5, 0.625], 0.5),  # several: over seeds, not over records
        ([0.0, 0.0, 0.75], [0.25], 0.25),  # a metric that is no mean over records
    ],
)
def test_a_metric_is_shown_over_seeds_where_there_are_several(
    values: list[float], means: list[float], shown: float
) -> None:
    one = row(values, means)
    found = one.of("rouge_l")
    assert found is not None and found.value == shown
    gold = one.of("gold_loss")
    assert gold is not None and gold.value == 2.5
    assert one.of("bleu") is None


def test_the_table_has_a_line_a_row_and_says_what_its_intervals_are() -> None:
    lines = matrix_lines([row([0.25, 0.75], [0.5, 0.625])])
    assert len(lines) == 3
    cells = lines[1].split()
    assert cells[:4] == ["dev", "paper", "40", "2"]
    assert "0.500 +- 0.250" in lines[1] and " -  " in lines[1] and "2.500 +- 0.250" in lines[1]
    assert lines[2].startswith("intervals: 95 %")


def test_a_value_shows_its_interval_as_it_is() -> None:
    nan = float("nan")
    skew = Result(run="", stage="", model="", metric="", value=0.5, low=0.25, high=0.625)
    bare = Result(run="", stage="", model="", metric="", value=0.5)
    missing = Result(run="", stage="", model="", metric="", value=nan)
    assert value_in_words(skew, 2) == "0.50 (0.25 to 0.62)"
    assert value_in_words(bare, 2) == "0.50"
    assert value_in_words(missing, 2) == value_in_words(None, 2) == "-"


def test_exposure_is_shown_at_growing_lengths_in_their_order() -> None:
    lengths = range(1, 13)
    curve = pa.table(
        {
            "tokens": list(lengths),
            "excess_percent": [float(n) for n in lengths],
            "low": [0.0] * 12,
            "high": [20.0] * 12,
        }
    )
    lines = exposure_lines({"dev": curve})
    assert [line.split()[1] for line in lines[1:]] == ["1", "2", "4", "8", "12"]
    assert lines[-1].split()[2:] == ["12.00", "0.00", "to", "20.00"]
