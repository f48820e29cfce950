"""What a new user types first: folders without a name, shares, counts, and one layout in every verb."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from stillage.cli import main
from stillage.cli.command_line import read_settings
from stillage.errors import ConfigError
from stillage.face.config_source import own_folder
from stillage.run.flags import from_flags
from stillage.run.folder import read_json
from stillage.run.parse import build, from_yaml, table_settings

Printed = pytest.CaptureFixture[str]


def rows(path: Path, count: int, first: int = 0) -> str:
    texts = [
        {"prompt": f"What is {n * 37}?", "response": f"It is {n * 7919 % 1000}."}
        for n in range(first, first + count)
    ]
    path.write_text("\n".join(map(json.dumps, texts)))
    return str(path)


@pytest.mark.parametrize(
    ("words", "out"),
    [
        ("data --data.source answers.jsonl", "runs/data-answers"),
        ("run --data.source answers.jsonl --seed 2", "runs/run-answers"),
        ("data --data.source org/name", "runs/data-org-name"),
        ("data --data.source here/train.jsonl", "runs/data-here-train"),
        ("data --data.source there/train.jsonl", "runs/data-there-train"),
        ("data --data.source task_*.jsonl", "runs/data-task"),
        ("data --data.files.private a.jsonl --data.files.public b.jsonl", "runs/data-a-b"),
        ("data --data.files.private a.jsonl --data.files.public a.jsonl", "runs/data-a"),
        (
            "audit --student s --data.files.private a.jsonl --data.files.nonmembers c.jsonl",
            "runs/audit-a-c",
        ),
        ("run --seed 3", "runs/run-synthetic"),
        ("run mine.yaml", "runs/mine"),
        ("distill mine.yaml --seed 3", "runs/mine"),
        ("run named.yaml", "elsewhere"),
        ("run mine.yaml --out here", "here"),
        ("quickstart", "runs/quickstart"),
        ("run quickstart --data.source answers.jsonl", "runs/quickstart"),
        (
            "run distillm/gpt2/kd_base --data.source a.jsonl --student.revision "
            + "a" * 40
            + " --teacher t --lm.path ''",
            "runs/distillm/gpt2/kd_base",
        ),
    ],
)
def test_each_run_without_a_name_has_a_folder_of_its_own(
    words: str, out: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("mine.yaml").write_text("seed: 2")
    Path("named.yaml").write_text("out: elsewhere")
    verb, *rest = words.replace("''", "_").split()
    flat = read_settings(verb, rest)
    assert (flat["out"][0] if "out" in flat else str(own_folder(verb, rest, flat))) == out


def test_a_name_too_long_for_a_folder_is_cut_and_stays_its_own() -> None:
    names = [f"--data.source={'a' * 200}{end}.jsonl" for end in "bc"]
    first, second = (own_folder("data", [name], from_flags([name])).name for name in names)
    assert first != second and len(first) == len(second) == 80


@pytest.mark.parametrize("verb", ["run", "data", "distill", "audit", "quickstart", "report"])
def test_the_help_of_a_verb_says_where_it_writes(verb: str, capsys: Printed) -> None:
    assert main([verb, "--help"]) == 0
    printed = capsys.readouterr().out
    own = {"quickstart": "runs/quickstart", "report": "the folder of the run that is given"}
    assert own.get(verb, f"runs/{verb}-DATA") in printed
    assert verb == "quickstart" or "runs/quickstart" not in printed


def test_shares_that_are_not_given_keep_their_proportions() -> None:
    def shares(words: str, text: str = "") -> dict[str, float]:
        flat = from_yaml(text, "text") | from_flags(words.split())
        return build(flat).data.shares

    found = shares("--data.shares.private 0.3")
    assert found == pytest.approx(
        {
            "private": 0.3,
            "public": 0.7 * 0.25 / 0.75,
            "nonmembers": 0.7 * 0.2 / 0.75,
            "counterfactual": 0.7 * 0.2 / 0.75,
            "validation": 0.7 * 0.05 / 0.75,
            "test": 0.7 * 0.05 / 0.75,
        }
    )
    assert sum(
        shares("--data.shares.private 0.3 --data.shares.test 0.1").values()
    ) == pytest.approx(1)
    whole = "data: {shares: {private: 0.5, public: 0.5}}"
    assert shares("", whole) == {
        "private": 0.5,
        "public": 0.5,
    }  # nothing is left for others: as presets mean it
    assert shares("--data.shares.counterfactual 0")["counterfactual"] == 0
    every = " ".join(f"--data.shares.{part} 0.1" for part in found)
    assert sum(shares(every).values()) == pytest.approx(
        0.6
    )  # all were given: the rest of the pool is left out


def test_shares_on_the_command_line_take_from_those_of_the_config(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("mine.yaml").write_text("data: {shares: {private: 0.5, public: 0.5}}")
    config = build(read_settings("data", ["mine.yaml", "--data.shares.nonmembers", "0.2"]))
    assert config.data.shares == pytest.approx({"private": 0.4, "public": 0.4, "nonmembers": 0.2})
    with pytest.raises(ConfigError, match=r"data.shares takes numbers"):
        read_settings("data", ["mine.yaml", "--data.shares.nonmembers", "many"])


def test_files_and_columns_replace_as_a_whole() -> None:
    found = table_settings(
        from_flags(["--data.files.private", "a.jsonl", "--data.columns.prompt", "q"])
    )
    assert found == {"data.files": {"private": "a.jsonl"}, "data.columns": {"prompt": "q"}}


def test_data_says_its_folder_and_how_many_records_each_part_got(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Printed
) -> None:
    monkeypatch.chdir(tmp_path)
    rows(Path("answers.jsonl"), 40)
    with Path("answers.jsonl").open("a") as file:
        file.write("\n" + Path("answers.jsonl").read_text().splitlines()[0] + "\nno json\n")
    words = [
        "data",
        "--data.source",
        "answers.jsonl",
        "--data.max-bad-lines",
        "1",
        "--data.group-by",
        "",
    ]
    assert main(words) == 0
    printed = capsys.readouterr()
    assert printed.err.startswith("run folder: runs/data-answers (--out names another)\n")
    assert "1 of 41 records were exact copies" in printed.err
    assert printed.out.splitlines() == [
        "private         10 records",
        "public          10 records",
        "nonmembers       8 records",
        "counterfactual   8 records",
        "validation       2 records",
        "test             2 records",
        "1 of 41 records were exact copies; models trained here see each text once",
        "1 broken lines left out",
        "run folder: runs/data-answers",
    ]
    every = [
        f"--data.shares.{part}=0.1"
        for part in ("private", "public", "nonmembers", "counterfactual", "validation", "test")
    ]
    assert main([*words, *every]) == 0
    assert "records that no part draws: 16" in capsys.readouterr().out
    assert main([*words, *every]) == 0
    assert "skipped" in capsys.readouterr().err


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A teacher and a student like the quickstart's, of a context shorter than any default: raw, saved as a chat template."""
    from stillage.data.bpe import train_bpe
    from stillage.data.chat_templates import as_chat
    from stillage.models.load import load_model, save_model
    from stillage.run.config import ModelConfig

    root = tmp_path_factory.mktemp("models")
    tokenizer = train_bpe(["What is 370? It is 919. " * 9], 270)
    for layout in ("raw", "alpaca"):
        tokenizer.chat_template = as_chat(layout, tokenizer)
        for seed, name in enumerate(("teacher", "student")):
            config = ModelConfig(layers=1, width=16, heads=2, context=64)
            folder = root / (name if layout == "raw" else f"{name}-{layout}")
            save_model(load_model(config, vocab_size=len(tokenizer), seed=seed), tokenizer, folder)
    return root


def test_the_audit_that_the_readme_shows_needs_no_setting(
    models: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Printed
) -> None:
    monkeypatch.chdir(tmp_path)
    given = [
        "--data.files.private",
        rows(Path("a.jsonl"), 12),
        "--data.files.nonmembers",
        rows(Path("c.jsonl"), 12, 50),
    ]
    words = [
        "audit",
        "--student",
        str(models / "student"),
        *given,
        "--threads",
        "1",
        "--audit.fprs",
        "0.3",
    ]
    words += ["--audit.attacks", "loss"]
    alpaca = [*words, "--teacher", str(models / "teacher-alpaca")]
    assert main(alpaca) == 2
    assert (
        "they must read the same text" in (said := capsys.readouterr().err)
        and "student: raw" in said
    )
    assert list(Path().glob("runs/*")) == []
    assert (
        main([*words, "--data.template", "alpaca"]) == 2
    )  # longer than the context, bytes as tokens
    said = capsys.readouterr().err
    assert "32 tokens of 64 for prompt and response" in said and "its template alone" in said
    assert (Path("runs/audit-a-c/data") / "manifest.json").is_file()
    assert (
        main([*words, "--teacher", str(models / "teacher")]) == 0
    )  # only data was done: no flag is needed
    printed = capsys.readouterr()
    assert f"layout of prompts: raw (as {models / 'teacher'} says)" in printed.err
    assert (
        "held no model yet, and is done over with other settings: data.template: alpaca -> auto"
        in printed.err
    )
    assert "report: runs/audit-a-c/report/report.html" in printed.out
    assert main([*words, "--seed", "2"]) == 2  # an audit is never done over without a word
    assert "holds a run with other settings" in capsys.readouterr().err


def test_generate_and_evaluate_read_what_the_folder_says(
    models: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Printed
) -> None:
    monkeypatch.chdir(tmp_path)
    model = str(models / "student")
    assert main(["generate", model, "--prompt", "What is 370?"]) == 0
    said = capsys.readouterr()
    assert said.err == f"layout of prompts: raw (as {model} says)\n" and "layout" not in said.out
    assert (
        main(
            [
                "generate",
                model,
                "--prompt",
                "What?",
                "--template",
                "chat",
                "--generate.max-new-tokens",
                "2",
            ]
        )
        == 0
    )
    assert "layout of prompts: chat (as" in capsys.readouterr().err
    assert main(["generate", f"{model}-alpaca", "--prompt", "What?", "--template", "raw"]) == 0
    assert "warning" in (said := capsys.readouterr().err) and "says alpaca" in said
    words = [
        "evaluate",
        model,
        "--data",
        rows(Path("dev.jsonl"), 4),
        "--decoding",
        "greedy",
        "--out",
        "eval",
    ]
    assert main(words) == 0
    assert f"layout of prompts: raw (as {model} says)" in capsys.readouterr().err
    assert [read_json(path)["template"] for path in Path("eval").rglob("set.json")] == ["raw"]
    words = [
        "run",
        "--stages",
        "evaluate",
        "--student",
        model,
        "--data.files.test",
        "dev.jsonl",
        "--threads",
        "1",
    ]
    assert (
        main(words) == 0
    )  # prompts, answers and examples have room in a context that is shorter than every default
    printed = capsys.readouterr()
    assert (
        "run folder: runs/run-dev" in printed.err
        and "report: runs/run-dev/report/report.html" in printed.out
    )


@pytest.mark.parametrize(("name", "more"), [("notes.jsonl", "notes.jsonl."), ("a.csv", "not read")])
def test_a_data_file_in_the_place_of_a_config_is_named_as_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Printed, name: str, more: str
) -> None:
    monkeypatch.chdir(tmp_path)
    rows(Path(name), 3)
    assert main(["run", name]) == 2
    said = capsys.readouterr().err
    assert f"{name} is a data file, not a config." in said and "YAML." not in said
    assert f"--data.source {name}" in said and more in said
