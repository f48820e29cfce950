"""Parts of a source: which files or tables are read, and what is said of the others."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from stillage.corpus.sources import HubPart
from stillage.data.records import Loaded, read_records
from stillage.errors import DataError

QA = [("What is 2 + 2?", "", "4"), ("Say hi.", "in French", "Salut !\u2028Ça va ?")]


def read(
    path: str | Path, *, revision: str = "", subset: str = "", hub_split: str = "train"
) -> Loaded:
    return read_records(path, hub=HubPart(revision=revision, subset=subset, split=hub_split))


def lines(path: Path, rows: list[Any]) -> Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path


def refused(path: Path | str, **options: str) -> list[str]:
    with pytest.raises(DataError) as caught:
        read(path, **options)
    text = str(caught.value).splitlines()
    assert len(text) == 3 and caught.value.exit_code == 2
    return text


def test_folders_patterns_and_saved_data_sets(tmp_path: Path) -> None:
    import datasets

    rows = [{"prompt": p, "response": r} for p, _, r in QA]
    folder = tmp_path / "many"
    (folder / "deep").mkdir(parents=True)
    lines(folder / "b.jsonl", rows[:1])
    pq.write_table(pa.Table.from_pylist(rows[1:]), folder / "deep" / "a.parquet")
    (folder / ".hidden.jsonl").write_text("broken")
    loaded = read(folder)
    assert [record.source for record in loaded.records] == ["b.jsonl:1", "deep/a.parquet:1"]
    assert list(loaded.sources) == ["b.jsonl", "deep/a.parquet"]
    assert [record.source for record in read(str(folder / "*.jsonl")).records] == ["b.jsonl:1"]

    data = datasets.Dataset.from_list(rows)
    data.select([1, 0]).save_to_disk(str(tmp_path / "one"))  # an indices mapping beside the table
    datasets.DatasetDict({"train": data, "extra": data.select([0])}).save_to_disk(
        str(tmp_path / "dict")
    )
    assert [record.prompt for record in read(tmp_path / "one").records] == [
        "Say hi.",
        "What is 2 + 2?",
    ]
    assert len(read(tmp_path / "dict").records) == 2
    assert len(read(tmp_path / "dict", hub_split="extra").records) == 1
    assert "found: train, extra" in refused(tmp_path / "dict", hub_split="validation")[1]


def test_the_parts_of_a_saved_data_set_are_read_by_name_and_the_others_said(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    import datasets

    rows = [{"prompt": p, "response": r} for p, _, r in QA]
    data, folder = datasets.Dataset.from_list(rows), tmp_path / "saved"
    datasets.DatasetDict({"train": data, "test": data.select([0])}).save_to_disk(str(folder))
    whole = read(folder)
    assert (
        whole.notes["rows of saved:test not read"] == 1
        and "saved:test not read: 1" in whole.summary()
    )
    assert "read saved:train; not read: saved:test (1 rows)" in caplog.text
    part = read(f"{folder}:test")
    assert [record.source for record in part.records] == ["saved:test:1"]
    assert (
        part.sources.keys() == {"saved:test"}
        and part.sources["saved:test"] != whole.sources["saved:train"]
    )
    assert "asked: dev; found: train, test" in refused(f"{folder}:dev")[1]
    datasets.DatasetDict({"only": data}).save_to_disk(str(tmp_path / "single"))
    assert len(read(tmp_path / "single").records) == 2 and not read(tmp_path / "single").notes
    data.save_to_disk(str(tmp_path / "table"))
    assert "one table" in refused(f"{tmp_path / 'table'}:test")[1]
    (tmp_path / "files").mkdir()
    (tmp_path / "files" / "a.jsonl").write_text('{"prompt": "p", "response": "r"}\n')
    assert "the part test of" in refused(f"{tmp_path / 'files'}:test")[1]


@pytest.mark.parametrize("layout", ["data/{}-00000-of-00001", "{}.0", "{}/a", "{}_0"])
@pytest.mark.parametrize("suffix", [".parquet", ".jsonl", ".json"])
def test_the_parts_of_a_copied_hub_data_set_are_read_one_at_a_time(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, layout: str, suffix: str
) -> None:
    folder = tmp_path / "copy"
    for part, count in (("train", 3), ("test", 2), ("validation", 4)):
        rows = [{"prompt": f"{part} {i}?", "response": "yes"} for i in range(count)]
        path = folder / f"{layout.format(part)}{suffix}"
        path.parent.mkdir(parents=True, exist_ok=True)
        if suffix == ".parquet":
            pq.write_table(pa.Table.from_pylist(rows), path)
        else:
            lines = "".join(f"{json.dumps(row)}\n" for row in rows)
            path.write_text(lines if suffix == ".jsonl" else json.dumps(rows))
    whole = read_records(folder)
    assert {record.prompt.split()[0] for record in whole.records} == {"train"}
    assert whole.notes == {"rows of copy:test not read": 2, "rows of copy:validation not read": 4}
    assert "not read: copy:test (2 rows), copy:validation (4 rows)" in caplog.text
    assert len(read(folder, hub_split="test").records) == 2
    assert len(read(f"{folder}:validation", hub_split="test").records) == 4
    for source, split in ((folder, "dev"), (f"{folder}:dev", "train")):
        said = refused(source, hub_split=split)
        assert (
            "asked: dev; found: test, train, validation" in said[1] and f"{folder}:test" in said[2]
        )


def test_files_of_one_part_or_none_are_all_read(tmp_path: Path) -> None:
    for name in ("a", "tests", "trained-1", "test_b"):
        (tmp_path / f"{name}.jsonl").write_text(f'{{"prompt": "{name}", "response": "r"}}\n')
    assert len(read(tmp_path, hub_split="validation").records) == 4
    assert [one.prompt for one in read_records(f"{tmp_path}:test").records] == ["test_b"]
    (tmp_path / "train_b.jsonl").write_text('{"prompt": "x", "response": "r"}\n')
    told = read_records(tmp_path)
    assert len(told.records) == 1
    assert told.notes[f"rows of {tmp_path.name}:files of no part not read"] == 3


def test_hub_ids_need_a_commit_and_never_run_code(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    import datasets

    monkeypatch.chdir(tmp_path)
    calls: list[tuple[object, ...]] = []

    def fake(name: str, subset: str | None, **options: object) -> datasets.Dataset:
        calls.append((name, subset, options))
        return datasets.Dataset.from_list([{"prompt": "p", "response": "r"}])

    monkeypatch.setattr(datasets, "load_dataset", fake)
    assert "someone/somewhere; revision: main" in refused("someone/somewhere", revision="main")[1]
    assert not calls
    commit = "0123456789abcdef0123456789abcdef01234567"
    loaded = read("someone/somewhere", revision=commit, subset="en", hub_split="test")
    assert calls == [
        ("someone/somewhere", "en", {"split": "test", "revision": commit, "streaming": False})
    ]
    assert loaded.sources == {"hub:someone/somewhere/en/test": f"commit {commit}"}

    def absent(name: str, subset: str | None, **options: object) -> datasets.Dataset:
        raise datasets.exceptions.DatasetNotFoundError(f"Dataset '{name}' doesn't exist")

    monkeypatch.setattr(datasets, "load_dataset", absent)
    assert "doesn't exist" in refused("someone/somewhere", revision=commit)[1]
