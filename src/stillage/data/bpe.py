"""A byte-level BPE for models from scratch, fit on public records alone."""

from __future__ import annotations

import logging
from collections.abc import Iterable
from typing import TYPE_CHECKING

from stillage.errors import ConfigError, DataError

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerFast

END, PAD = "<|endoftext|>", "<|pad|>"
SMALLEST = 256 + 2  # every byte, and the two specials: any text can be encoded
log = logging.getLogger("stillage")


def train_bpe(texts: Iterable[str], vocab_size: int) -> PreTrainedTokenizerFast:
    """Fit a byte-level BPE (Sennrich et al. 2016) with EOS and padding.

    Texts are split as GPT-2 does. Deterministic: the most frequent pair is merged, ties by id.
    Decoding gives back the text exactly. The vocabulary is smaller than vocab_size when the texts
    have no more pairs (logged). Raises ConfigError below 258 entries, DataError without text.
    """
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors, trainers
    from transformers import PreTrainedTokenizerFast

    if vocab_size < SMALLEST:
        fix = f"Set tokenizer.vocab_size to {SMALLEST} or more: 256 bytes and two specials."
        what = "The vocabulary is too small for a byte-level BPE."
        raise ConfigError(what, f"asked: {vocab_size}", fix)
    corpus = [text for text in texts if text]
    if not corpus:
        what = "There is no text to fit a tokenizer on."
        raise DataError(what, "0 non-empty texts", "Give the public part records.")
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.post_processor = processors.ByteLevel(trim_offsets=False)
    trainer = trainers.BpeTrainer(
        vocab_size=vocab_size,
        special_tokens=[END, PAD],
        initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
        show_progress=False,
    )
    tokenizer.train_from_iterator(corpus, trainer)
    size = tokenizer.get_vocab_size()
    if size < vocab_size:
        message = "the texts have pairs for a vocabulary of %d only, of the %d asked for"
        log.warning(message, size, vocab_size)
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, eos_token=END, pad_token=PAD, clean_up_tokenization_spaces=False
    )
