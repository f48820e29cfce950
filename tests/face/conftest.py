"""Two models small enough for any test, in memory and in folders, and rows for them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from stillage.run.config import ModelConfig

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerFast

Rows = list[dict[str, str]]


@dataclass(frozen=True)
class Tiny:
    """A teacher and a student of one tokenizer, untrained."""

    teacher: PreTrainedModel
    student: PreTrainedModel
    tokenizer: PreTrainedTokenizerFast
    root: Path  # holds the same as folders: teacher, student

    def folder(self, name: str) -> str:
        return str(self.root / name)


@pytest.fixture(scope="session")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Tiny:
    from stillage.data.bpe import train_bpe
    from stillage.models.load import load_model, save_model

    root = tmp_path_factory.mktemp("tiny")
    tokenizer = train_bpe(["question answer number " * 20], 280)
    models = []
    for seed, name in enumerate(("teacher", "student")):
        config = ModelConfig(layers=1, width=16, heads=2, context=48)
        models.append(load_model(config, vocab_size=len(tokenizer), seed=seed))
        save_model(models[-1], tokenizer, root / name)
    return Tiny(*models, tokenizer, root)


@pytest.fixture(scope="session")
def rows() -> Callable[[int, int], Rows]:
    """Questions and answers, from one number to before another."""

    def make(first: int, end: int) -> Rows:
        return [
            {
                "instruction": f"question number {n * 37 % 1000}",
                "output": f"the answer is {n * 7919 % 1000}",
            }
            for n in range(first, end)
        ]

    return make


@pytest.fixture
def quick() -> dict[str, object]:
    """Settings of an audit of a second or two."""
    return {
        "threads": 1,
        "data": {"template": "raw"},
        "audit": {"extract_tokens": 3, "fprs": [0.2]},
    }
