"""The matrix of data sets, decodings and seeds: its numbers against oracles, and that no cell is ever written twice."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import math
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
import torch
from rouge_score.rouge_scorer import RougeScorer
from sacrebleu.metrics.bleu import BLEU
from scipy.stats import t as student_t

from stillage.cli import main
from stillage.data.bpe import train_bpe
from stillage.data.templates import render_prompt
from stillage.errors import CheckpointError, ConfigError
from stillage.evaluate import matrix
from stillage.evaluate.datasets import EvalSet, open_set
from stillage.evaluate.matrix import collect, decoding_of, run_matrix
from stillage.evaluate.matrix_cells import EvaluatedModel, MatrixTask, PromptLayout
from stillage.evaluate.quality import samples_schema
from stillage.models.load import load_model, load_tokenizer, save_model
from stillage.run.config import ModelConfig
from stillage.run.folder import read_table, write_table
from stillage.types import Result

QUESTIONS = [
    {"instruction": "Name a colour.", "input": "of the sky", "output": ["blue", "light blue"]},
    {"instruction": "Say hello to the world.", "output": "hello world"},
    {"instruction": "Count to three.", "output": "one two three"},
    {"instruction": "Who are you?", "output": ""},
]
LAYOUT = PromptLayout(template="raw", max_prompt_tokens=32)
SHORT = ["--max-new-tokens", "6", "--template", "raw", "--max-prompt-tokens", "32"]


def within(subject: EvaluatedModel, out: Path) -> MatrixTask:
    return MatrixTask(subject=subject, layout=LAYOUT, out=out)


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Two small models, as folders."""
    texts = [json.dumps(row) for row in QUESTIONS] * 3
    tokenizer = train_bpe(texts, 280)
    made = []
    for seed in (1, 2):
        folder = tmp_path_factory.mktemp("models") / f"model{seed}"
        config = ModelConfig(layers=2, width=64, heads=4, context=64)
        model = load_model(config, vocab_size=len(tokenizer), seed=seed)
        with torch.no_grad():
            for parameter in model.parameters():
                if parameter.ndim > 1:
                    parameter.mul_(4)
            model.get_input_embeddings().weight[tokenizer.eos_token_id].mul_(
                3
            )  # so that some answers end
        save_model(model, tokenizer, folder)
        made.append(folder)
    return made


@pytest.fixture(scope="module")
def questions(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("data") / "questions.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in QUESTIONS))
    return path


@pytest.fixture(scope="module")
def subject(folders: list[Path]) -> EvaluatedModel:
    tokenizer = load_tokenizer(str(folders[0]))
    model = load_model(ModelConfig(path=str(folders[0])), vocab_size=len(tokenizer), seed=0)
    return EvaluatedModel(
        name="small", key="a" * 64, model=model, tokenizer=tokenizer, eos_id=0, pad_id=1
    )


@pytest.fixture(scope="module")
def run(
    subject: EvaluatedModel, questions: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[list[Result], Path, EvalSet]]:
    """One matrix: a set of four questions, two decodings, three seeds."""
    out = tmp_path_factory.mktemp("matrix")
    chosen = open_set(str(questions))
    decodings = {name: decoding_of(name, 8) for name in ("as_released", "greedy")}
    yield (
        run_matrix(within(subject, out), [chosen], decodings, [10, 20, 30, 10]),
        out,
        chosen,
    )


def pick(
    results: list[Result], metric: str, decoding: str, seed: int = 0, over: str = ""
) -> Result:
    found = [
        r
        for r in results
        if (r.metric, r.seed, r.over) == (metric, seed, over) and r.decoding.startswith(decoding)
    ]
    assert len(found) == 1
    return found[0]


def hashes(out: Path) -> dict[str, tuple[str, int]]:
    """Content and time of writing of every cell."""
    return {
        str(p): (hashlib.sha256(p.read_bytes()).hexdigest(), p.stat().st_mtime_ns)
        for p in sorted((out / "cells").rglob("*"))
        if p.is_file()
    }


def test_presets_are_the_published_ones() -> None:
    released, paper, greedy = (decoding_of(name) for name in ("as_released", "paper", "greedy"))
    assert dataclasses.asdict(released) == {
        "max_new_tokens": 256,
        "sampling_temperature": 1.0,
        "top_p": 1.0,
        "top_k": 0,
        "no_repeat_ngram": 6,
    }
    assert paper == dataclasses.replace(released, no_repeat_ngram=0)
    assert greedy.sampling_temperature == 0 and greedy.no_repeat_ngram == 0
    assert decoding_of("greedy_no_repeat").no_repeat_ngram == 6
    with pytest.raises(ConfigError, match="known: paper"):
        decoding_of("beam")


def test_numbers_of_a_cell(run: tuple[list[Result], Path, EvalSet], questions: Path) -> None:
    results, out, _ = run
    cell = read_table(next(out.glob("cells/*/*/as_released-*/seed-20.parquet"))).to_pylist()
    assert [row["prompt"] for row in cell] == [row["instruction"] for row in QUESTIONS]
    assert (
        cell[3]["rouge_l"] is None and cell[3]["text"] is not None
    )  # no reference: answered, not scored
    references = [["blue", "light blue"], ["hello world"], ["one two three"]]
    scorer = RougeScorer(["rougeL"], use_stemmer=True)
    expected = [
        max(scorer.score(reference, row["text"])["rougeL"].fmeasure for reference in some)
        for row, some in zip(cell, references, strict=False)
    ]
    rouge = pick(results, "rouge_l", "as_released", 20)
    assert rouge.value == pytest.approx(np.mean(expected)) and rouge.n == 3
    streams = [[some[k] if k < len(some) else None for some in references] for k in range(2)]
    bleu = pick(results, "bleu", "as_released", 20)
    assert bleu.value == pytest.approx(
        BLEU().corpus_score([row["text"] for row in cell[:3]], streams).score
    )
    length = pick(results, "generated_tokens", "as_released", 20)
    assert length.n == 4 and length.value == pytest.approx(np.mean([row["tokens"] for row in cell]))
    assert all(0 < row["tokens"] <= 8 for row in cell)


def test_who_writes_a_cell_first_decides_its_numbers(
    subject: EvaluatedModel, questions: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another process, on another processor, writes other texts while this one makes its own."""
    chosen, answer = open_set(str(questions)), matrix.answer_records
    theirs: list[int] = []

    def beaten(*args: object) -> list[dict[str, Any]]:
        rows = answer(*args)
        theirs.extend(row["tokens"] + 5 for row in rows)
        cells = next(tmp_path.glob("cells/*/*/greedy-*"))
        other = [{**row, "tokens": tokens} for row, tokens in zip(rows, theirs, strict=True)]
        write_table(cells / "seed-0.parquet", pa.Table.from_pylist(other, schema=samples_schema()))
        return rows

    monkeypatch.setattr(matrix, "answer_records", beaten)
    results = run_matrix(
        within(subject, tmp_path), [chosen], {"greedy": decoding_of("greedy", 8)}, [1]
    )
    assert pick(results, "generated_tokens", "greedy").value == pytest.approx(np.mean(theirs))


def test_loss_of_the_references(
    run: tuple[list[Result], Path, EvalSet], subject: EvaluatedModel
) -> None:
    results, _, chosen = run
    nats, tokens = 0.0, 0
    for record in chosen.records[:3]:
        prompt = subject.tokenizer(render_prompt(record, "raw"), add_special_tokens=False)[
            "input_ids"
        ]
        ids = [
            *subject.tokenizer(
                render_prompt(record, "raw") + record.response, add_special_tokens=False
            )["input_ids"],
            0,
        ]
        with torch.no_grad():
            logp = subject.model(input_ids=torch.tensor([ids])).logits[0].double().log_softmax(-1)
        for position in range(len(prompt), len(ids)):
            nats -= float(logp[position - 1, ids[position]])
            tokens += 1
    gold = pick(results, "gold_loss", "")
    assert gold.value == pytest.approx(nats / tokens, rel=1e-4)
    assert gold.n == 3 and gold.low < gold.value < gold.high and gold.unit == "nats per token"


def test_means_over_seeds_and_over_records(run: tuple[list[Result], Path, EvalSet]) -> None:
    results, out, _ = run
    values = [pick(results, "generated_tokens", "as_released", seed).value for seed in (10, 20, 30)]
    texts = {
        tuple(
            read_table(next(out.glob(f"cells/*/*/as_released-*/seed-{seed}.parquet")))[
                "text"
            ].to_pylist()
        )
        for seed in (10, 20, 30)
    }
    assert len(texts) == 3, "seeds must draw different texts"
    over_seeds = pick(results, "generated_tokens", "", over="seeds")
    half = student_t.ppf(0.975, 2) * np.std(values, ddof=1) / math.sqrt(3)
    assert over_seeds.n == 3 and over_seeds.value == pytest.approx(np.mean(values))
    assert (over_seeds.low, over_seeds.high) == pytest.approx(
        (np.mean(values) - half, np.mean(values) + half)
    )
    tables = [
        read_table(path) for path in sorted(out.glob("cells/*/*/as_released-*/seed-??.parquet"))
    ]
    means = np.mean([table["tokens"].to_pylist() for table in tables], axis=0)
    over_records = pick(results, "generated_tokens", "", over="records")
    half = student_t.ppf(0.975, 3) * np.std(means, ddof=1) / math.sqrt(4)
    assert over_records.n == 4 and over_records.high == pytest.approx(np.mean(means) + half)
    assert pick(results, "rouge_l", "", over="records").n == 3


def test_greedy_has_one_cell(run: tuple[list[Result], Path, EvalSet]) -> None:
    _, out, _ = run
    assert [p.name for p in out.glob("cells/*/*/greedy-*/seed-*") if "results" not in p.name] == [
        "seed-0.parquet"
    ]


def test_finished_cells_are_neither_made_again_nor_written(
    run: tuple[list[Result], Path, EvalSet],
    subject: EvaluatedModel,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    results, out, chosen = run
    before = hashes(out)

    def refuse(*_: object) -> None:
        raise AssertionError("a finished cell is made again")

    with monkeypatch.context() as patched:
        patched.setattr(matrix, "answer_records", refuse)
        patched.setattr(matrix, "score_gold", refuse)
        decodings = {name: decoding_of(name, 8) for name in ("as_released", "greedy")}
        again = run_matrix(within(subject, out), [chosen], decodings, [10, 20, 30])
    assert str(again) == str(results) and hashes(out) == before


def test_whatever_differs_stands_beside(
    run: tuple[list[Result], Path, EvalSet], subject: EvaluatedModel, tmp_path: Path
) -> None:
    """Another seed, decoding, layout, model or reference: new cells, the old ones untouched, one view of all."""
    _, kept, chosen = run
    out = shutil.copytree(kept, tmp_path / "out")
    before = hashes(out)
    asked = {"as_released": decoding_of("as_released", 8)}
    shorter = {"as_released": decoding_of("as_released", 5)}
    run_matrix(within(subject, out), [chosen], asked, [40])
    run_matrix(within(subject, out), [chosen], shorter, [10])
    shorter = PromptLayout(template="raw", max_prompt_tokens=8)
    run_matrix(MatrixTask(subject=subject, layout=shorter, out=out), [chosen], asked, [10])
    run_matrix(within(dataclasses.replace(subject, key="b" * 64), out), [chosen], asked, [10])
    fewer = dataclasses.replace(chosen, records=chosen.records[:2])
    run_matrix(within(subject, out), [fewer], asked, [10])
    after = hashes(out)
    assert {path: after[path] for path in before} == before
    texts = [path for path in after if "seed-" in path and "results" not in path]
    assert (
        len(texts)
        == len([path for path in before if "seed-" in path and "results" not in path]) + 5
    )
    view = collect(out)
    names = [(r.run, r.dataset, r.metric, r.decoding, r.over, r.seed) for r in view]
    assert len(names) == len(set(names)), "two results have one name"
    assert len({r.run for r in view}) == 2 and len({r.dataset for r in view}) == 3
    assert read_table(out / "results.parquet").num_rows == len(view)


def test_an_interrupted_matrix_goes_on(
    subject: EvaluatedModel, questions: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    chosen, asked = open_set(str(questions)), {"paper": decoding_of("paper", 6)}
    whole = run_matrix(within(subject, tmp_path / "whole"), [chosen], asked, [1, 2])
    real = matrix.answer_records

    def stop_at_2(*args: object) -> object:
        if args[3] == 2:
            raise KeyboardInterrupt
        return real(*args)

    with monkeypatch.context() as patched:
        patched.setattr(matrix, "answer_records", stop_at_2)
        with pytest.raises(KeyboardInterrupt):
            run_matrix(within(subject, tmp_path / "cut"), [chosen], asked, [1, 2])
    next(
        (tmp_path / "cut").glob("cells/*/*/*/seed-1.results.parquet")
    ).unlink()  # stopped between texts and results
    first = next((tmp_path / "cut").glob("cells/*/*/*/seed-1.parquet")).stat().st_mtime_ns
    assert str(run_matrix(within(subject, tmp_path / "cut"), [chosen], asked, [1, 2])) == str(whole)
    assert next((tmp_path / "cut").glob("cells/*/*/*/seed-1.parquet")).stat().st_mtime_ns == first


def test_a_damaged_cell_is_named_not_overwritten(
    subject: EvaluatedModel, questions: Path, tmp_path: Path
) -> None:
    chosen, asked = open_set(str(questions)), {"greedy": decoding_of("greedy", 4)}
    run_matrix(within(subject, tmp_path), [chosen], asked, [1])
    damaged = next(tmp_path.glob("cells/*/*/*/seed-0.results.parquet"))
    damaged.write_bytes(damaged.read_bytes()[:-9])
    kept = damaged.read_bytes()
    with pytest.raises(CheckpointError, match="Delete this file"):
        run_matrix(within(subject, tmp_path), [chosen], asked, [1])
    assert damaged.read_bytes() == kept


def test_the_command(
    folders: list[Path], questions: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = [
        "evaluate",
        str(folders[0]),
        "--data",
        str(questions),
        "--seeds",
        "10",
        "20",
        *SHORT,
        "--out",
        str(tmp_path),
    ]
    assert main([*words, "--teacher", str(folders[1]), "--rollouts", "2"]) == 0
    printed = capsys.readouterr()
    assert "1 records without a reference" in printed.err and "seed 20: written" in printed.err
    lines = printed.out.splitlines()
    assert lines[0].split()[:3] == ["data", "set", "decoding"] and lines[1].split()[1:4] == [
        "as_released",
        "4",
        "2",
    ]
    assert "excess accumulated error" in printed.out
    curve = read_table(next(tmp_path.glob("cells/*/*/exposure-????????.parquet")))
    assert curve["tokens"].to_pylist() == [1, 2, 3, 4, 5, 6] and set(
        curve["prompts"].to_pylist()
    ) == {4}
    before = hashes(tmp_path)
    assert main([*words, "--teacher", str(folders[1]), "--rollouts", "2"]) == 0
    again = capsys.readouterr()
    assert again.out == printed.out and "seed 20: found" in again.err and hashes(tmp_path) == before
    next(tmp_path.glob("cells/*/*/exposure-????????.parquet")).unlink()
    assert main([*words, "--teacher", str(folders[1]), "--rollouts", "2"]) == 0
    assert capsys.readouterr().out == printed.out  # a table that was deleted is measured again
    assert hashes(tmp_path).keys() == before.keys()
    metrics = set(read_table(tmp_path / "results.parquet")["metric"].to_pylist())
    assert metrics == {
        "rouge_l",
        "rouge_l_published",
        "exact_match",
        "bleu",
        "chrf",
        "generated_tokens",
        "gold_loss",
        "excess_accumulated_error",
    }


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["nowhere", "--data", "dolly@" + "0" * 39], "wanted: 40 hexadecimal"),
        (["MODEL"], "What shall the model answer?"),
        (["MODEL", "--data", "dolyl"], "Did you mean dolly?"),
        (["--data", "dolly"], "Which model?"),
        (["MODEL", "--data", "FILE", "--max-new-tokens", "64"], "leaves no room"),
        (["MODEL", "--data", "FILE", "--max-new-tokens", "-1"], "max_new_tokens -1"),
        (["nowhere", "--data", "FILE"], "neither a folder here nor"),
        (["nowhere.yaml"], "no config"),
    ],
)
def test_mistakes_are_three_lines(
    words: list[str],
    said: str,
    folders: list[Path],
    questions: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    real = {"MODEL": str(folders[0]), "FILE": str(questions)}
    assert main(["evaluate", *(real.get(word, word) for word in words)]) == 2
    error = capsys.readouterr().err
    assert said in error and "Traceback" not in error
    assert not list(tmp_path.rglob("*.parquet"))


def test_a_config_or_run_still_means_the_stage(monkeypatch: pytest.MonkeyPatch) -> None:
    from stillage.cli import runs as run_module

    calls: list[tuple[str, list[str]]] = []
    monkeypatch.setattr(run_module, "main", lambda verb, words: calls.append((verb, words)) or 0)
    assert main(["evaluate", "quickstart", "--data.people", "16"]) == 0
    assert calls == [("evaluate", ["quickstart", "--data.people", "16"])]
