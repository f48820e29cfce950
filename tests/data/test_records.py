"""Reading: every shape of input gives the same records, and every kind of bad input is refused with its place."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stillage.corpus.sources import HubPart
from stillage.data.columns import RecordColumns, record_id
from stillage.data.records import Loaded, read_records
from stillage.errors import ConfigError, DataError, UserError
from stillage.types import Record

QA = [("What is 2 + 2?", "", "4"), ("Say hi.", "in French", "Salut !\u2028Ça va ?")]


def read(
    path: str | Path,
    *,
    columns: Mapping[str, str] | None = None,
    slice_by: Sequence[str] = (),
    need_response: bool = True,
    revision: str = "",
    subset: str = "",
    hub_split: str = "train",
    max_bad_lines: int = 0,
) -> Loaded:
    return read_records(
        path,
        RecordColumns(named=columns or {}, keep=tuple(slice_by), need_response=need_response),
        HubPart(revision=revision, subset=subset, split=hub_split),
        max_bad_lines=max_bad_lines,
    )


def lines(path: Path, rows: list[Any]) -> Path:
    path.write_text(
        "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), encoding="utf-8"
    )
    return path


def content(records: list[Record]) -> list[tuple[str, str, str]]:
    return [(record.prompt, record.input, record.response) for record in records]


def refused(path: Path | str, **options: object) -> list[str]:
    with pytest.raises(UserError) as caught:
        read(path, **options)  # type: ignore[arg-type]
    text = str(caught.value).splitlines()
    assert len(text) == 3
    assert caught.value.exit_code == 2
    return text


SHAPES = {
    "instruction": ({"instruction": p, "input": i, "output": r} for p, i, r in QA),
    "instruction_response": ({"instruction": p, "input": i, "response": r} for p, i, r in QA),
    "dolly": ({"instruction": p, "context": i, "response": r, "category": "qa"} for p, i, r in QA),
    "prompt_completion": ({"prompt": p, "input": i, "completion": r} for p, i, r in QA),
    "prompt_response": ({"prompt": p, "input": i, "response": r} for p, i, r in QA),
    "instances": ({"instruction": p, "instances": [{"input": i, "output": r}]} for p, i, r in QA),
}


@pytest.mark.parametrize("shape", SHAPES)
def test_the_usual_shapes_give_the_same_records(tmp_path: Path, shape: str) -> None:
    rows = list(SHAPES[shape])
    as_lines = read(lines(tmp_path / "a.jsonl", rows))
    assert content(as_lines.records) == QA
    assert as_lines.records[1].source == "a.jsonl:2"
    array = tmp_path / "a.json"
    array.write_text(json.dumps(rows), encoding="utf-8")
    pq.write_table(pa.Table.from_pylist(rows), tmp_path / "a.parquet")
    for file in (array, tmp_path / "a.parquet"):
        assert [record.id for record in read(file).records] == [
            record.id for record in as_lines.records
        ]


def test_named_columns_win_over_usual_names(tmp_path: Path) -> None:
    rows = [
        {
            "question": "q",
            "answer": "a",
            "prompt": "not this",
            "response": "nor this",
            "lang": "en",
            "n": 3,
        }
    ]
    loaded = read(
        lines(tmp_path / "a.jsonl", rows),
        columns={"prompt": "question", "response": "answer"},
        slice_by=("lang", "n"),
    )
    assert content(loaded.records) == [("q", "", "a")]
    assert loaded.records[0].meta == {"lang": "en", "n": "3"}


def test_messages_end_at_the_last_answer(tmp_path: Path) -> None:
    turns = [
        {"role": "system", "content": "Be brief."},
        {"role": "user", "content": "One?"},
        {"role": "assistant", "content": "1"},
        {
            "role": "user",
            "content": [{"type": "text", "text": "Two"}, {"type": "text", "text": "?"}],
        },
        {"role": "assistant", "content": "2"},
        {"role": "user", "content": "Thanks"},
    ]
    shared = [{"from": "human", "value": "Hi"}, {"from": "gpt", "value": "Hello"}]
    loaded = read(lines(tmp_path / "a.jsonl", [{"messages": turns}, {"conversations": shared}]))
    first, second = loaded.records
    assert (first.prompt, first.response) == ("Two?", "2")
    assert first.messages == (
        ("system", "Be brief."),
        ("user", "One?"),
        ("assistant", "1"),
        ("user", "Two?"),
    )
    assert (second.messages, second.response) == ((("user", "Hi"),), "Hello")
    assert loaded.notes == {"turns after the last answer dropped": 1}


def test_text_alone_has_an_empty_prompt(tmp_path: Path) -> None:
    assert content(read(lines(tmp_path / "a.jsonl", [{"text": "Once."}])).records) == [
        ("", "", "Once.")
    ]


def test_several_instances_and_several_references(tmp_path: Path) -> None:
    rows = [
        {
            "instruction": "Add.",
            "instances": [{"input": "1 1", "output": "2"}, {"input": "1 2", "output": "3"}],
        },
        {"prompt": "Name a colour.", "output": ["red", "blue<|endoftext|>"]},
    ]
    loaded = read(lines(tmp_path / "a.jsonl", rows))
    assert [record.source for record in loaded.records] == [
        "a.jsonl:1#1",
        "a.jsonl:1#2",
        "a.jsonl:2",
    ]
    assert loaded.records[2].response == "red"
    assert json.loads(loaded.records[2].meta["references"]) == ["red", "blue"]


def test_literal_end_markers_are_taken_off_and_counted(tmp_path: Path) -> None:
    rows = [
        {"prompt": "a", "completion": "x <|endoftext|>"},
        {"prompt": "b", "completion": "y<|endoftext|><|endoftext|>\n"},
        {"prompt": "c", "completion": "the token <|endoftext|> ends a text"},
    ]
    loaded = read(lines(tmp_path / "a.jsonl", rows))
    assert [record.response for record in loaded.records] == [
        "x ",
        "y",
        "the token <|endoftext|> ends a text",
    ]
    assert loaded.notes == {"literal <|endoftext|> at the end of a response taken off": 3}


def test_questions_without_answers_only_when_asked(tmp_path: Path) -> None:
    path = lines(
        tmp_path / "v.jsonl",
        [{"question_id": 1, "category": "generic", "turns": ["Why?", "Really?"]}],
    )
    assert "question_id, category, turns" in refused(path)[1]
    record = read(path, need_response=False, slice_by=("category",)).records[0]
    assert (record.prompt, record.response, record.meta) == ("Why?", "", {"category": "generic"})
    bare = lines(tmp_path / "p.jsonl", [{"prompt": "Why?"}])
    assert content(read(bare, need_response=False).records) == [("Why?", "", "")]


GOOD = {"prompt": "p", "response": "r"}
BAD_LINES = {
    b'{"prompt": "p", "response": ': "broken JSON",
    b'{"prompt": "caf\xe9", "response": "r"}': "invalid UTF-8 (byte 0xe9",
    b"[1, 2]": "not a JSON object but a list",
    b'{"prompt": "p", "response": " \\n"}': "empty response (column response)",
    b'{"prompt": "p", "response": null}': "empty response",
    b'{"prompt": "p", "response": "<|endoftext|>"}': "empty response",
    b'{"prompt": "", "response": "r"}': "empty prompt",
    b'{"prompt": "p", "response": 7}': "column response holds int, not text",
    b'{"prompt": "p", "response": "\\ud800"}': "half a surrogate pair",
    b'{"messages": [{"role": "user", "content": "u"}]}': "no assistant turn",
    b'{"messages": [{"role": "assistant", "content": "a"}]}': "nothing before the answer",
    b'{"messages": [{"content": "u"}]}': "no role",
    b'{"messages": "u"}': "not a list of turns",
    b'{"messages": [{"role": "user", "content": [{"type": "image"}]}]}': "something other than text",
    b'{"instruction": "i", "instances": [3]}': "instance 1 is not an object",
    b"[" * 100_000: "nested too deeply",
    b'{"neither": 1}': "found: neither",
}


@pytest.mark.parametrize("line", BAD_LINES, ids=lambda line: line[:30].decode("latin-1"))
def test_bad_lines_are_refused_with_their_number_or_counted(tmp_path: Path, line: bytes) -> None:
    good = json.dumps(GOOD).encode()
    path = tmp_path / "a.jsonl"
    path.write_bytes(b"\xef\xbb\xbf" + good + b"\r\n\n" + line + b"\n" + good)
    text = refused(path)
    assert "a.jsonl, line 3" in text[1]
    if b"neither" not in line:
        assert BAD_LINES[line] in text[1]
    loaded = read(path, max_bad_lines=1)
    assert len(loaded.records) == 2
    assert [(bad.file, bad.line) for bad in loaded.bad_lines] == [("a.jsonl", 3)]
    assert BAD_LINES[line] in loaded.bad_lines[0].reason
    assert loaded.notes == {"blank lines": 1}
    assert "1 broken lines left out" in loaded.summary()


def test_the_limit_of_bad_lines_counts_over_all_files(tmp_path: Path) -> None:
    for name in "abc":
        (tmp_path / f"{name}.jsonl").write_text(json.dumps(GOOD) + "\nbroken\n")
    text = refused(tmp_path, max_bad_lines=2)
    assert text[0].startswith("3 lines")
    assert "c.jsonl, line 2" in text[1]
    assert len(read(tmp_path, max_bad_lines=3).records) == 3


def test_missing_and_empty_inputs(tmp_path: Path) -> None:
    assert "absent.jsonl" in refused(tmp_path / "absent.jsonl")[1]
    assert "*.jsonl" in refused(str(tmp_path / "*.jsonl"))[1]
    (tmp_path / "empty.jsonl").touch()
    assert "0 bytes" in refused(tmp_path / "empty.jsonl")[1]
    (tmp_path / "blank.jsonl").write_text("\n \n")
    assert "blank.jsonl" in refused(tmp_path / "blank.jsonl")[1]
    pq.write_table(pa.table({"prompt": pa.array([], pa.string())}), tmp_path / "none.parquet")
    assert "no rows" in refused(tmp_path / "none.parquet")[1]
    (tmp_path / "bad.jsonl").write_text("x\n")
    assert "1 broken lines" in refused(tmp_path / "bad.jsonl", max_bad_lines=9)[1]
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / "notes.txt").write_text("x")
    assert "notes.txt" in refused(tmp_path / "folder")[1]
    (tmp_path / "a.csv").write_text("x")
    assert "a.csv" in refused(tmp_path / "a.csv")[1]


def test_a_file_without_permission_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def denied(path: Path) -> str:
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr("stillage.corpus.sources.sha256_file", denied)
    assert "Permission denied" in refused(lines(tmp_path / "a.jsonl", [GOOD]))[1]


def test_wrong_columns_are_named(tmp_path: Path) -> None:
    path = lines(tmp_path / "a.jsonl", [{"question": "q", "answer": "a"}])
    text = refused(path)
    assert "question, answer" in text[1]
    assert "prompt + response" in text[2]
    assert (
        "asked for prompt: query"
        in refused(path, columns={"prompt": "query", "response": "answer"})[1]
    )
    named = {"prompt": "question", "response": "answer"}
    assert "missing: topic" in refused(path, columns=named | {"input": "topic"})[1]
    kept = refused(path, columns=named, slice_by=("lang",))
    assert "question, answer (missing: lang)" in kept[1] and "data.slice_by" in kept[2]
    with pytest.raises(ConfigError, match="unknown: anwser"):
        read(path, columns={"anwser": "answer"})


def test_damaged_parquet_and_json(tmp_path: Path) -> None:
    pq.write_table(pa.Table.from_pylist([GOOD] * 100), tmp_path / "a.parquet")
    whole = (tmp_path / "a.parquet").read_bytes()
    (tmp_path / "a.parquet").write_bytes(whole[: len(whole) // 2])
    assert "damaged" in refused(tmp_path / "a.parquet")[0]
    broken = pa.array([b"ok", b"\xff", b"fine"]).view(pa.binary()).cast(pa.string(), safe=False)
    pq.write_table(
        pa.table({"prompt": ["p", "q", "s"], "response": broken}), tmp_path / "b.parquet"
    )
    assert "b.parquet, line 2: invalid UTF-8" in refused(tmp_path / "b.parquet")[1]
    assert len(read(tmp_path / "b.parquet", max_bad_lines=1).records) == 2
    (tmp_path / "c.json").write_text('[{"prompt": "p"')
    assert "array is broken" in refused(tmp_path / "c.json")[0]
    (tmp_path / "c.json").write_bytes(b'[{"prompt": "caf\xe9"}]')
    assert "0xe9" in refused(tmp_path / "c.json")[1]


def test_the_id_is_the_content_and_nothing_else(tmp_path: Path) -> None:
    assert (
        record_id("p", "", "r") == "4950cca23954eb27"
    )  # stored in users' files: must never change
    ids = {
        record_id(*fields)
        for fields in [("a", "b", ""), ("a", "", "b"), ("ab", "", ""), ("", "a", "b")]
    }
    ids.add(record_id("a", "b", "", (("user", "a"),)))
    assert len(ids) == 5
    one = read(lines(tmp_path / "a.jsonl", [GOOD | {"x": 1}])).records[0]
    two = read(lines(tmp_path / "b.jsonl", [{"y": 2}, GOOD]), max_bad_lines=1).records[0]
    assert one.id == two.id


ANSWER = st.text(min_size=1) | st.lists(
    st.sampled_from(["<|endoftext|>", "<|im_end|>", " ", "a"]), min_size=1
).map("".join)


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(st.text(min_size=1), st.text(), ANSWER), min_size=1, max_size=5))
def test_any_text_survives_a_round_trip(
    tmp_path_factory: pytest.TempPathFactory, rows: list[tuple[str, str, str]]
) -> None:
    path = tmp_path_factory.mktemp("trip") / "a.jsonl"
    lines(path, [{"instruction": p, "input": i, "output": r} for p, i, r in rows])
    loaded = read_records_or_none(path, len(rows))
    rows = [(p, i, without_end(r)) for p, i, r in rows]
    good = [row for row in rows if row[0].strip() and row[2].strip()]
    assert (content(loaded.records) if loaded else []) == good
    if loaded:
        assert len(loaded.bad_lines) == len(rows) - len(good)


def without_end(text: str) -> str:
    """Its own reading of the rule: markers at the very end, with white space after each, go."""
    match = re.fullmatch(r"(.*?)((<\|endoftext\|>|<\|im_end\|>|<\|eot_id\|>)\s*)*", text, re.DOTALL)
    assert match
    return match[1] if match[2] else text


def read_records_or_none(path: Path, max_bad_lines: int) -> Loaded | None:
    try:
        return read(path, max_bad_lines=max_bad_lines)
    except DataError:
        return None


def test_dolly_as_published_is_read_by_the_usual_columns(tmp_path: Path) -> None:
    rows = [
        {
            "instruction": "Name a colour.",
            "input": "",
            "output": "Red.",
            "prompt": "Below is ... Name a colour.",
        },
        {
            "instruction": "Sum up.",
            "input": "A text.",
            "output": ["Short.", "Brief."],
            "prompt": "Below is ...",
        },
    ]
    (tmp_path / "valid.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    first, second = read(tmp_path / "valid.jsonl").records
    assert (first.prompt, first.input, first.response) == ("Name a colour.", "", "Red.")
    assert (second.prompt, second.input, second.response) == ("Sum up.", "A text.", "Short.")
    assert json.loads(second.meta["references"]) == ["Short.", "Brief."]
