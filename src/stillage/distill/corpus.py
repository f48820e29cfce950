"""Next-token loss on plain text beside a method's own: total loss = method's mean + coef * mean over the text's tokens.

MiniLLM (arXiv:2306.08543, section 2.3, L_PT) and DistiLLM (arXiv:2402.03898) add it. Which blocks a step reads is a
function of (seed, step), so that nothing has to be saved; the corpus and the records are each divided by their own tokens.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from stillage.data.blocks import Blocks, block_example, block_numbers, open_blocks
from stillage.data.pack import check_fills_a_block, pack_corpus
from stillage.data.plain_text import read_plain_text
from stillage.data.tokenizer_hash import rules_hash
from stillage.errors import ConfigError, ModelError
from stillage.run.config import LmConfig
from stillage.run.folder import sha256_file
from stillage.types import Example

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerFast

log = logging.getLogger("stillage")
PACKED = "corpus.safetensors"


@dataclass(frozen=True, slots=True, kw_only=True)
class Corpus:
    """Blocks of plain text, and how much they count."""

    blocks: Blocks
    coef: float
    batch_size: int  # blocks per optimiser step, over all processes
    digest: str  # sha256 of the file of blocks

    @property
    def tokens(self) -> int:
        """Trained tokens of a step: all of a block but its first, which nothing predicts."""
        return self.batch_size * (self.blocks.block_tokens - 1)

    def weight(self, tokens: int) -> float:
        """What a sum over the corpus's tokens is multiplied with, where the step divides by `tokens` of its records."""
        return self.coef * tokens / self.tokens

    def identity(self) -> dict[str, object]:
        """What a checkpoint must agree with."""
        return {"blocks": self.digest, "coef": self.coef, "batch_size": self.batch_size}

    def micro_batches(
        self, step: int, seed: int, rank: int, ranks: int, size: int
    ) -> list[list[Example]]:
        """This process's blocks of a step, in micro-batches of at most `size` (0: one)."""
        numbers = block_numbers(step, self.batch_size, len(self.blocks.blocks_NT), seed)[
            rank::ranks
        ]
        size = size or max(1, len(numbers))
        share = [block_example(self.blocks, int(number)) for number in numbers]
        return [share[start : start + size] for start in range(0, len(share), size)]


def open_corpus(
    config: LmConfig, tokenizer: PreTrainedTokenizerFast, folder: Path
) -> Corpus | None:
    """The corpus of a config, or None: a file of blocks as it is, a plain-text file packed into `folder` first.

    Raises DataError for a file that is missing, damaged, made with another tokenizer or shorter than one block, ConfigError
    for numbers without meaning.
    """
    if not config.path:
        return None
    check_weight(config)
    path = Path(config.path)
    if path.suffix == ".safetensors":
        blocks = open_blocks(path, tokenizer=rules_hash(tokenizer))
    else:
        path = folder / PACKED
        blocks = pack_corpus(
            read_plain_text(Path(config.path)), tokenizer, path, block_tokens=config.block_tokens
        )
    log.info("plain text: %s", blocks.summary())
    return Corpus(
        blocks=blocks, coef=config.coef, batch_size=config.batch_size, digest=sha256_file(path)
    )


def check_weight(config: LmConfig) -> None:
    """ConfigError for a corpus of which nothing would be read."""
    if config.batch_size < 1 or not 0 < config.coef < float("inf"):
        raise ConfigError(
            "The language-model loss needs blocks and a weight.",
            f"lm.batch_size: {config.batch_size}; lm.coef: {config.coef}",
            "Set lm.batch_size to 1 or more and lm.coef above 0, or leave out lm.path.",
        )


def check_ahead(config: LmConfig, tokenizer: PreTrainedTokenizerFast, context: int | None) -> None:
    """Refuse, before anything is trained, a corpus that would stop the students' training; reads one block of it.

    context: of the student, in tokens; None: without limit, or not known yet. Raises what `open_corpus` and `check_corpus`
    would.
    """
    if not config.path:
        return
    check_weight(config)
    path, block_tokens = Path(config.path), config.block_tokens
    if path.suffix == ".safetensors":
        block_tokens = open_blocks(path, tokenizer=rules_hash(tokenizer)).block_tokens
    else:
        check_fills_a_block(read_plain_text(path), tokenizer, block_tokens)
    if context is not None and block_tokens > context:
        raise unfit(f"block: {block_tokens} tokens, context: {context}")


def unfit(values: str) -> ModelError:
    """The error for blocks that a student cannot read."""
    return ModelError(
        "The blocks of plain text do not fit the student.",
        values,
        "Lower lm.block_tokens (or pack the corpus again), and use the student's tokenizer.",
    )


def check_corpus(corpus: Corpus, student: PreTrainedModel) -> None:
    """ModelError where a block is longer than the student's context, or has tokens that it does not know."""
    from stillage.models.decoder import embedding_rows
    from stillage.models.pair import context_of

    context, rows = context_of(student), embedding_rows(student)
    if (
        context is not None and corpus.blocks.block_tokens > context
    ) or corpus.blocks.vocab_size > rows:
        raise unfit(
            f"block: {corpus.blocks.block_tokens} tokens, context: {context}; "
            f"vocabulary: {corpus.blocks.vocab_size}, student: {rows}"
        )
