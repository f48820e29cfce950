"""Canaries, a tokenizer and models small enough for any test of mosaic memory."""

from __future__ import annotations

from types import SimpleNamespace
from typing import TYPE_CHECKING

import numpy as np
import pytest

from stillage.mosaic.table_columns import CANARIES, table_schema
from stillage.rng import generator
from stillage.run.config import ModelConfig, TrainConfig

if TYPE_CHECKING:
    import pyarrow as pa
    from transformers import PreTrainedModel, PreTrainedTokenizerFast

LENGTH = 12  # tokens of a canary


def random_text(name: str, words: int) -> str:
    rng = generator(3, "text", name)
    return " ".join("".join(rng.choice(list("ABcdefgh"), 3)) for _ in range(words))


def bpe(vocabulary: int = 300) -> PreTrainedTokenizerFast:
    from stillage.data.bpe import train_bpe

    return train_bpe([random_text("tokenizer", 300)], vocabulary)


def model(
    tokenizer: PreTrainedTokenizerFast, seed: int = 1, dropout: float = 0.0
) -> PreTrainedModel:
    from stillage.models.load import load_model

    config = ModelConfig(layers=1, width=32, heads=4, context=64, dropout=dropout)
    return load_model(config, vocab_size=len(tokenizer), seed=seed)


def table(tokenizer: PreTrainedTokenizerFast, count: int = 8) -> pa.Table:
    """Half of them members; texts that the tokenizer gives back."""
    import pyarrow as pa

    rows = []
    for number in range(count):
        ids = tokenizer(random_text(f"canary {number}", LENGTH))["input_ids"][:LENGTH]
        text = tokenizer.decode(ids)
        assert tokenizer(text)["input_ids"] == ids and len(ids) == LENGTH
        role = "member" if number < count // 2 else "nonmember"
        rows.append({"canary": number, "role": role, "text": text, "ids": ids, "seed": 1})
        rows[-1] |= {"perplexity": 1.0, "bucket": None}
    return pa.Table.from_pylist(rows, table_schema(CANARIES))


@pytest.fixture(scope="session")
def case() -> SimpleNamespace:
    """A tokenizer, its canaries, and a document that holds each member three times."""
    tokenizer = bpe()
    canaries = table(tokenizer)
    held = [np.array(ids) for ids in canaries["ids"].to_pylist()[:4]]
    text = [np.array(tokenizer(random_text(f"host {part}", 20))["input_ids"]) for part in range(12)]
    host = np.concatenate([piece for part in range(12) for piece in (text[part], held[part % 4])])
    options = TrainConfig(epochs=8, batch_size=4, lr_peak=1e-2, checkpoint_every_s=1e9)
    return SimpleNamespace(
        tokenizer=tokenizer,
        other_tokenizer=bpe(270),
        canaries=canaries,
        documents=[host],
        public=[np.concatenate(text)],
        options=options,
        model=model,
    )
