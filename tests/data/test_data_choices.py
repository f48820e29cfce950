"""From a config and from the command line: parallel text, and who trains on which records."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from stillage.cli import main
from stillage.data.from_config import split_from_config
from stillage.data.parts import draw_part
from stillage.data.split import Split, read_split
from stillage.errors import ConfigError, DataError
from stillage.run.config import DataConfig
from stillage.types import Record

Printed = pytest.CaptureFixture[str]
SMALL = ["--seed", "3", "--threads", "1", "--stages", "distill", "--teacher-train.max-steps", "2"]


def pool(folder: Path, count: int = 80) -> str:
    rows = [
        json.dumps({"prompt": f"question {n}", "response": f"answer {n}"}) for n in range(count)
    ]
    (folder / "pool.jsonl").write_text("\n".join(rows))
    return str(folder / "pool.jsonl")


def pair(folder: Path, name: str, count: int, ends: tuple[str, str] = ("src", "tgt")) -> str:
    for end, word in zip(ends, ("Haus", "house"), strict=True):
        (folder / f"{name}.{end}").write_text("".join(f"{word} {name} {n}\n" for n in range(count)))
    return str(folder / name)


def ids(split: Split, part: str) -> set[str]:
    return {record.id for record in split.records_by_part.get(part, ())}  # pyright: ignore[reportArgumentType]


def test_parallel_text_as_a_pool_and_as_files(tmp_path: Path) -> None:
    source = pair(tmp_path, "x", 60, ("de", "en"))
    data = DataConfig(
        source=source, parallel=("de", ".en"), parallel_prompt="To English: {src}", group_by=""
    )
    split = split_from_config(data, 1)
    found = [record for records in split.records_by_part.values() for record in records]
    assert len(found) == 60 and set(split.sources) == {"x.de", "x.en"} and split.drawn_by_us
    for record in found:
        number = record.source.rpartition(":")[2]
        assert record.prompt == f"To English: Haus x {int(number) - 1}"
        assert (record.response, record.meta) == (
            f"house x {int(number) - 1}",
            {"src": f"Haus x {int(number) - 1}"},
        )
    files = {part: pair(tmp_path, part, 9) for part in ("public", "test")}
    split = split_from_config(DataConfig(files=files, parallel=("src", "tgt")), 1)
    assert split.counts == {"public": 9, "test": 9}
    assert split.records_by_part["test"][0].prompt.startswith(
        "Translate the following text.\n\nHaus test "
    )


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"parallel": ("src",)}, "two endings.*\n.*data.parallel: src"),
        ({"parallel": ("src", ".src")}, "two endings"),
        ({"parallel_prompt": "Translate."}, "exactly once"),
        ({"columns": {"prompt": "q"}}, "without columns.*\n.*columns asked for: q"),
        ({"slice_by": ("topic",)}, "columns asked for: topic"),
        ({"source": "synthetic"}, "data.source: synthetic"),
        ({"source": "nowhere"}, "missing: nowhere.src, nowhere.tgt"),
    ],
)
def test_parallel_text_that_does_not_fit(
    tmp_path: Path, settings: dict[str, object], words: str
) -> None:
    data = {"source": pair(tmp_path, "x", 30), "parallel": ("src", "tgt"), **settings}
    with pytest.raises((ConfigError, DataError), match=words):
        split_from_config(DataConfig(**data), 1)


def test_parallel_text_from_the_command_line(tmp_path: Path, capsys: Printed) -> None:
    source, out = pair(tmp_path, "x", 60), tmp_path / "run"
    words = [
        "data",
        "--data.source",
        source,
        "--data.parallel",
        "src",
        "tgt",
        "--out",
        str(out),
        *SMALL,
    ]
    words += ["--data.parallel-prompt", "Say {src} in English:", "--data.group-by", ""]
    assert main(words) == 0
    first = read_split(out / "data")
    assert all(
        r.prompt == f"Say {r.meta['src']} in English:"
        for rs in first.records_by_part.values()
        for r in rs
    )
    (tmp_path / "x.tgt").write_text("".join(f"home {n}\n" for n in range(60)))
    assert main(words) == 0
    again = read_split(out / "data").records_by_part["public"]
    assert all(record.response.startswith("home") for record in again), (
        "a changed file is read again"
    )
    (tmp_path / "x.tgt").write_text("home 1\n")
    assert main(words) == 2
    assert "differ in length" in capsys.readouterr().err
    (tmp_path / "x.tgt").unlink()
    assert main(words) == 2
    assert "x.tgt" in capsys.readouterr().err


def test_parts_become_the_roles_and_the_rest_is_counted(tmp_path: Path) -> None:
    plain = split_from_config(DataConfig(source=pool(tmp_path), group_by=""), 5)
    one, two = (
        split_from_config(
            DataConfig(
                source=pool(tmp_path), group_by="", train_on={"teacher": f"private {k} of 2"}
            ),
            5,
        )
        for k in (1, 2)
    )
    assert ids(one, "private") | ids(two, "private") == ids(plain, "private")
    assert not ids(one, "private") & ids(two, "private")
    assert len(ids(one, "private")) == len(ids(plain, "private")) // 2
    for part in ("public", "nonmembers", "counterfactual", "validation", "test"):
        assert ids(one, part) == ids(plain, part)
    left = len(ids(plain, "private")) - len(ids(one, "private"))
    assert one.notes == {"records that nobody trains on, left out": left}
    assert (
        one.train_on["teacher"]["choice"] == "private 1 of 2"
        and "teacher trains on private 1 of 2" in one.summary()
    )
    both = DataConfig(
        source=pool(tmp_path),
        group_by="",
        train_on={"teacher": "private 1 of 2", "student": "private 2 of 2"},
    )
    split = split_from_config(both, 5)
    assert (ids(split, "private"), ids(split, "public")) == (
        ids(one, "private"),
        ids(two, "private"),
    )
    swapped = split_from_config(
        DataConfig(
            source=pool(tmp_path), group_by="", train_on={"teacher": "public", "student": "private"}
        ),
        5,
    )
    assert (ids(swapped, "private"), ids(swapped, "public")) == (
        ids(plain, "public"),
        ids(plain, "private"),
    )


def test_teacher_and_student_on_the_same_records_only_without_an_audit(tmp_path: Path) -> None:
    data = DataConfig(source=pool(tmp_path), group_by="", train_on={"student": "all"})
    with pytest.raises(DataError, match=r"20 records are in two parts(.|\n)*private & public: 20"):
        split_from_config(data, 5)
    split = split_from_config(data, 5, audits=False)
    assert ids(split, "private") < ids(split, "public") and len(ids(split, "public")) == 40
    assert split.overlaps == {"private & public": 20}


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"train_on": {"referee": "all"}}, "unknown: referee"),
        ({"train_on": {"teacher": "nonmembers"}}, "given: 'nonmembers'"),
        ({"train_on": {"teacher": "private 3 of 2"}}, "no such part"),
        ({"train_on": {"teacher": "private 1 of 99"}}, "fewer records than parts"),
        (
            {"train_on": {"teacher": "private 1 of 2"}, "inclusion": "bernoulli"},
            "Coins have decided",
        ),
        (
            {"train_on": {"student": "all"}, "shares": {"public": 1.0}},
            "no records with part: private",
        ),
    ],
)
def test_choices_that_do_not_exist(tmp_path: Path, settings: dict[str, object], words: str) -> None:
    with pytest.raises((ConfigError, DataError), match=words):
        split_from_config(DataConfig(source=pool(tmp_path), group_by="", **settings), 5)


def test_choices_from_the_command_line_are_written_down(tmp_path: Path, capsys: Printed) -> None:
    words = [
        "data",
        "--data.source",
        pool(tmp_path),
        "--data.group-by",
        "",
        "--out",
        str(tmp_path / "run"),
        *SMALL,
    ]
    assert (
        main(
            [
                *words,
                "--data.train-on.teacher",
                "private 1 of 4",
                "--data.train-on.student",
                "public 2 of 2",
            ]
        )
        == 0
    )
    about = json.loads((tmp_path / "run" / "data" / "split.json").read_text())
    assert about["counts"]["private"] == 5 and about["counts"]["public"] == 10
    assert (
        about["train_on"]["teacher"]["of"] == 20
        and about["train_on"]["student"]["choice"] == "public 2 of 2"
    )
    config = tmp_path / "run.yaml"
    config.write_text("data:\n  train_on: {teacher: private 1 of 4, student: public 2 of 2}\n")
    assert main(["data", str(config), *words[1:]]) == 0
    assert json.loads((tmp_path / "run" / "data" / "split.json").read_text()) == about
    assert (
        main(
            [
                *words,
                "--data.train-on.teacher",
                "private one of 2",
                "--out",
                str(tmp_path / "other"),
            ]
        )
        == 2
    )
    assert "choice of training records is unknown" in capsys.readouterr().err


def test_near_duplicates_stay_in_one_part() -> None:
    records = [Record(id=f"r{n:02d}", prompt="p", response=str(n)) for n in range(40)]
    group_of = {f"r{n:02d}": str(n % 10) for n in range(30)}
    parts = [draw_part(records, k, 4, 2, group_of) for k in range(1, 5)]
    assert sorted(record.id for part in parts for record in part) == [
        record.id for record in records
    ]
    assert all(parts)
    for group in set(group_of.values()):
        together = {name for name, other in group_of.items() if other == group}
        assert sum(bool(together & {record.id for record in part}) for part in parts) == 1


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        (["--data.train-on.teacher", "privat"], "one of private, public, all"),
        (["--data.train-on.teecher", "private"], "unknown: teecher"),
        (["--data.train-on.student", "public 3 of 2"], "no such part"),
        (
            ["--data.inclusion", "bernoulli", "--data.train-on.teacher", "private 1 of 2"],
            "Coins have decided",
        ),
        (["--data.slice-by", "topic"], "missing: topic; they have: badge"),
        (
            ["--stages", "distill", "audit", "--audit.extract", "bagde"],
            "missing: bagde; they have: badge",
        ),
        (
            ["--data.files.private", "a.jsonl", "--data.source", "b.jsonl"],
            "Both a pool and a file per part",
        ),
    ],
)
def test_a_choice_that_cannot_be_is_refused_before_anything_is_made(
    flags: list[str], said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Printed
) -> None:
    monkeypatch.chdir(tmp_path)
    for words in (["data"], ["run", "--dry-run"]):
        assert main([*words, "--data.people", "24", *SMALL, *flags, "--out", "run"]) == 2
        printed = capsys.readouterr().err
        assert (
            said in printed
            and len(printed.strip().splitlines()) == 3
            and list(tmp_path.iterdir()) == []
        )


def test_people_are_grouped_by_what_they_have() -> None:
    near, alone, badge = (
        split_from_config(DataConfig(people=8, group_by=group_by), 1)
        for group_by in ("near", "", "badge")
    )
    assert near == alone == badge  # nobody is anybody's near-duplicate, and no two have one badge
    for column in ("passage", "length"):
        with pytest.raises(ConfigError, match="no such column") as caught:
            split_from_config(DataConfig(people=8, group_by=column), 1)
        assert f"missing: {column}; they have: badge" in str(caught.value)


def test_people_are_sliced_by_what_they_have() -> None:
    split = split_from_config(DataConfig(people=8, slice_by=("badge",)), 1)
    assert all(
        record.meta["badge"] for records in split.records_by_part.values() for record in records
    )
    assert (
        split_from_config(DataConfig(people=8, slice_by=("length",)), 1).counts["private"] == 8
    )  # whoever slices counts words
