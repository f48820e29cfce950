"""Build the byte-level BPE tokenizer that a GGUF file describes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from stillage.errors import ModelError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from tokenizers import Tokenizer
    from transformers import PreTrainedTokenizerFast

INSTEAD = "Give the model's original Hugging Face folder instead."
LLAMA_3 = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}"
    r"| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)
LLAMA_BPE = "llama-bpe"
"""Llama 3's rule: a word that is a token is that token, whatever the merges make of it.
BOS comes first, unless the file says otherwise (llama.cpp: ignore_merges, add_bos)."""
PRE_TOKENIZERS = ("gpt-2", "smollm", LLAMA_BPE)
"""Names of `tokenizer.ggml.pre` whose rule of cutting texts is known."""
CONTROL, USER_DEFINED = 3, 4  # of tokenizer.ggml.token_type
SPECIAL = {"bos_token": "bos", "eos_token": "eos", "unk_token": "unknown", "pad_token": "padding"}


def gguf_tokenizer(metadata: Mapping[str, Any]) -> PreTrainedTokenizerFast:
    """Build the fast tokenizer, with special tokens and the chat template.

    Raises ModelError for another kind than byte-level BPE, an unknown rule of cutting, or damaged
    lists.
    """
    from transformers import PreTrainedTokenizerFast

    kind = metadata.get("tokenizer.ggml.model", "(none)")
    if kind != "gpt2":
        what = "The tokenizer of this GGUF file is of a kind that is not read."
        values = f"tokenizer.ggml.model: {kind}; read: gpt2 (byte-level BPE)"
        raise ModelError(what, values, INSTEAD)
    tokens = metadata.get("tokenizer.ggml.tokens") or []
    special: dict[str, Any] = {
        name: tokens[metadata[f"tokenizer.ggml.{key}_token_id"]]
        for name, key in SPECIAL.items()
        if f"tokenizer.ggml.{key}_token_id" in metadata
    }
    pre = metadata.get("tokenizer.ggml.pre", "(none)")
    inner = byte_level_bpe(tokens, metadata.get("tokenizer.ggml.merges") or [], pre=pre)
    add_marked_tokens(inner, tokens, metadata.get("tokenizer.ggml.token_type") or [])
    if metadata.get("tokenizer.ggml.add_bos_token", pre == LLAMA_BPE) and "bos_token" in special:
        start_with(inner, special["bos_token"])
    return PreTrainedTokenizerFast(
        tokenizer_object=inner,
        chat_template=metadata.get("tokenizer.chat_template"),
        model_max_length=int(metadata["llama.context_length"]),
        clean_up_tokenization_spaces=False,
        **special,
    )


def byte_level_bpe(tokens: Sequence[str], merges: Sequence[str], *, pre: str) -> Tokenizer:
    """Build byte-level BPE of a vocabulary and its merges ("a b", by rank)."""
    from tokenizers import Tokenizer, decoders
    from tokenizers.models import BPE

    parted = [merge.partition(" ") for merge in merges]
    pairs = [(left, right) for left, _, right in parted]
    vocabulary = {token: number for number, token in enumerate(tokens)}
    known = all({*pair, "".join(pair)} <= vocabulary.keys() for pair in pairs)
    if not tokens or len(vocabulary) != len(tokens) or not pairs or not known:
        raise ModelError(
            "The tokenizer of this GGUF file is incomplete.",
            f"{len(tokens)} tokens, {len(vocabulary)} of them different; "
            f"{len(pairs)} merges, all of known tokens: {known}",
            "Fetch the file again: it may be damaged.",
        )
    tokenizer = Tokenizer(BPE(vocab=vocabulary, merges=pairs, ignore_merges=pre == LLAMA_BPE))
    tokenizer.pre_tokenizer = pre_tokenizer(pre)
    tokenizer.decoder = decoders.ByteLevel()
    return tokenizer


def pre_tokenizer(name: str) -> Any:  # noqa: ANN401 - tokenizers has no public base class of these
    """Return the rule by which a text is cut before merges; ModelError if unknown."""
    from tokenizers import Regex, pre_tokenizers

    if name == "gpt-2":
        return pre_tokenizers.ByteLevel(add_prefix_space=False)
    if name == "smollm":  # each digit alone, whatever stands before it
        digits = pre_tokenizers.Digits(individual_digits=True)
        return pre_tokenizers.Sequence([digits, pre_tokenizers.ByteLevel(add_prefix_space=False)])
    if name == LLAMA_BPE:
        split = pre_tokenizers.Split(Regex(LLAMA_3), behavior="isolated")
        pieces = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
        return pre_tokenizers.Sequence([split, pieces])
    raise ModelError(
        "It is not known how the tokenizer of this GGUF file cuts texts.",
        f"tokenizer.ggml.pre: {name}; known: {', '.join(PRE_TOKENIZERS)}",
        INSTEAD,
    )


def add_marked_tokens(tokenizer: Tokenizer, tokens: Sequence[str], kinds: Sequence[int]) -> None:
    """Keep whole in a text the tokens marked as control or user-defined."""
    from tokenizers import AddedToken

    marked = list(zip(tokens, kinds, strict=False))  # a file without marks has no list of them
    control, own = (
        [AddedToken(t, normalized=False, special=special) for t, kind in marked if kind == mark]
        for mark, special in ((CONTROL, True), (USER_DEFINED, False))
    )
    tokenizer.add_special_tokens(control)
    tokenizer.add_tokens(own)


def start_with(tokenizer: Tokenizer, bos: str) -> None:
    """Put the token before every text."""
    from tokenizers.processors import TemplateProcessing

    number = tokenizer.token_to_id(bos)
    tokenizer.post_processor = TemplateProcessing(
        single=f"{bos} $A", pair=f"{bos} $A {bos}:1 $B:1", special_tokens=[(bos, number)]
    )
