"""Plain text beside a method: loss = its mean + coef * mean over the text.

MiniLLM (arXiv:2306.08543, section 2.3, L_PT) and DistiLLM (arXiv:2402.03898) add this next-token
loss. Which blocks a step reads is a function of (seed, step), so that nothing has to be saved; the
corpus and the records are each divided by their own tokens.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from stillage.corpus.pack import check_fills_a_block, pack_corpus
from stillage.corpus.text_corpus import read_text_corpus
from stillage.corpus.token_blocks import Blocks, block_example, block_numbers, open_blocks
from stillage.corpus.tokenizers import rules_hash
from stillage.errors import ConfigError, ModelError
from stillage.run.config import LmConfig
from stillage.run.folder import sha256_file
from stillage.types import Example

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerFast

log = logging.getLogger("stillage")
PACKED_SUFFIX = ".safetensors"
"""The end of a corpus that is tokens already."""
PACKED = f"corpus{PACKED_SUFFIX}"


@dataclass(frozen=True, slots=True, kw_only=True)
class PlainTextLoss:
    """Blocks of plain text to predict beside the records, and how much they count."""

    blocks: Blocks
    coef: float
    batch_size: int  # blocks per optimiser step, over all processes
    digest: str  # sha256 of the file of blocks

    @property
    def tokens(self) -> int:
        """Trained tokens of a step: all of a block but its first, which nothing predicts."""
        return self.batch_size * (self.blocks.block_tokens - 1)

    def weight(self, tokens: int) -> float:
        """The factor of a sum over its tokens, where a step is divided by `tokens`."""
        return self.coef * tokens / self.tokens

    def identity(self) -> dict[str, object]:
        """What a checkpoint must agree with."""
        return {"blocks": self.digest, "coef": self.coef, "batch_size": self.batch_size}

    def blocks_of_step(self, step: int, seed: int) -> list[Example]:
        """The blocks that a step reads, over all processes."""
        numbers = block_numbers(step, self.batch_size, len(self.blocks.blocks_NT), seed)
        return [block_example(self.blocks, int(number)) for number in numbers]


def open_corpus(
    config: LmConfig, tokenizer: PreTrainedTokenizerFast, folder: Path
) -> PlainTextLoss | None:
    """Open the corpus of a config, if any; a text is packed into `folder` first.

    Raises what `open_blocks` and `pack_corpus` do, ConfigError for numbers without meaning.
    """
    if not config.path:
        return None
    _check_weight(config)
    path = Path(config.path)
    if path.suffix == PACKED_SUFFIX:
        blocks = open_blocks(path, tokenizer=rules_hash(tokenizer))
    else:
        documents, path = read_text_corpus(path), folder / PACKED
        blocks = pack_corpus(documents, tokenizer, path, block_tokens=config.block_tokens)
    log.info("plain text: %s", blocks.summary())
    digest = sha256_file(path)
    return PlainTextLoss(
        blocks=blocks, coef=config.coef, batch_size=config.batch_size, digest=digest
    )


def check_corpus_ahead(
    config: LmConfig, tokenizer: PreTrainedTokenizerFast, context: int | None
) -> None:
    """Refuse, before anything is trained, a corpus that would stop training.

    Reads one block of it. context: of the student, in tokens; None: not known yet, or endless.
    """
    if not config.path:
        return
    _check_weight(config)
    path, block_tokens = Path(config.path), config.block_tokens
    if path.suffix == PACKED_SUFFIX:
        block_tokens = open_blocks(path, tokenizer=rules_hash(tokenizer)).block_tokens
    else:
        check_fills_a_block(read_text_corpus(path), tokenizer, block_tokens)
    if context is not None and block_tokens > context:
        raise _unfit(f"block: {block_tokens} tokens, context: {context}")


def check_fits(corpus: PlainTextLoss, context: int | None, embedded: int) -> None:
    """Refuse blocks beyond a student's context, or of ids that it has not `embedded`."""
    block_tokens, vocab_size = corpus.blocks.block_tokens, corpus.blocks.vocab_size
    if (context is not None and block_tokens > context) or vocab_size > embedded:
        values = f"block: {block_tokens} tokens, context: {context}"
        raise _unfit(f"{values}; vocabulary: {vocab_size}, student: {embedded}")


def _check_weight(config: LmConfig) -> None:
    """Refuse a corpus of which nothing would be read."""
    if config.batch_size < 1 or not 0 < config.coef < float("inf"):
        what = "The language-model loss needs blocks and a weight."
        fix = "Set lm.batch_size to 1 or more and lm.coef above 0, or leave out lm.path."
        raise ConfigError(what, f"lm.batch_size: {config.batch_size}; lm.coef: {config.coef}", fix)


def _unfit(values: str) -> ModelError:
    """The error for blocks that a student cannot read."""
    fix = "Lower lm.block_tokens (or pack the corpus again), and use the student's tokenizer."
    return ModelError("The blocks of plain text do not fit the student.", values, fix)
