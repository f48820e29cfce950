"""Results as a table: fixed columns and order, and those that a sweep adds."""

from __future__ import annotations

import dataclasses
import math
from pathlib import Path

from stillage.run.folder import read_table
from stillage.run.results import FIELDS, read_results, write_results
from stillage.types import Result


def result(metric: str, value: float, **more: object) -> Result:
    return Result(run="r", stage="audit", model="student", metric=metric, value=value, **more)


def test_what_is_written_is_read(tmp_path: Path) -> None:
    written = [result("auc", 0.7, low=0.6, high=0.8, n=100, seed=3), result("auc", 0.5, attack="z")]
    write_results(tmp_path / "r.parquet", written)
    assert read_results(tmp_path / "r.parquet")[0] == written[0]
    other = read_results(tmp_path / "r.parquet")[1]
    assert math.isnan(other.low) and other.attack == "z" and other.level == 0.95


def test_equal_runs_give_equal_bytes_whatever_the_order(tmp_path: Path) -> None:
    results = [result("b", 1.0), result("a", 2.0, attack="y"), result("a", 3.0, attack="x")]
    write_results(tmp_path / "one.parquet", results)
    write_results(tmp_path / "two.parquet", results[::-1])
    assert (tmp_path / "one.parquet").read_bytes() == (tmp_path / "two.parquet").read_bytes()
    assert [one.value for one in read_results(tmp_path / "one.parquet")] == [3.0, 2.0, 1.0]


def test_the_columns_are_the_fields_of_a_result(tmp_path: Path) -> None:
    write_results(tmp_path / "r.parquet", [])
    table = read_table(tmp_path / "r.parquet")
    assert table.column_names == [entry.name for entry in FIELDS] and table.num_rows == 0
    assert read_results(tmp_path / "r.parquet") == []


def test_settings_of_a_sweep_are_columns_of_their_own(tmp_path: Path) -> None:
    results = [result("b", 1.0, seed=2), result("a", 2.0, seed=1)]
    swept = [{"seed": 2, "distill.params.alpha": "0.1"}, {"seed": 1, "student.layers": 3}]
    write_results(tmp_path / "r.parquet", results, swept)
    table = read_table(tmp_path / "r.parquet")
    assert table.column("metric").to_pylist() == ["a", "b"]
    assert table.column("distill.params.alpha").to_pylist() == [None, "0.1"]
    assert table.column("student.layers").to_pylist() == [3, None]
    assert table.column_names.count("seed") == 1, "a result knows its seed itself"
    plain = [dataclasses.astuple(one)[:5] for one in read_results(tmp_path / "r.parquet")]
    assert plain == [dataclasses.astuple(one)[:5] for one in results[::-1]]
