"""What a tokenizer is, as 64 hexadecimal digits: the name that caches, packed corpora and trainings know it by."""

from __future__ import annotations

import hashlib
import json
from typing import TYPE_CHECKING, cast

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase, PreTrainedTokenizerFast


def rules_hash(tokenizer: PreTrainedTokenizerBase) -> str:
    """Hash how a tokenizer cuts texts: equal where texts give equal ids. Fast tokenizers only.

    What a call sets (truncation, padding) does not count: every call of ours sets it.
    """
    rules = cast("PreTrainedTokenizerFast", tokenizer).backend_tokenizer
    if rules.truncation is not None or rules.padding is not None:
        rules = type(rules).from_str(rules.to_str())
        rules.no_truncation()
        rules.no_padding()
    return hashlib.sha256(rules.to_str().encode()).hexdigest()


def tokenizer_hash(tokenizer: PreTrainedTokenizerBase, *, chat_template: bool = True) -> str:
    """Hash all that a tokenizer decides: ids of texts, texts of ids, special tokens, and its chat template.

    chat_template: False leaves that one out, for what is named by the tokens that it rendered. Fast tokenizers only.
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
