"""What of a mosaic run is refused before anything is made: what cannot fit, or is not there."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from stillage.errors import UserError
from stillage.experiment.mosaic_checks import check_mosaic
from stillage.experiment.mosaic_documents import outside_documents
from stillage.run.flags import Flat
from stillage.run.parse import build

SHORT: Flat = {"teacher.context": ["64"], "mosaic.block_tokens": ["64"]}
STUDENTS: Flat = {
    "mosaic.experiments": ["distillation"],
    "mosaic.params.distillation.methods": ["sft"],
    "mosaic.params.distillation.replaced": ["1"],
}


def experiment(name: str, **params: str) -> Flat:
    values = {f"mosaic.params.{name}.{key}": [value] for key, value in params.items()}
    return {"mosaic.experiments": [name], "mosaic.canaries.length": ["24"], **values}


@pytest.fixture
def shelf(tmp_path: Path) -> Path:
    (tmp_path / "books").mkdir()
    (tmp_path / "books" / "omoo.txt").write_text("a book")
    (tmp_path / "none").mkdir()
    (tmp_path / "none" / "notes.md").write_text("no book")
    (tmp_path / "table.xlsx").write_text("no book")
    for name, facts in (
        ("gpt2", {"architectures": ["GPT2LMHeadModel"], "n_positions": 48}),
        ("bert", {"architectures": ["BertForMaskedLM"]}),
    ):
        (tmp_path / name).mkdir()
        (tmp_path / name / "config.json").write_text(json.dumps({"model_type": name, **facts}))
    return tmp_path


def check(shelf: Path, flat: Flat) -> None:
    at = {name: [one.replace("SHELF", str(shelf)) for one in words] for name, words in flat.items()}
    usual: Flat = {"stages": ["mosaic"], "mosaic.books": [str(shelf / "books")]}
    check_mosaic(build({**usual, **experiment("replacement", replaced="1"), **at}))


@pytest.mark.parametrize(
    ("flat", "said"),
    [
        (experiment("replacement", replaced="25"), r"mosaic.params.replacement: replaced: 25"),
        (experiment("insertion", piece="24"), "mosaic.params.insertion: piece: 24"),
        (experiment("shuffle", piece="13"), "piece: 13 tokens; canary: 24; pieces: 1"),
        (experiment("shuffle", piece="4", tau="0.01"), "Reachable: 0.05797"),
        ({"mosaic.block_tokens": ["513"]}, r"mosaic.block_tokens: 513; context: 512.*teacher"),
        ({"teacher.path": ["SHELF/gpt2"]}, "mosaic.block_tokens: 512; context: 48 tokens .*gpt2"),
        (
            {
                **SHORT,
                "mosaic.canaries.length": ["65"],
                "mosaic.canaries.generator": ["SHELF/bert"],
            },
            "mosaic.canaries.length: 65; context: 64",
        ),
        ({**SHORT, "mosaic.canaries.length": ["64"]}, "Lower mosaic.canaries.length to 63"),
        ({**SHORT, **STUDENTS}, r"student_response_tokens: 128; context: 64"),
        (
            {**STUDENTS, "mosaic.student_start": ["own"], "student.context": ["256"]},
            "mosaic.block_tokens: 512; context: 256 tokens .student.context",
        ),
        ({"mosaic.titles": ["SHELF/gone.txt"]}, "list of titles cannot be read"),
        ({"mosaic.books": ["SHELF/table.xlsx"]}, "ends in .xlsx"),
        ({"mosaic.books": ["SHELF/none"]}, "holds no documents(.|\\n)*notes.md"),
        ({"mosaic.books": ["gone"]}, "revision: none"),
        ({"mosaic.masked_model": ["SHELF/gpt2"]}, "no(.|\\n)*masked(.|\\n)*GPT2LMHeadModel"),
        (
            {**experiment("paraphrase"), "mosaic.writer": ["http://127.0.0.1:8811"]},
            "Name the model: --mosaic.writer-model",
        ),
        (
            {**experiment("paraphrase"), "mosaic.writer": ["127.0.0.1:8811/v1"]},
            "Write http://127.0.0.1:8811/v1",
        ),
        ({**experiment("paraphrase"), "mosaic.writer": ["./gone"]}, "no folder ./gone"),
    ],
)
def test_what_cannot_be_had_is_refused_before_anything_is_made(
    flat: Flat, said: str, shelf: Path
) -> None:
    with pytest.raises(UserError, match=said) as caught:
        check(shelf, flat)
    assert len(str(caught.value).splitlines()) == 3


@pytest.mark.parametrize(
    "flat",
    [
        experiment("replacement", replaced="24"),
        experiment("insertion", piece="23"),
        experiment("shuffle", piece="12", tau="0.5"),
        {**SHORT, "mosaic.canaries.length": ["63"]},
        {"mosaic.masked_model": ["SHELF/bert"]},
        {"teacher.path": ["SHELF/gpt2"], "mosaic.block_tokens": ["48"]},
        {
            **experiment("paraphrase"),
            "mosaic.writer": ["https://h/v1"],
            "mosaic.writer_model": ["m"],
        },
    ],
)
def test_what_just_fits_is_not(flat: Flat, shelf: Path) -> None:
    check(shelf, flat)


def test_a_file_beside_the_books_decides_nothing(shelf: Path) -> None:
    books = shelf / "books"
    before = outside_documents(str(books))
    assert [Path(path).name for path in before] == ["omoo.txt"]
    (books / "notes.md").write_text("a note")
    (books / ".git").mkdir()
    (books / ".git" / "one.txt").write_text("hidden")
    assert outside_documents(str(books)) == before
    (books / "typee.txt").write_text("another book")
    assert len(outside_documents(str(books))) == 2
