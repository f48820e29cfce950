"""Cached scores: found for the same question alone, and never given for another one."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pyarrow as pa
import pytest

from stillage.models.score_cache import (
    COLUMNS,
    cache_file,
    read_rows,
    read_stats,
    stats_of,
    write_rows,
)
from stillage.types import Example, TokenStats


def examples() -> list[Example]:
    rng, rows = np.random.default_rng(2), []
    for length in (5, 3, 9):
        ids_T = rng.integers(0, 50, length).astype(np.int32)
        rows.append(Example(record_id="", ids_T=ids_T, response_T=np.arange(length) >= 2))
    return rows


def columns_of(rows: list[Example]) -> list[list[np.ndarray]]:
    """Made-up statistics of each example's scored tokens, with a NaN among them."""
    rng, result = np.random.default_rng(3), list[list[np.ndarray]]()
    for name, kind in COLUMNS.items():
        values = [rng.integers(0, 2, int(row.response_T.sum())) for row in rows]
        result.append([one.astype(kind.value_type.to_pandas_dtype()) for one in values])
        if name == "ids_T":
            result[-1] = [row.ids_T[row.response_T] for row in rows]
    result[1][0][0] = np.nan
    return result


def stats_rows(columns: list[list[np.ndarray]]) -> list[TokenStats]:
    """The statistics of each example, of the columns in their order."""
    return list(map(stats_of, zip(*columns, strict=True)))


def test_what_is_written_is_read_back_to_the_bit(tmp_path: Path) -> None:
    rows, file = examples(), cache_file(tmp_path, "model", examples())
    columns = columns_of(rows)
    write_rows(file, COLUMNS, stats_rows(columns))
    found = read_stats(file, rows)
    assert found is not None
    for name, column in zip(COLUMNS, columns, strict=True):
        for stats, values in zip(found, column, strict=True):
            own = getattr(stats, name)
            assert own.dtype == values.dtype
            np.testing.assert_array_equal(own, values)


def test_the_name_depends_on_model_tokens_and_what_is_scored(tmp_path: Path) -> None:
    rows = examples()
    whole = dataclasses.replace(rows[0], response_T=np.arange(5) >= 1)
    asked = [
        ("m", rows),
        ("n", rows),
        ("m", rows[:2]),
        ("m", rows[::-1]),
        ("m", [whole, *rows[1:]]),
    ]
    assert len({cache_file(tmp_path, key, some) for key, some in asked}) == len(asked)
    assert cache_file(tmp_path, "m", rows) == cache_file(tmp_path, "m", examples())


def test_scores_of_other_records_are_not_given(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    rows, file = examples(), tmp_path / "scores.parquet"
    write_rows(file, COLUMNS, stats_rows(columns_of(rows)))
    assert read_stats(file, rows) is not None
    assert read_stats(file, rows[:2]) is None and read_stats(file, rows[::-1]) is None
    assert "of other records" in caplog.text


@pytest.mark.parametrize("how", ["missing", "copied", "damaged", "other columns"])
def test_columns_are_read_where_they_are_whole_and_ones_own(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, how: str
) -> None:
    file, names = tmp_path / "a.parquet", ("x", "y")
    rows = [SimpleNamespace(x=1.0, y="p"), SimpleNamespace(x=2.0, y="q")]
    write_rows(file, {"x": pa.float64(), "y": pa.string()}, rows)
    assert read_rows(file, names, "numbers") == [{"x": 1.0, "y": "p"}, {"x": 2.0, "y": "q"}]
    if how == "missing":
        file.unlink()
    elif how == "copied":
        file = file.rename(tmp_path / "b.parquet")
    elif how == "damaged":
        file.write_bytes(file.read_bytes()[:20])
    else:
        names = ("x", "z")
    assert read_rows(file, names, "numbers") is None
    said = {"missing": "", "copied": "cached numbers b.parquet were made for another model"}
    assert said.get(how, "cached numbers a.parquet are damaged") in caplog.text
    assert bool(caplog.text) == (how != "missing")


def test_no_examples_have_no_scores(tmp_path: Path) -> None:
    file = cache_file(tmp_path, "m", [])
    write_rows(file, COLUMNS, [])
    assert read_stats(file, []) == []
