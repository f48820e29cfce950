"""What a tokenizer is, as a hash that names it in caches; its BOS and EOS."""

from __future__ import annotations

import hashlib
import json
from typing import TYPE_CHECKING, cast

from stillage.errors import ModelError

if TYPE_CHECKING:
    from tokenizers import Tokenizer
    from transformers import PreTrainedTokenizerBase, PreTrainedTokenizerFast


def rules_hash(tokenizer: PreTrainedTokenizerBase) -> str:
    """Hash how a (fast) tokenizer cuts texts: equal where texts give equal ids.

    What a call sets (truncation, padding) does not count: every call of ours sets it.
    """
    return backend_hash(cast("PreTrainedTokenizerFast", tokenizer).backend_tokenizer)


def backend_hash(rules: Tokenizer) -> str:
    """Hash the tokenizer within a fast one, or a tokenizer.json, as `rules_hash` does."""
    if rules.truncation is not None or rules.padding is not None:
        rules = type(rules).from_str(rules.to_str())
        rules.no_truncation()
        rules.no_padding()
    return hashlib.sha256(rules.to_str().encode()).hexdigest()


def largest_id(rules: Tokenizer) -> int:
    """The largest id that a tokenizer gives; beyond its size where the ids have gaps."""
    return max(rules.get_vocab(with_added_tokens=True).values(), default=0)


def tokenizer_hash(tokenizer: PreTrainedTokenizerBase, *, chat_template: bool = True) -> str:
    """Hash all that a (fast) tokenizer decides: ids, texts, special tokens, template.

    chat_template: False leaves that one out, for what is named by the tokens that it rendered.
    """
    named = ("bos_token_id", "eos_token_id", "pad_token_id", "unk_token_id", "mask_token_id")
    content = {
        "rules": rules_hash(tokenizer),
        "named": {name: getattr(tokenizer, name, None) for name in named},
        "special": sorted(tokenizer.all_special_ids),  # left out of decoded answers
        "clean_up": bool(getattr(tokenizer, "clean_up_tokenization_spaces", False)),
        "chat_template": tokenizer.chat_template if chat_template else None,
    }
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


def ids_without_text(tokenizer: PreTrainedTokenizerBase) -> list[int]:
    """The ids that write no text: the named ones, and whatever was added as special."""
    added = getattr(tokenizer, "added_tokens_decoder", {})
    marked = (number for number, token in added.items() if token.special)
    return sorted({*tokenizer.all_special_ids, *marked})


def end_id(tokenizer: PreTrainedTokenizerBase) -> int:
    """The id of EOS. ModelError without one, or for a slow tokenizer."""
    name = tokenizer.name_or_path or type(tokenizer).__name__
    if not tokenizer.is_fast:
        what = "The tokenizer cannot tell where its tokens lie in the text."
        raise ModelError(what, name, "Give a tokenizer.json.")
    if tokenizer.eos_token_id is None:
        fix = "Name it in tokenizer_config.json (eos_token): a model cannot learn to stop without."
        raise ModelError("The tokenizer has no end-of-sequence token.", name, fix)
    return cast("int", tokenizer.eos_token_id)


def first_ids(tokenizer: PreTrainedTokenizerBase) -> list[int]:
    """The ids the tokenizer puts before a text by itself: BOS, or nothing."""
    plain = tokenizer("a", add_special_tokens=False)["input_ids"]
    dressed = tokenizer("a", add_special_tokens=True)["input_ids"]
    extra = len(dressed) - len(plain)
    starts = (n for n in range(extra + 1) if dressed[n : n + len(plain)] == plain)
    return list(dressed[: next(starts, 0)])
