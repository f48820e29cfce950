"""The tables that actions on a corpus write have the columns that docs/reference/tables.md names."""

from __future__ import annotations

import importlib
import json
from pathlib import Path
from types import ModuleType

import brute_search
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from stillage.cli import main

TOOLS = Path(__file__).parents[2] / "tools"
WRITTEN = (
    "corpus tokenize ids.jsonl SHARDS --ids-column tokens --vocab-size 9 --max-bad 1 --jobs 1",
    "corpus index SHARDS",
    "corpus repeats SHARDS --length 2 --out repeats.parquet",
    "corpus targets SHARDS --out targets.parquet --counts 2 --length 3 --tolerance 0 --unique 1",
    "corpus scan SHARDS --targets targets.parquet --max-distance 1 --out SCAN --jobs 1",
    "corpus policy SCAN --rule exact",
    "corpus report SCAN",
    "corpus dedup SHARDS --rule exact --out KEPT",
    "corpus overlap a.jsonl b.jsonl --out OVERLAP --drop-from B --show-text",
)


@pytest.fixture
def described(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """The tool that writes the page."""
    monkeypatch.syspath_prepend(str(TOOLS))
    return importlib.import_module("corpus_tables")


def test_real_tables_have_the_columns_that_the_reference_names(
    described: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    brute_search.stand_in(monkeypatch)
    documents = [[1, 2, 3, 4, 5], [6, 1, 2, 3], [1, 2, 3, 4, 5], "none"]
    lines = [json.dumps({"tokens": ids}) for ids in documents]
    (tmp_path / "ids.jsonl").write_text("\n".join(lines))
    for name in ("a", "b"):
        text = "one and the same text in both of these sets, word for word"
        (tmp_path / f"{name}.jsonl").write_text(json.dumps({"text": text, "id": name}))
    for words in WRITTEN:
        assert main(words.split()) == 0, words

    def columns(schema: pa.Schema) -> list[tuple[str, str]]:
        return [(column.name, described.kind(column.type)) for column in schema]

    for path, schema in described.SCHEMAS.items():
        assert columns(pq.read_schema(path)) == columns(schema), path
        assert pq.read_metadata(path).num_rows, path
    assert columns(pq.read_schema("SCAN/targets.parquet")) == columns(
        described.SCHEMAS["targets.parquet"]
    )


def test_every_action_and_every_table_is_described(described: ModuleType) -> None:
    from stillage.cli.corpus import ACTIONS

    reference = TOOLS.parent / "docs" / "reference"
    settings = (reference / "settings.md").read_text(encoding="utf-8")
    tables = (reference / "tables.md").read_text(encoding="utf-8")
    assert all(f"\n### corpus {action}\n" in settings for action in ACTIONS)
    assert described.SCHEMAS.keys() == described.ROWS.keys()
    assert all(f"\n### {name}\n" in tables for name in described.ROWS)
