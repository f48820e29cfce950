"""results.parquet: what is written is read, in an order that notes do not change."""

from __future__ import annotations

import math
import random
from dataclasses import replace
from pathlib import Path

import pyarrow as pa
import pytest

from stillage.errors import DataError
from stillage.run.folder import read_table, write_table
from stillage.run.results import COLUMNS, read_results, schema, write_results
from stillage.types import Result

ROW = Result(run="r", stage="audit", model="student", metric="tpr_at_fpr", value=0.5, attack="loss")
ROWS = [
    *(replace(ROW, fpr=fpr, note=note) for fpr, note in ((0.01, "z"), (0.1, "a"), (math.nan, ""))),
    *(replace(ROW, metric="block_auc", block=block) for block in (None, -1, 2, 10)),
    replace(ROW, metric="auc", against="control", p=0.02, p_adjusted=0.04, tests=2, n_members=7),
]


def test_every_column_comes_back(tmp_path: Path) -> None:
    write_results(tmp_path / "results.parquet", ROWS)
    found = read_results(tmp_path / "results.parquet")
    assert sorted(map(repr, found)) == sorted(map(repr, ROWS))
    assert [row.block for row in found if row.metric == "block_auc"] == [None, -1, 2, 10]


def test_the_order_is_that_of_the_names_whatever_comes_first_and_whatever_is_noted(
    tmp_path: Path,
) -> None:
    mixed = [replace(row, note=str(index)) for index, row in enumerate(ROWS)]
    random.Random(1).shuffle(mixed)
    for name, rows in (("a", ROWS), ("b", mixed)):
        write_results(tmp_path / name, [replace(row) for row in rows])
    first, second = (
        [repr(replace(row, note="")) for row in read_results(tmp_path / name)] for name in "ab"
    )
    assert first == second
    rates = [row.fpr for row in read_results(tmp_path / "a") if row.metric == "tpr_at_fpr"]
    assert math.isnan(rates[0]) and rates[1:] == [0.01, 0.1]


def test_columns_have_types_and_one_is_empty_where_it_does_not_apply(tmp_path: Path) -> None:
    kinds = {field.name: str(field.type) for field in schema()}
    assert list(kinds) == list(COLUMNS) and list(kinds)[-1] == "note"
    assert (kinds["fpr"], kinds["block"], kinds["against"]) == ("double", "int64", "string")
    write_results(tmp_path / "results.parquet", ROWS)
    table = read_table(tmp_path / "results.parquet")
    assert table.schema.equals(schema()) and table.column("block").null_count == len(ROWS) - 3


def test_a_swept_setting_is_a_column_and_a_table_of_an_older_version_is_refused(
    tmp_path: Path,
) -> None:
    path = tmp_path / "results.parquet"
    swept = [{"distill.method": str(index), "seed": 3} for index in range(len(ROWS))]
    write_results(path, ROWS, swept)
    table = read_table(path)
    assert table.column_names[-1] == "distill.method" and table.column_names.count("seed") == 1
    assert len(read_results(path)) == len(ROWS)
    old = table.select(["run", "stage", "model", "metric", "value", "note"])
    write_table(path, pa.table(old.to_pydict()))
    with pytest.raises(DataError, match=r"older version(.|\n)*missing columns: low; high"):
        read_results(path)
