"""What was kept answers only for what decided it: each input is changed in turn, and exactly the right things are redone."""

from __future__ import annotations

import dataclasses
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

from stillage.data.bpe import train_bpe
from stillage.errors import CheckpointError
from stillage.evaluate import matrix
from stillage.evaluate import matrix_cells as cells
from stillage.evaluate.datasets import open_set
from stillage.evaluate.matrix import decoding_of, run_matrix
from stillage.evaluate.matrix_cells import MatrixTask, PromptLayout
from stillage.face.evaluation import load_subject
from stillage.models.identity import folder_hash
from stillage.models.load import load_model, load_tokenizer, save_model
from stillage.models.query import token_stats
from stillage.run.config import ModelConfig
from stillage.run.folder import read_json, write_json
from stillage.run.results import read_results

ROWS = [
    {"prompt": f"Say the word {word} to me, please.", "response": word}
    for word in ("red", "green", "blue")
]
CHAT = "{% for m in messages %}<{{ m['role'] }}> {{ m['content'] }}\n{% endfor %}"
LAYOUT = PromptLayout(template="chat", max_prompt_tokens=48)
START = {"decoding": "greedy", "tokens": 4, "seed": 10, "layout": LAYOUT, "dtype": "float32"}


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model's folder with a chat template, and a file of records."""
    folder = tmp_path_factory.mktemp("made")
    tokenizer = train_bpe([json.dumps(row) for row in ROWS] * 3, 270)
    tokenizer.chat_template = CHAT
    config = ModelConfig(layers=2, width=32, heads=2, context=96)
    save_model(load_model(config, vocab_size=len(tokenizer), seed=1), tokenizer, folder / "model")
    write_rows(folder, ROWS)
    return folder


def write_rows(folder: Path, rows: list[dict[str, str]]) -> None:
    (folder / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))


def other_weights(folder: Path) -> None:
    tokenizer = load_tokenizer(str(folder / "model"))
    model = load_model(ModelConfig(path=str(folder / "model")), vocab_size=len(tokenizer), seed=0)
    with torch.no_grad():
        next(model.parameters())[0, 0] += 0.5
    save_model(model, tokenizer, folder / "model")


def other_config(folder: Path) -> None:
    config = read_json(folder / "model" / "config.json")
    write_json(folder / "model" / "config.json", {**config, "layer_norm_epsilon": 1e-3})


def other_chat(folder: Path) -> None:
    tokenizer = load_tokenizer(str(folder / "model"))
    tokenizer.chat_template = f"Be kind.\n{CHAT}"
    tokenizer.save_pretrained(folder / "model")


def other_special(folder: Path) -> None:
    tokenizer = load_tokenizer(str(folder / "model"))
    tokenizer.add_special_tokens({"additional_special_tokens": ["e"]})
    tokenizer.save_pretrained(folder / "model")


def other_merges(folder: Path) -> None:
    """The same vocabulary, cut otherwise."""
    path = folder / "model" / "tokenizer.json"
    content = json.loads(path.read_text())
    content["model"]["merges"] = content["model"]["merges"][:2]
    path.write_text(json.dumps(content))


def a_readme(folder: Path) -> None:
    (folder / "model" / "README.md").write_text("mended")


def other_answer(folder: Path) -> None:
    write_rows(folder, [{**ROWS[0], "response": "pink"}, *ROWS[1:]])


def turned_round(folder: Path) -> None:
    write_rows(folder, ROWS[::-1])


def other_columns(folder: Path) -> None:
    write_rows(folder, [{"instruction": row["prompt"], "output": row["response"]} for row in ROWS])


def nothing(folder: Path) -> None:
    pass


Change = Callable[[Path], None]
MATRIX: dict[str, tuple[Change, dict[str, object], bool, bool]] = {
    # name: what is done to the files, what is asked otherwise, is the loss measured again, are the prompts answered again
    "nothing": (nothing, {}, False, False),
    "a note in the folder": (a_readme, {}, False, False),
    "names of columns": (other_columns, {}, False, False),
    "weights": (other_weights, {}, True, True),
    "configuration": (other_config, {}, True, True),
    "rules of the tokenizer": (other_merges, {}, True, True),
    "special tokens": (other_special, {}, True, True),
    "chat template": (other_chat, {}, True, True),
    "an answer of the data": (other_answer, {}, True, True),
    "order of the data": (turned_round, {}, True, True),
    "precision": (nothing, {"dtype": "bfloat16"}, True, True),
    "template": (nothing, {"layout": dataclasses.replace(LAYOUT, template="raw")}, True, True),
    "prompt limit": (
        nothing,
        {"layout": dataclasses.replace(LAYOUT, max_prompt_tokens=24)},
        True,
        True,
    ),
    "length of the answers": (nothing, {"tokens": 5}, False, True),
    "decoding": (nothing, {"decoding": "paper"}, False, True),
    "seed of a greedy answer": (nothing, {"seed": 11}, False, False),
}


def evaluated(
    folder: Path,
    done: list[str],
    decoding: str,
    tokens: int,
    seed: int,
    layout: PromptLayout,
    dtype: str,
) -> None:
    """Fill the matrix in folder/out; `done` gets what was computed."""
    subject = load_subject(ModelConfig(path=str(folder / "model"), dtype=dtype))  # pyright: ignore[reportArgumentType]
    decodings = {decoding: decoding_of(decoding, tokens)}
    chosen = open_set(str(folder / "rows.jsonl"))
    evaluation = MatrixTask(subject=subject, layout=layout, out=folder / "out", say=done.append)
    run_matrix(evaluation, [chosen], decodings, [seed])


@pytest.fixture(scope="module")
def evaluated_once(made: Path) -> Path:
    evaluated(made, [], **START)  # pyright: ignore[reportArgumentType]
    return made


@pytest.mark.parametrize("name", MATRIX)
def test_evaluation(
    evaluated_once: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    change, asked, scores, answers = MATRIX[name]
    shutil.copytree(evaluated_once, tmp_path / "made")
    folder = tmp_path / "made"
    for about in (folder / "out").glob("cells/*/model.json"):  # the copy is the same place
        write_json(about, {**read_json(about), "where": str((folder / "model").resolve())})
    change(folder)
    done: list[str] = []
    measured, real = [], matrix.score_gold
    monkeypatch.setattr(matrix, "score_gold", lambda *args: measured.append(1) or real(*args))
    evaluated(folder, done, **{**START, **asked})  # pyright: ignore[reportArgumentType]
    assert bool(measured) == scores
    assert done[-1].endswith("written" if answers else "found")
    # the view has one loss for each question: that of the model as it is now
    losses = [
        row for row in read_results(folder / "out" / "results.parquet") if row.metric == "gold_loss"
    ]
    same_question = not asked.keys() & {"layout", "dtype"} and "data" not in name
    assert len(losses) == 1 if same_question else len(losses) == 2
    assert any("is not what it was" in line for line in done) == (scores and same_question)


def test_evaluation_with_another_layout_does_not_depend_on_the_chat_template(
    made: Path, tmp_path: Path
) -> None:
    shutil.copytree(made, tmp_path / "made", ignore=shutil.ignore_patterns("out"))
    folder, raw, done = (
        tmp_path / "made",
        {**START, "layout": dataclasses.replace(LAYOUT, template="raw")},
        [],
    )
    evaluated(folder, [], **raw)  # pyright: ignore[reportArgumentType]
    other_chat(folder)
    evaluated(folder, done, **raw)  # pyright: ignore[reportArgumentType]
    assert done[-1].endswith("found")


def loss_in(folder: Path) -> list[float]:
    return [
        row.value
        for row in read_results(folder / "out" / "results.parquet")
        if row.metric == "gold_loss"
    ]


def test_evaluation_goes_back_with_the_template(evaluated_once: Path, tmp_path: Path) -> None:
    """A template mended and put back: the first answers are found, and are in the view again."""
    folder = tmp_path / "made"
    shutil.copytree(evaluated_once, folder, ignore=shutil.ignore_patterns("out"))
    evaluated(folder, [], **START)  # pyright: ignore[reportArgumentType]
    first = loss_in(folder)
    shutil.copytree(folder / "model", tmp_path / "before")
    other_chat(folder)
    evaluated(folder, [], **START)  # pyright: ignore[reportArgumentType]
    assert loss_in(folder) != first
    shutil.rmtree(folder / "model")
    shutil.copytree(tmp_path / "before", folder / "model")
    done: list[str] = []
    evaluated(folder, done, **START)  # pyright: ignore[reportArgumentType]
    assert done[-1].endswith("found")
    assert loss_in(folder) == first


def test_evaluation_schema(
    evaluated_once: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copytree(evaluated_once, tmp_path / "made")
    monkeypatch.setattr(cells, "SCHEMA", cells.SCHEMA + 1)
    done: list[str] = []
    evaluated(tmp_path / "made", done, **START)  # pyright: ignore[reportArgumentType]
    assert done[-1].endswith("written")


SCORES: dict[str, tuple[Change, bool]] = {
    "nothing": (nothing, False),
    "a note in the folder": (a_readme, False),
    "weights": (other_weights, True),
    "configuration": (other_config, True),
    "rules of the tokenizer": (other_merges, True),
    "chat template": (other_chat, True),
    "an answer of the data": (other_answer, True),
    "order of the data": (turned_round, True),
}


@pytest.mark.parametrize("name", SCORES)
def test_scores(made: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    """The cache of token statistics: named by the model's folder and the tokens."""
    change, again = SCORES[name]
    folder = tmp_path / "made"
    shutil.copytree(made, folder, ignore=shutil.ignore_patterns("out"))

    def scored(dtype: str = "float32") -> None:
        subject = load_subject(ModelConfig(path=str(folder / "model"), dtype=dtype))  # pyright: ignore[reportArgumentType]
        asked = cells.encode_set(subject, open_set(str(folder / "rows.jsonl")), LAYOUT)
        token_stats(
            subject.model, asked.gold, cache=tmp_path / "cache", key=folder_hash(folder / "model")
        )

    scored()
    change(folder)
    scored()
    assert len(list((tmp_path / "cache").iterdir())) == 1 + again
    if name == "nothing":
        scored("bfloat16")
        monkeypatch.setattr("stillage.models.score_cache.SCHEMA", 99)
        scored()
        assert len(list((tmp_path / "cache").iterdir())) == 3


def chatty(small: SimpleNamespace) -> object:
    tokenizer = small.tokenizer()
    tokenizer.chat_template = CHAT
    return tokenizer


DISTILLED = {"decoding": "greedy", "max_new_tokens": 3}
TRAINED: dict[str, tuple[Callable[[SimpleNamespace], dict[str, object]], str]] = {
    # name: what is given otherwise, and what is said to differ; "": the finished training answers
    "nothing": (lambda small: {}, ""),
    "order of the records": (lambda small: {"examples": small.examples(20)[::-1]}, ""),
    "records in memory at once": (lambda small: {"micro_batch_size": 2}, ""),
    "teacher": (lambda small: {"teacher": small.model(seed=9, width=48)}, "teacher"),
    "teacher's configuration": (
        lambda small: {"teacher": bent(small.model(seed=1, width=48))},
        "teacher",
    ),
    "initial weights": (lambda small: {"student": small.model(seed=9)}, "initial_weights"),
    "records": (lambda small: {"examples": small.examples(19)}, "data"),
    "validation": (lambda small: {"validation": small.examples(5, name="v")}, "validation"),
    "method": (lambda small: {"method": "kd", "settings": {}}, "method"),
    "its params": (lambda small: {"settings": {**DISTILLED, "ce_weight": 0.5}}, "params.ce_weight"),
    "rollout": (
        lambda small: {"settings": {**DISTILLED, "max_new_tokens": 4}},
        "rollout.decoding.max_new_tokens",
    ),
    "steps": (lambda small: {"max_steps": 2}, "max_steps"),
    "seed": (lambda small: {"seed": 8}, "seed"),
}


def bent(model: torch.nn.Module) -> torch.nn.Module:
    model.config.scale_attn_weights = False  # pyright: ignore[reportAttributeAccessIssue, reportArgumentType]
    return model


@pytest.fixture(scope="module")
def trained(small: SimpleNamespace, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("trained") / "student"
    small.train(folder, method="seqkd", settings=DISTILLED, max_steps=1)
    return folder


def contents(folder: Path) -> dict[str, bytes]:
    return {str(path): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


@pytest.mark.parametrize("name", TRAINED)
def test_training(small: SimpleNamespace, trained: Path, name: str) -> None:
    """A finished folder answers the very call it was made for, and refuses, untouched, every other one."""
    change, differs = TRAINED[name]
    asked = {"method": "seqkd", "settings": DISTILLED, "max_steps": 1, **change(small)}
    before = contents(trained)
    if differs:
        with pytest.raises(CheckpointError, match="finished training") as caught:
            small.train(trained, **asked)
        assert f"{differs}: " in str(caught.value).splitlines()[1]
    else:
        small.train(trained, **asked)
    assert contents(trained) == before


def test_training_tokenizer_and_schema(
    small: SimpleNamespace, trained: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = {"method": "seqkd", "settings": DISTILLED, "max_steps": 1}
    with monkeypatch.context() as patched:
        patched.setattr("stillage.distill.training_identity.SCHEMA", 99)
        with pytest.raises(CheckpointError, match="another version"):
            small.train(trained, **asked)
    chat = chatty(small)
    monkeypatch.setitem(small.train.__globals__, "small_tokenizer", lambda: chat)
    with pytest.raises(CheckpointError, match="\ntokenizer: "):
        small.train(trained, **asked)
