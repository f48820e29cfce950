"""Plain text beside a method: its own mean, its own loader, the same result however the step is cut up or stopped."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from stillage.corpus.lm_text import PlainTextLoss, open_corpus
from stillage.corpus.token_blocks import block_numbers, write_blocks
from stillage.corpus.tokenizers import rules_hash
from stillage.errors import CheckpointError, ConfigError, DataError, Interrupted, ModelError
from stillage.rng import generator
from stillage.run.config import LmConfig

CONFTEST = Path(__file__).parents[1] / "conftest.py"
BLOCK = 12


def corpus(
    small: SimpleNamespace, path: Path, coef: float = 0.7, batch_size: int = 3
) -> PlainTextLoss:
    rng = generator(3, "corpus")
    documents = [
        np.append(rng.integers(3, small.VOCAB, int(rng.integers(3, 30))), 0) for _ in range(12)
    ]
    write_blocks(
        path,
        documents,
        block_tokens=BLOCK,
        vocab_size=small.VOCAB,
        tokenizer=rules_hash(small.tokenizer()),
    )
    config = LmConfig(path=str(path), coef=coef, batch_size=batch_size)
    found = open_corpus(config, small.tokenizer(), path.parent)
    assert found is not None
    return found


def lines(folder: Path) -> list[dict[str, float]]:
    return [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]


@pytest.mark.parametrize("method", ["sft", "kd"])
def test_the_term_is_coef_times_the_mean_over_its_own_tokens(
    small: SimpleNamespace, tmp_path: Path, method: str
) -> None:
    """Oracle: transformers' own loss on the blocks of the first step; the method's own terms are what they are without."""
    text = corpus(small, tmp_path / "corpus.safetensors")
    small.train(tmp_path / "with", method=method, corpus=text, max_steps=2, validate_every=0)
    small.train(tmp_path / "without", method=method, max_steps=2, validate_every=0)
    numbers = block_numbers(0, 3, len(text.blocks.blocks_NT), 7)
    ids = torch.tensor(text.blocks.blocks_NT[numbers].astype(np.int64))
    with torch.no_grad():
        expected = 0.7 * small.model(seed=2)(input_ids=ids, labels=ids).loss.item()
    one, other = lines(tmp_path / "with")[0], lines(tmp_path / "without")[0]
    assert one["lm"] == pytest.approx(expected, rel=1e-5)
    own = "ce" if method == "sft" else "kd"
    assert one[own] == pytest.approx(other[own], rel=1e-5)
    assert one["loss"] == pytest.approx(other["loss"] + expected, rel=1e-5)
    assert one["tokens"] == other["tokens"], "trained tokens are the records'"
    assert lines(tmp_path / "with")[1][own] != pytest.approx(
        lines(tmp_path / "without")[1][own], rel=1e-5
    )


def test_it_is_the_same_however_a_step_is_cut_up(small: SimpleNamespace, tmp_path: Path) -> None:
    text = corpus(small, tmp_path / "corpus.safetensors")
    found = []
    for size in (0, 1, 2):
        small.train(
            tmp_path / str(size), corpus=text, micro_batch_size=size, max_steps=3, validate_every=0
        )
        found.append(lines(tmp_path / str(size)))
    for other in found[1:]:
        for one, two in zip(found[0], other, strict=True):
            assert one == pytest.approx(two, rel=1e-5, abs=1e-6)


def test_it_resumes_bit_for_bit_and_refuses_another_corpus(
    small: SimpleNamespace, tmp_path: Path
) -> None:
    text = corpus(small, tmp_path / "corpus.safetensors")
    small.train(tmp_path / "whole", corpus=text, student=small.model(seed=2, dropout=0.1))
    for steps in (2, 1):
        with pytest.raises(Interrupted):
            small.train(
                tmp_path / "parts",
                corpus=text,
                student=small.model(seed=2, dropout=0.1),
                should_stop=small.stop_after(steps),
            )
    with pytest.raises(CheckpointError, match=r"corpus\.coef: "):
        small.train(
            tmp_path / "parts", corpus=corpus(small, tmp_path / "other.safetensors", coef=0.5)
        )
    small.train(tmp_path / "parts", corpus=text, student=small.model(seed=2, dropout=0.1))
    for name in ("model/model.safetensors", "metrics.jsonl"):
        assert (tmp_path / "parts" / name).read_bytes() == (tmp_path / "whole" / name).read_bytes()


SCRIPT = """
import sys, pathlib, importlib.util
def load(name, path):
    spec = importlib.util.spec_from_file_location(name, path)
    found = importlib.util.module_from_spec(spec); sys.modules[name] = found; spec.loader.exec_module(found)
    return found
small, mine = load("small_training", sys.argv[1]), load("corpus_tests", sys.argv[2])
root = pathlib.Path(sys.argv[3])
from types import SimpleNamespace
names = SimpleNamespace(VOCAB=small.VOCAB, tokenizer=small.small_tokenizer)
text = mine.open_corpus(mine.LmConfig(path=str(root / "corpus.safetensors"), coef=0.7, batch_size=3), names.tokenizer(), root)
one = mine.open_corpus(mine.LmConfig(path=str(root / "corpus.safetensors"), coef=0.7, batch_size=1), names.tokenizer(), root)
settings = {"method": "kd", "max_steps": 3, "micro_batch_size": 1, "batch_size": 5, "validate_every": 0}
small.small_train(root / "two", corpus=text, **settings)
small.small_train(root / "two-1", corpus=one, **settings)
"""


def test_two_processes_are_one(
    small: SimpleNamespace, ranks: list[dict[str, str]], tmp_path: Path
) -> None:
    """Three blocks on two processes, and one block, which leaves a process without any."""
    text = corpus(small, tmp_path / "corpus.safetensors")
    children = [
        subprocess.Popen(
            [sys.executable, "-c", SCRIPT, str(CONFTEST), __file__, str(tmp_path)],
            env=ranks[rank],
            stderr=subprocess.PIPE,
            text=True,
        )
        for rank in range(2)
    ]
    outputs = [child.communicate(timeout=240)[1] for child in children]
    assert [child.returncode for child in children] == [0, 0], outputs
    for name, blocks in (("two", 3), ("two-1", 1)):
        kept = PlainTextLoss(blocks=text.blocks, coef=0.7, batch_size=blocks, digest="")
        alone = tmp_path / f"alone-{name}"
        small.train(alone, method="kd", corpus=kept, max_steps=3, batch_size=5, validate_every=0)
        for one, two in zip(lines(alone), lines(tmp_path / name), strict=True):
            assert one == pytest.approx(two, rel=1e-5, abs=1e-6)


def test_corpora_that_cannot_be_used(small: SimpleNamespace, tmp_path: Path) -> None:
    tokenizer = small.tokenizer()
    assert open_corpus(LmConfig(), tokenizer, tmp_path) is None
    (tmp_path / "text.txt").write_text("w1\nw2\n")
    with pytest.raises(DataError, match="shorter than one block"):
        open_corpus(LmConfig(path=str(tmp_path / "text.txt"), block_tokens=50), tokenizer, tmp_path)
    with pytest.raises(DataError):
        open_corpus(LmConfig(path=str(tmp_path / "none.txt")), tokenizer, tmp_path)
    for wrong in ({"batch_size": 0}, {"coef": 0.0}, {"coef": float("nan")}):
        with pytest.raises(ConfigError, match=f"{next(iter(wrong))}: {next(iter(wrong.values()))}"):
            open_corpus(LmConfig(path=str(tmp_path / "text.txt"), **wrong), tokenizer, tmp_path)
    short = open_corpus(
        LmConfig(path=str(tmp_path / "text.txt"), block_tokens=2), tokenizer, tmp_path
    )
    assert short is not None and short.blocks.block_tokens == 2
    long = tmp_path / "long.safetensors"
    write_blocks(long, [np.zeros(90, np.int64)], block_tokens=40, vocab_size=small.VOCAB)
    with pytest.raises(ModelError, match="block: 40 tokens, context: 32"):
        small.train(
            tmp_path / "run", corpus=open_corpus(LmConfig(path=str(long)), tokenizer, tmp_path)
        )
