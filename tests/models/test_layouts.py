"""One rule for the layout of a run: the models' folders, else Alpaca; and all models that are compared read one text."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from stillage.data.bpe import train_bpe
from stillage.data.chat_templates import AS_CHAT
from stillage.errors import ConfigError
from stillage.experiment.context import make_context
from stillage.experiment.plan import plan
from stillage.models.layouts import layout_notes
from stillage.run.flags import from_flags
from stillage.run.parse import build
from stillage.run.stages import stage_keys
from stillage.run.stop import Stop

OTHER, ANOTHER = (
    "{% for m in messages %}<{{ m.role }}>{{ m.content }}{% endfor %}",
    "{{ messages[0].content }}!",
)
TEMPLATES = {
    "raw": AS_CHAT["raw"],
    "alpaca": AS_CHAT["alpaca"],
    "chat": OTHER,
    "chat2": ANOTHER,
    "none": None,
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folders with a tokenizer each, and what the layout is read from: NAME-1 and NAME-2 are alike."""
    root = tmp_path_factory.mktemp("folders")
    for name, template in TEMPLATES.items():
        for number in (1, 2):
            tokenizer = train_bpe(["some words"], 280)
            tokenizer.chat_template = template
            tokenizer.save_pretrained(root / f"{name}-{number}")
    (root / "adapter").mkdir()
    (root / "adapter" / "adapter_config.json").write_text('{"base_model_name_or_path": "../raw-1"}')
    (root / "moved" / "model").mkdir(parents=True)
    (root / "moved" / "model" / "adapter_config.json").write_text(
        '{"base_model_name_or_path": "/gone/base"}'
    )
    shutil.copytree(root / "raw-1", root / "moved" / "base")
    return root


def notes(folder: Path, words: str, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    monkeypatch.chdir(folder)
    files = "--data.files.private a.jsonl --data.files.nonmembers b.jsonl --out run"
    config = build(from_flags([*files.split(), *words.split()]))
    specs = make_context(config, Stop(), lambda name, facts: None).specs
    used = [spec.name for spec in specs if not spec.is_trained]
    return layout_notes(config, used, trains=len(used) < len(specs))


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (
            "--stages audit --teacher raw-1 --student raw-2",
            ["layout of prompts: raw (as raw-1 says)"],
        ),
        (
            "--stages audit --teacher none-1 --student alpaca-1",
            ["layout of prompts: alpaca (none-1 has no chat template)"],
        ),
        (
            "--stages audit --teacher chat-1 --student chat-2",
            ["layout of prompts: chat (as chat-1 says)"],
        ),
        ("--stages audit --student.adapter adapter", ["layout of prompts: raw (as adapter says)"]),
        (
            "--stages audit --student.adapter moved/model",
            ["layout of prompts: raw (as moved/model says)"],
        ),
        (
            "--stages audit --student chat-1 --audit.reference raw-1",
            [
                "layout of prompts: chat (as chat-1 says)",
                "warning: the reference reads a layout of its own: audit.reference raw-1: raw",
            ],
        ),
        ("--stages audit --student raw-1 --data.template raw", []),
        ("--stages audit --student none-1 --data.template raw", []),
        (
            "--stages audit --student chat-1 --data.template raw",
            [
                "warning: prompts are laid out as raw, as data.template says, and not as in student chat-1: a chat template of its "
                "own"
            ],
        ),
        (
            "--stages audit --teacher chat-1 --student chat2-1 --data.template chat",
            [
                "warning: each model reads its own chat template, and they differ: teacher chat-1: a chat template of its own; "
                "student chat2-1: a chat template of its own"
            ],
        ),
        ("--stages distill", ["layout of prompts: alpaca"]),
        ("--stages distill --data.template raw", []),
        (
            "--stages distill --teacher chat-1 --teacher-train.epochs 0",
            ["layout of prompts: chat (as chat-1 says)"],
        ),
        (
            "--stages distill --teacher chat-1 --teacher-train.epochs 0 --student chat2-1",
            [
                "layout of prompts: chat (as chat-1 says)",
                "warning: student starts from chat2-1, which has another chat template",
            ],
        ),
        ("--stages distill --tokenizer.path raw-1", ["layout of prompts: raw (as raw-1 says)"]),
        (
            f"--stages audit --student org/name --student.revision {'a' * 40}",
            ["layout of prompts: the chat template of the model, else alpaca"],
        ),
    ],
)
def test_the_folder_decides_and_what_goes_against_it_is_said(
    words: str, said: list[str], folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert notes(folder, words, monkeypatch) == said


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (
            "--stages audit --teacher chat-1 --student raw-1",
            "teacher chat-1: a chat template of its own; student raw-1: raw",
        ),
        (
            "--stages audit --teacher none-1 --student raw-1",
            "teacher none-1: alpaca, it has no chat template; student raw-1",
        ),
        (
            "--stages audit --teacher chat-1 --student chat2-1",
            "student chat2-1: a chat template of its own",
        ),
        (
            "--stages distill --teacher chat-1 --teacher-train.epochs 0 --tokenizer.path raw-1",
            "tokenizer raw-1: raw",
        ),
        (
            "--stages audit --student none-1 --data.template chat",
            "student none-1: alpaca, it has no chat template",
        ),
    ],
)
def test_models_that_would_read_different_texts_are_refused_where_nobody_chose(
    words: str, said: str, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(ConfigError) as caught:
        notes(folder, words, monkeypatch)
    assert said in str(caught.value) and len(str(caught.value).splitlines()) == 3


def test_a_changed_chat_template_does_what_it_decides_again(folder: Path, tmp_path: Path) -> None:
    import shutil

    model = tmp_path / "model"
    shutil.copytree(folder / "raw-1", model)
    for name in "ab":
        (tmp_path / f"{name}.jsonl").write_text("{}")
    files = [
        f"--data.files.{part}={tmp_path / name}.jsonl"
        for part, name in (("private", "a"), ("nonmembers", "b"))
    ]

    def found(*words: str) -> dict[str, str]:
        config = build(from_flags([*files, *words]))
        return stage_keys(plan(make_context(config, Stop(), lambda name, facts: None)))

    for words in (["--stages", "audit", "--student", str(model)], ["--tokenizer.path", str(model)]):
        before = found(*words)
        path = model / "chat_template.jinja"
        path.write_text(path.read_text() + "{# changed #}")
        after = found(*words)
        assert {name for name in before if before[name] == after[name]} == {"data"}


def test_reading_it_loads_no_torch(folder: Path) -> None:
    code = (
        "import sys; from stillage.cli import main; code = main(sys.argv[1:]);"
        "print('HEAVY', [name for name in ('torch', 'transformers') if name in sys.modules]); sys.exit(code)"
    )
    (folder / "a.jsonl").write_text("{}")
    words = "audit --dry-run --student chat-1 --data.files.private a.jsonl --data.files.nonmembers a.jsonl"
    done = subprocess.run(
        [sys.executable, "-c", code, *words.split()],
        capture_output=True,
        text=True,
        check=False,
        cwd=folder,
    )
    assert (
        "HEAVY []" in done.stdout and "layout of prompts: chat (as chat-1 says)" in done.stderr
    ), done.stderr
