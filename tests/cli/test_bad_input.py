"""Whatever a user gets wrong: three lines that name it, exit 2 (75 for a full disk), and nothing half-written."""

from __future__ import annotations

import json
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from stillage.cli import main
from stillage.run.config import ModelConfig
from stillage.run.folder import read_json, read_table
from stillage.run.lock import locked
from stillage.run.results import read_results

Printed = pytest.CaptureFixture[str]
SMALL = (
    "--seed 3 --jobs 1 --threads 1 --data.template raw --data.max-tokens 48 "
    "--data.max-prompt-tokens 32 --tokenizer.vocab-size 280 --teacher.layers 1 "
    "--teacher.width 16 --teacher.heads 2 --teacher.context 48 --student.layers 1 "
    "--student.width 16 --student.heads 2 --student.context 48 --teacher-train.max-steps 2 "
    "--student-train.max-steps 2 --generate.max-new-tokens 3 --generate.records 2 "
    "--audit.extract-tokens 3"
).split()


def lines(count: int, first: int = 0) -> list[bytes]:
    return [
        json.dumps({"prompt": f"question {n}", "response": f"answer {n}"}).encode()
        for n in range(first, count)
    ]


def file(path: Path, content: list[bytes]) -> str:
    path.write_bytes(b"\n".join(content))
    return str(path)


def model_files(folder: Path) -> str:
    """A folder with the files of a model: the records are refused before they are read."""
    folder.mkdir()
    for name in ("config.json", "tokenizer.json", "model.safetensors"):
        file(folder / name, [b"{}"])
    return str(folder)


def refused(words: list[str], printed: Printed, *said: str, code: int = 2) -> None:
    """The command ends with the code, in three lines at most, which say all of `said`."""
    assert main(words) == code
    text = printed.readouterr().err
    told = text.splitlines()  # what stages said before, then the error
    found = told[max(number for number, line in enumerate(told) if line.startswith("stillage: ")) :]
    assert len(found) <= 3 and "Traceback" not in text, text
    missing = [word for word in said if word not in text]
    assert not missing, f"{missing} not in:\n{text}"


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (None, ("missing", "pool.jsonl")),
        ([], ("empty", "0 bytes")),
        ([b"", b"", b""], ("empty", "pool.jsonl")),
        (
            [b'{"question": "q", "solution": "s"}'],
            ("columns", "question, solution", "prompt: question"),
        ),
        (
            [*lines(3), b'{"prompt": "caf\xe9", "response": "r"}'],
            ("line 4", "invalid UTF-8", "0xe9"),
        ),
        (
            [*lines(2), b'{"prompt": "q", "response"', *lines(9, 2)],
            ("line 3", "broken JSON", "max_bad_lines"),
        ),
        ([*lines(5), b'{"prompt": "q", "response": " "}'], ("line 6", "empty response")),
        ([*lines(1), b'{"prompt": "q", "response": 7}'], ("line 2", "int, not text")),
        (lines(3), ("fewer records than the parts need", "3 different records")),
        (lines(4) * 9, ("4 different records",)),
    ],
)
def test_a_file_that_cannot_be_used(
    content: list[bytes] | None, said: tuple[str, ...], tmp_path: Path, capsys: Printed
) -> None:
    source = tmp_path / "pool.jsonl"
    if content is not None:
        file(source, content)
    words = [
        "run",
        "--data.source",
        str(source),
        "--data.group-by",
        "",
        "--out",
        str(tmp_path / "run"),
        *SMALL,
    ]
    refused(words, capsys, *said)
    assert not (tmp_path / "run").exists()


def test_a_column_that_is_not_there_and_an_unknown_field(tmp_path: Path, capsys: Printed) -> None:
    words = [
        "data",
        "--data.source",
        file(tmp_path / "a.jsonl", lines(9)),
        "--out",
        str(tmp_path / "run"),
    ]
    refused(
        [*words, "--data.columns", "prompt", "frage", "response", "response"],
        capsys,
        "frage",
        "prompt, response",
    )
    refused([*words, "--data.columns.answer", "response"], capsys, "unknown: answer", "response")
    refused([*words, "--data.group-by", "passage"], capsys, "missing: passage", "prompt, response")
    refused([*words, "--data.shares.privat", "0.5"], capsys, "Did you mean private?")
    refused(
        [*words, "--data.shares", "{private: 0.5}"],
        capsys,
        "names and values in turn",
        "given: {private: 0.5}",
    )
    assert not (tmp_path / "run").exists()


def test_a_record_in_two_audited_roles(tmp_path: Path, capsys: Printed) -> None:
    files = {
        "private": file(tmp_path / "a.jsonl", lines(12)),
        "public": file(tmp_path / "b.jsonl", lines(30, 10)),
        "nonmembers": file(tmp_path / "c.jsonl", lines(40, 28)),
    }
    given = [word for part, path in files.items() for word in (f"--data.files.{part}", path)]
    words = [
        "run",
        "--stages",
        "audit",
        "--student",
        model_files(tmp_path / "model"),
        *given,
        "--out",
        str(tmp_path / "run"),
        *SMALL,
    ]
    refused(
        words,
        capsys,
        "4 records are in two parts",
        "private & public: 2 (",
        "public & nonmembers: 2 (",
    )
    assert not (tmp_path / "run").exists()


def test_a_role_with_too_few_records(tmp_path: Path, capsys: Printed) -> None:
    given = [
        "--data.files.private",
        file(tmp_path / "a.jsonl", lines(12)),
        "--data.files.nonmembers",
    ]
    given.append(file(tmp_path / "b.jsonl", lines(21, 20)))
    words = [
        "run",
        "--stages",
        "audit",
        "--student",
        model_files(tmp_path / "model"),
        *given,
        "--out",
        str(tmp_path / "run"),
        *SMALL,
    ]
    refused(words, capsys, "nonmembers has too few records", "nonmembers: 1, needed: 2")
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        (["--method", "kdd"], "Did you mean kd?"),
        (["--audit.attacks", "loss", "min_kk"], "Did you mean min_k?"),
        (["--distill.params.divergence", "rklr"], "Did you mean rkl?"),
        (["--data.template", "alpacca"], "alpacca"),
        (["--student.architecture", "gpt22"], "gpt22"),
        (["--tokenizer.vocab-size", "100"], "258"),
        (["--data.max-tokens", "3"], "max_tokens: 3"),
    ],
)
def test_a_name_or_a_number_that_makes_no_sense(
    flags: list[str], said: str, tmp_path: Path, capsys: Printed
) -> None:
    source = file(tmp_path / "a.jsonl", lines(60))
    refused(
        ["run", "--data.source", source, "--out", str(tmp_path / "run"), *SMALL, *flags],
        capsys,
        said,
    )
    left = [path for path in tmp_path.glob("run/[!.]*") if path.is_dir()]
    assert {path.name for path in left} <= {"data"}, "found before anything is trained"
    assert all((path / "manifest.json").is_file() for path in left)


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """Two untrained models with tokenizers of their own."""
    from stillage.data.bpe import train_bpe
    from stillage.models.load import load_model, save_model

    root, found = tmp_path_factory.mktemp("models"), []
    for name, text in (("a", "question answer " * 20), ("b", "something else altogether " * 20)):
        tokenizer = train_bpe([text], 270)
        config = ModelConfig(layers=1, width=16, heads=2, context=48)
        save_model(load_model(config, vocab_size=len(tokenizer), seed=1), tokenizer, root / name)
        found.append(root / name)
    return found[0], found[1]


def test_two_tokenizers_under_a_method_that_needs_one(
    folders: tuple[Path, Path], tmp_path: Path, capsys: Printed
) -> None:
    teacher, student = map(str, folders)
    source = file(tmp_path / "a.jsonl", lines(60))
    words = [
        "run",
        "--data.source",
        source,
        "--out",
        str(tmp_path / "run"),
        "--student",
        student,
        *SMALL,
    ]
    for epochs in ("1", "0"):  # found before the teacher is trained, too
        refused(
            [
                *words,
                "--teacher",
                teacher,
                "--teacher-train.epochs",
                epochs,
                "--teacher-train.max-steps",
                "0",
            ],
            capsys,
            "different tokenizers",
            f"teacher: {teacher}",
            f"student: {student}",
        )
        assert (
            not (tmp_path / "run" / "teacher").exists()
            and not (tmp_path / "run" / "student").exists()
        )
        shutil.rmtree(tmp_path / "run")


@pytest.mark.parametrize(
    "fault", ["encoder-decoder", "encoder", "pickled", "few rows", "short", "long blocks"]
)
def test_what_would_stop_the_student_is_found_before_the_teacher_is_trained(
    folders: tuple[Path, Path], tmp_path: Path, capsys: Printed, fault: str
) -> None:
    student, flags, said = tmp_path / "student", [], ""
    shutil.copytree(folders[0], student)
    config = read_json(student / "config.json")
    if fault == "encoder-decoder":
        (student / "config.json").write_text(
            json.dumps({"model_type": "t5", "vocab_size": config["vocab_size"]})
        )
        said = "Only decoder-only language models"
    elif fault == "encoder":
        from transformers import BertConfig, BertForMaskedLM

        sizes = {
            "hidden_size": 8,
            "num_hidden_layers": 1,
            "num_attention_heads": 1,
            "max_position_embeddings": 48,
        }
        bert = BertForMaskedLM(
            BertConfig(vocab_size=config["vocab_size"], intermediate_size=8, **sizes)
        )
        bert.save_pretrained(student)
        said = "model type: bert"
    elif fault == "pickled":
        (student / "model.safetensors").rename(student / "pytorch_model.bin")
        said = "pickled"
    elif fault == "few rows":
        (student / "config.json").write_text(json.dumps({**config, "vocab_size": 100}))
        said = "knows fewer tokens than the tokenizer"
    elif fault == "short":
        flags = [
            "--lm.path",
            file(tmp_path / "text.txt", [b"a few words"]),
            "--lm.block-tokens",
            "40",
        ]
        said = "shorter than one block"
    else:
        flags = [
            "--lm.path",
            file(tmp_path / "text.txt", [b"many words " * 90]),
            "--lm.block-tokens",
            "64",
        ]
        said = "block: 64 tokens, context: 48"
    words = [
        "distill",
        "--data.source",
        file(tmp_path / "a.jsonl", lines(60)),
        "--out",
        str(tmp_path / "run"),
        *SMALL,
    ]
    refused([*words, "--student", str(student), *flags], capsys, said)
    assert not (tmp_path / "run" / "teacher").exists()


def test_prompts_longer_than_the_context_are_cut_counted_and_said(
    folders: tuple[Path, Path], tmp_path: Path, capsys: Printed
) -> None:
    long = [
        json.dumps({"prompt": f"{n} " * 200, "response": f"answer {n}"}).encode() for n in range(40)
    ]
    given = [
        "--data.files.test",
        file(tmp_path / "a.jsonl", long),
        "--stages",
        "evaluate",
        "--student",
        str(folders[0]),
    ]
    limits = ["--data.max-tokens", "4000", "--data.max-prompt-tokens"]  # far beyond the model's 48
    words = ["run", *given, "--out", str(tmp_path / "run"), *SMALL, *limits]
    refused(
        [*words, "3000"],
        capsys,
        "data.max_prompt_tokens: 3000; data.max_tokens: 4000; context of the model: 48",
    )
    assert main([*words, "0"]) == 0
    printed = capsys.readouterr().err
    assert "40 prompts cut to 24 tokens" in printed and "2 prompts cut to 24 tokens" in printed
    samples = read_table(tmp_path / "run" / "evaluate" / "samples.parquet")
    assert samples.num_rows == 2
    assert (
        main(
            [
                "generate",
                str(folders[0]),
                "--prompt",
                "word " * 300,
                "--template",
                "raw",
                "--generate.max-new-tokens",
                "4",
            ]
        )
        == 0
    )
    assert "1 prompts cut to 44 tokens" in capsys.readouterr().err


def test_a_rate_that_too_few_nonmembers_allow_is_refused_with_its_reason(
    folders: tuple[Path, Path], tmp_path: Path
) -> None:
    given = [
        "--data.files.private",
        file(tmp_path / "a.jsonl", lines(12)),
        "--data.files.nonmembers",
    ]
    given += [
        file(tmp_path / "b.jsonl", lines(60, 20)),
        "--stages",
        "audit",
        "--student",
        str(folders[0]),
    ]
    assert (
        main(["run", *given, "--out", str(tmp_path / "run"), *SMALL, "--audit.attacks", "loss"])
        == 0
    )
    rates = [
        r
        for r in read_results(tmp_path / "run" / "audit" / "results.parquet")
        if r.metric == "tpr_at_fpr"
    ]
    by_fpr = {r.fpr: r for r in rates if r.attack == "loss"}
    assert by_fpr[0.1].value >= 0
    assert by_fpr[0.01].value != by_fpr[0.01].value and by_fpr[0.01].reason


def test_a_folder_in_use_by_a_live_process(tmp_path: Path, capsys: Printed) -> None:
    source, out = file(tmp_path / "a.jsonl", lines(60)), tmp_path / "run"
    with locked(out):
        refused(
            ["run", "--data.source", source, "--out", str(out), *SMALL],
            capsys,
            "in use by a live process",
            '"pid"',
        )
        assert [path.name for path in out.iterdir()] == [".lock"]
    assert main(["data", "--data.source", source, "--out", str(out), *SMALL]) == 0


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of its own, to be filled."""
    place = tmp_path / "disk"
    place.mkdir()
    mount = shutil.which("mount")
    done = mount and subprocess.run(
        [mount, "-t", "tmpfs", "-o", "size=24k", "tmpfs", str(place)], capture_output=True
    )
    if not done or done.returncode != 0:
        pytest.skip("no tmpfs can be mounted here (it takes root)")
    yield place
    subprocess.run(["umount", str(place)], check=True)


def resize(place: Path, size: str) -> None:
    subprocess.run(["mount", "-o", f"remount,size={size}", str(place)], check=True)


def test_a_full_disk_ends_with_75_and_the_last_good_state_goes_on(
    small_disk: Path, tmp_path: Path, capsys: Printed
) -> None:
    source, out = file(tmp_path / "a.jsonl", lines(60)), small_disk / "run"
    words = [
        "run",
        "--data.source",
        source,
        "--out",
        str(out),
        *SMALL,
        "--stages",
        "distill",
        "evaluate",
    ]
    whole: set[str] = set()
    for size in ("40k", "120k", "200k", "300k"):
        resize(small_disk, size)
        refused(words, capsys, "disk is full", "run the same command again", code=75)
        now = {path.parent.name for path in out.glob("*/manifest.json")}
        assert now >= whole, "a finished stage was lost"
        for name in now:
            manifest = read_json(out / name / "manifest.json")
            assert all((out / name / path).is_file() for path in manifest["files"])
        whole = now
    assert whole
    resize(small_disk, "64m")
    assert main(words) == 0
    assert main([*words[:4], str(tmp_path / "undisturbed"), *words[5:]]) == 0
    assert (out / "evaluate" / "samples.parquet").read_bytes() == (
        tmp_path / "undisturbed" / "evaluate" / "samples.parquet"
    ).read_bytes()


def test_a_csv_is_refused_before_finished_data_is_set_aside(
    tmp_path: Path, capsys: Printed
) -> None:
    good, bad = (
        file(tmp_path / "a.jsonl", lines(40)),
        file(tmp_path / "a.csv", [b"prompt,response", b"x,y"]),
    )
    out = str(tmp_path / "run")
    assert main(["data", "--data.source", good, "--out", out]) == 0
    capsys.readouterr()
    refused(["data", "--data.source", bad, "--out", out], capsys, "ends in .csv", "pandas.read_csv")
    assert (tmp_path / "run" / "data" / "records.parquet").is_file()


def test_the_report_of_a_run_that_is_not_there(tmp_path: Path, capsys: Printed) -> None:
    refused(["report", str(tmp_path / "none")], capsys, "There is no run")
