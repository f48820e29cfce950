"""The recipe of the pretrained model: bad wheels, no network, and (slow) its use."""

from __future__ import annotations

import importlib.util
import json
import math
import os
import subprocess
import sys
import zipfile
from pathlib import Path
from types import ModuleType

import pytest
import torch

from stillage.cli import main
from stillage.models.load import load_model, load_tokenizer
from stillage.run.config import ModelConfig
from stillage.run.folder import sha256_text
from stillage.run.results import read_results

pytest.importorskip("gguf", reason="the extra [gguf] is not installed")

RECIPE = Path(__file__).parents[2] / "recipes" / "pretrained"
QUESTIONS = RECIPE / "questions.jsonl"
OFFLINE = "could not be fetched from PyPI"
Printed = pytest.CaptureFixture[str]


def recipe() -> ModuleType:
    spec = importlib.util.spec_from_file_location("pretrained_fetch", RECIPE / "fetch.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def wheel_of(path: Path, **files: str) -> Path:
    with zipfile.ZipFile(path, "w") as archive:
        for name, text in files.items():
            archive.writestr(f"package/{name}.gguf", text)
        archive.writestr("package/__init__.py", "")
    return path


def refused(words: list[str], folder: Path, printed: Printed, *said: str) -> None:
    before = sorted(folder.parent.iterdir())
    assert recipe().main([str(folder), *words]) == 2
    text = printed.readouterr().err
    assert len(text.splitlines()) == 3 and "Traceback" not in text, text
    missing = [word for word in said if word not in text]
    assert not missing, f"{missing} not in:\n{text}"
    assert sorted(folder.parent.iterdir()) == before


def test_without_a_network(
    tmp_path: Path, capsys: Printed, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("pip", reason="this environment has no pip")
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_CONFIG_FILE", os.devnull)
    refused(
        [], tmp_path / "m", capsys, OFFLINE, "pip: ERROR: No matching distribution", "--wheel FILE"
    )


def test_a_connection_that_is_refused_is_named(
    tmp_path: Path, capsys: Printed, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("pip", reason="this environment has no pip")
    monkeypatch.setenv("PIP_INDEX_URL", "http://127.0.0.1:9/simple")
    monkeypatch.setenv("PIP_CONFIG_FILE", os.devnull)
    for name in ("HTTP_PROXY", "http_proxy", "PIP_PROXY", "PIP_EXTRA_INDEX_URL", "PIP_FIND_LINKS"):
        monkeypatch.delenv(name, raising=False)
    refused([], tmp_path / "m", capsys, OFFLINE, "connection", "--wheel FILE")


def test_wheels_that_are_not_the_recipe_s(tmp_path: Path, capsys: Printed) -> None:
    (tmp_path / "text.whl").write_text("not a wheel")
    cases = {
        tmp_path / "absent.whl": ("not a wheel that can be read", "No such file"),
        tmp_path / "text.whl": ("not a wheel that can be read", "BadZipFile"),
        wheel_of(tmp_path / "none.whl"): ("does not hold one GGUF file", "found: none"),
        wheel_of(tmp_path / "two.whl", a="x", b="y"): (
            "does not hold one",
            "package/a.gguf, package/b.gguf",
        ),
        wheel_of(tmp_path / "other.whl", a="GGUF"): (
            "another model than the recipe's",
            f"sha256: {sha256_text('GGUF')}",
        ),
    }
    for wheel, said in cases.items():
        refused(["--wheel", str(wheel)], tmp_path / "m", capsys, wheel.name, *said)


def test_a_folder_that_holds_something_else(tmp_path: Path, capsys: Printed) -> None:
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.txt").write_text("years of work")
    refused([], tmp_path / "mine", capsys, "has other content")


@pytest.fixture(scope="module")
def smollm2(request: pytest.FixtureRequest) -> Path:
    """The converted model, by the recipe's command; kept in pytest's cache."""
    pytest.importorskip("pip", reason="this environment has no pip")
    cache = request.config.cache
    assert cache is not None
    folder = Path(os.environ.get("STILLAGE_PRETRAINED") or cache.mkdir("pretrained") / "smollm2")
    words = [sys.executable, str(RECIPE / "fetch.py"), str(folder)]
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    if done.returncode == 2 and OFFLINE in done.stderr:
        pytest.skip("PyPI cannot be reached: " + done.stderr.splitlines()[1])
    assert done.returncode == 0, done.stderr
    assert "The capital of France is Paris.<|im_end|>" in done.stdout
    return folder


@pytest.mark.slow
def test_it_answers(smollm2: Path, capsys: Printed) -> None:
    assert main(["generate", str(smollm2), "--prompt", "What is the capital of France?"]) == 0
    assert capsys.readouterr().out.strip() == "The capital of France is Paris."


@pytest.mark.slow
def test_plain_english_is_likely_and_the_same_words_in_disorder_are_not(smollm2: Path) -> None:
    """A wrong rotation or a lost norm gives hundreds, and still writes words."""
    tokenizer = load_tokenizer(str(smollm2))
    model = load_model(ModelConfig(path=str(smollm2)), vocab_size=len(tokenizer), seed=0)
    plain = " ".join(json.loads(line)["response"] for line in QUESTIONS.read_text().splitlines())
    disorder = " ".join(sorted(plain.split(), key=sha256_text))
    found = []
    for text in (plain, disorder):
        ids = torch.tensor([tokenizer(text).input_ids])
        with torch.no_grad():
            found.append(math.exp(model(ids, labels=ids).loss.item()))
    assert found[0] < 20 and found[1] > 10 * found[0], found


@pytest.mark.slow
def test_it_is_evaluated(smollm2: Path, tmp_path: Path, capsys: Printed) -> None:
    words = [
        "--data",
        str(QUESTIONS),
        "--records",
        "8",
        "--template",
        "chat",
        "--decoding",
        "greedy",
        "--seeds",
        "1",
    ]
    assert (
        main(
            [
                "evaluate",
                str(smollm2),
                *words,
                "--max-new-tokens",
                "24",
                "--out",
                str(tmp_path / "cells"),
            ]
        )
        == 0
    )
    assert "greedy" in capsys.readouterr().out
    found = {
        result.metric: result for result in read_results(tmp_path / "cells" / "results.parquet")
    }
    assert found["rouge_l"].n == 8 and found["rouge_l"].value > 0.2
    assert found["gold_loss"].value < 3


@pytest.mark.slow
def test_an_audit_of_texts_it_never_saw_finds_no_leak(
    smollm2: Path, tmp_path: Path, capsys: Printed
) -> None:
    lines = QUESTIONS.read_text().splitlines()
    for name, half in (("members", lines[:24]), ("nonmembers", lines[24:])):
        (tmp_path / f"{name}.jsonl").write_text("\n".join(half) + "\n")
    words = [
        "--data.files.private",
        str(tmp_path / "members.jsonl"),
        "--data.files.nonmembers",
        str(tmp_path / "nonmembers.jsonl"),
        "--data.template",
        "chat",
        "--audit.attacks",
        "loss",
        "min_k",
        "zlib",
        "--audit.extract-tokens",
        "4",
        "--threads",
        "1",
        "--jobs",
        "1",
        "--out",
        str(tmp_path / "run"),
    ]
    assert main(["audit", "--student", str(smollm2), *words]) == 0
    said = capsys.readouterr().out.lower()  # 24 records of each side cannot show that there is none
    assert "too few records to tell" in said
    assert "leaks" not in said.replace("where nothing leaks", "")  # how many records would do
    found = [
        r
        for r in read_results(tmp_path / "run" / "audit" / "results.parquet")
        if r.metric == "auc" and r.model == "student"
    ]
    assert found and all(result.low < 0.5 < result.high for result in found)
