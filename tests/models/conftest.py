"""Small models and a word tokenizer, made in the process."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from stillage.models.load import load_model
from stillage.run.config import ModelConfig

if TYPE_CHECKING:
    from collections.abc import Callable

    from transformers import PreTrainedModel, PreTrainedTokenizerFast

VOCAB = 97


def word_tokenizer(
    words: int, *, swap: bool = False, eos: str = "<eos>", pad: str = "<pad>"
) -> PreTrainedTokenizerFast:
    from tokenizers import Tokenizer
    from tokenizers.models import WordLevel
    from tokenizers.pre_tokenizers import Whitespace
    from transformers import PreTrainedTokenizerFast

    names = [eos, pad, "<unk>", *(f"w{k}" for k in range(words - 3))]
    if swap:
        names[3], names[4] = names[4], names[3]
    inner = Tokenizer(WordLevel({name: k for k, name in enumerate(names)}, unk_token="<unk>"))
    inner.pre_tokenizer = Whitespace()
    return PreTrainedTokenizerFast(
        tokenizer_object=inner, eos_token=eos, pad_token=pad, unk_token="<unk>"
    )


@pytest.fixture
def make_tokenizer() -> Callable[..., PreTrainedTokenizerFast]:
    return word_tokenizer


@pytest.fixture(scope="session")
def tokenizer() -> PreTrainedTokenizerFast:
    return word_tokenizer(VOCAB)


@pytest.fixture(scope="session")
def build() -> Callable[..., PreTrainedModel]:
    """A small random model: its logits are scaled up so that no two tokens are nearly tied."""

    def make(
        architecture: str = "gpt2",
        seed: int = 1,
        vocab: int = VOCAB,
        spread: float = 4.0,
        context: int = 64,
    ) -> PreTrainedModel:
        import torch

        config = ModelConfig(
            architecture=architecture, layers=2, width=64, heads=4, context=context
        )
        model = load_model(config, vocab_size=vocab, seed=seed)
        with torch.no_grad():
            for parameter in model.parameters():
                if parameter.ndim > 1:
                    parameter.mul_(spread)
        return model

    return make
