"""The published models in small: their architecture with thin random layers, their kind of tokenizer on a few hundred pieces."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from tokenizers import (
    AddedToken,
    Regex,
    Tokenizer,
    decoders,
    models,
    normalizers,
    pre_tokenizers,
    processors,
    trainers,
)
from transformers import AutoConfig, AutoModelForMaskedLM, PreTrainedTokenizerFast

from stillage.data.bpe import train_bpe
from stillage.models.load import load_model, save_model
from stillage.rng import derive
from stillage.run.config import ModelConfig

BYTES = [f"<0x{byte:02X}>" for byte in range(256)]
TIKTOKEN = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
VOCAB = 400
SIZE = {
    "hidden_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "intermediate_size": 64,
}


def gpt2_like(texts: Sequence[str]) -> PreTrainedTokenizerFast:
    """As GPT-Neo and Phi: bytes, no BOS of its own."""
    return train_bpe(texts, VOCAB)


def llama3_like(texts: Sequence[str]) -> PreTrainedTokenizerFast:
    """Bytes, split as tiktoken does (a full stop and the line ends behind it are one piece), BOS added."""
    inner = Tokenizer(models.BPE(ignore_merges=True))
    inner.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(TIKTOKEN), behavior="isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    inner.decoder = decoders.ByteLevel()
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    trainer = trainers.BpeTrainer(
        vocab_size=VOCAB, initial_alphabet=alphabet, show_progress=False, special_tokens=[]
    )
    inner.train_from_iterator(texts, trainer)
    bos, eos = "<|begin_of_text|>", "<|end_of_text|>"
    inner.add_special_tokens([AddedToken(bos, special=True), AddedToken(eos, special=True)])
    inner.post_processor = processors.Sequence(
        [
            processors.ByteLevel(trim_offsets=True),
            processors.TemplateProcessing(
                single=f"{bos} $A", special_tokens=[(bos, inner.token_to_id(bos))]
            ),
        ]
    )
    return PreTrainedTokenizerFast(
        tokenizer_object=inner, bos_token=bos, eos_token=eos, clean_up_tokenization_spaces=False
    )


def gemma_like(texts: Sequence[str]) -> PreTrainedTokenizerFast:
    """SentencePiece's pieces and bytes, BOS added, no space before a text."""
    inner = pieces_and_bytes(texts, ["<pad>", "<eos>", "<bos>", "<unk>"])
    inner.normalizer = normalizers.Replace(" ", "▁")
    inner.decoder = decoders.Sequence(
        [decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse()]
    )
    inner.post_processor = processors.TemplateProcessing(
        single="<bos> $A", special_tokens=[("<bos>", 2)]
    )
    return PreTrainedTokenizerFast(
        tokenizer_object=inner,
        pad_token="<pad>",
        eos_token="<eos>",
        bos_token="<bos>",
        unk_token="<unk>",
        clean_up_tokenization_spaces=False,
    )


def llama2_like(texts: Sequence[str]) -> PreTrainedTokenizerFast:
    """SentencePiece's pieces and bytes, BOS added, a space put before every text."""
    inner = pieces_and_bytes(texts, ["<unk>", "<s>", "</s>"])
    inner.normalizer = normalizers.Sequence(
        [normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")]
    )
    inner.decoder = decoders.Sequence(
        [
            decoders.Replace("▁", " "),
            decoders.ByteFallback(),
            decoders.Fuse(),
            decoders.Strip(" ", 1, 0),
        ]
    )
    inner.post_processor = processors.TemplateProcessing(
        single="<s> $A", special_tokens=[("<s>", 1)]
    )
    return PreTrainedTokenizerFast(
        tokenizer_object=inner,
        bos_token="<s>",
        eos_token="</s>",
        unk_token="<unk>",
        clean_up_tokenization_spaces=False,
    )


def pieces_and_bytes(texts: Sequence[str], specials: Sequence[str]) -> Tokenizer:
    """A BPE over texts whose spaces are marks, with a piece for each byte; specials come first."""
    trained = Tokenizer(models.BPE())
    trained.normalizer = normalizers.Replace(" ", "▁")
    trained.pre_tokenizer = pre_tokenizers.Split("▁", behavior="merged_with_next")
    trainer = trainers.BpeTrainer(vocab_size=VOCAB - 256, show_progress=False)
    trained.train_from_iterator(texts, trainer)
    fitted = json.loads(trained.to_str())["model"]
    pieces = [*specials, *BYTES, *sorted(fitted["vocab"], key=fitted["vocab"].__getitem__)]
    vocabulary = {piece: number for number, piece in enumerate(pieces)}
    merges = [tuple(merge) for merge in fitted["merges"]]
    return Tokenizer(
        models.BPE(vocabulary, merges, unk_token="<unk>", fuse_unk=True, byte_fallback=True)
    )


def roberta_like(texts: Sequence[str]) -> PreTrainedTokenizerFast:
    """Bytes as GPT-2's, with RoBERTa's special tokens."""
    tokenizer = train_bpe(texts, VOCAB)
    names = {"bos_token": "<s>", "eos_token": "</s>", "pad_token": "<pad>", "unk_token": "<unk>"}
    tokenizer.add_special_tokens(names | {"mask_token": AddedToken("<mask>", lstrip=True)})
    inner = tokenizer.backend_tokenizer
    ends = [(name, inner.token_to_id(name)) for name in ("</s>", "<s>")]
    inner.post_processor = processors.RobertaProcessing(*ends, add_prefix_space=False)
    return tokenizer


@dataclass(frozen=True, slots=True, kw_only=True)
class Tiny:
    """A model in small: what its config.json has of its own, and its tokenizer."""

    config: Mapping[str, Any]
    tokenizer: Callable[[Sequence[str]], PreTrainedTokenizerFast]
    unused: int = 0  # rows of the embedding that no token has


TINY = {
    "EleutherAI/gpt-neo-1.3B": Tiny(
        config={
            "model_type": "gpt_neo",
            "hidden_size": 32,
            "num_layers": 2,
            "num_heads": 4,
            "attention_types": [[["global", "local"], 1]],
            "window_size": 16,
            "max_position_embeddings": 256,
        },
        tokenizer=gpt2_like,
    ),
    "google/gemma-2b": Tiny(
        config={
            **SIZE,
            "model_type": "gemma",
            "num_key_value_heads": 1,
            "head_dim": 16,
            "hidden_activation": "gelu_pytorch_tanh",
        },
        tokenizer=gemma_like,
    ),
    "microsoft/phi-2": Tiny(
        config={**SIZE, "model_type": "phi", "resid_pdrop": 0.1, "hidden_act": "gelu_new"},
        tokenizer=gpt2_like,
        unused=9,
    ),
    "meta-llama/Llama-3.2-1B": Tiny(
        config={
            **SIZE,
            "model_type": "llama",
            "num_key_value_heads": 2,
            "tie_word_embeddings": True,
            "max_position_embeddings": 131072,
            "rope_parameters": {
                "rope_theta": 500000.0,
                "rope_type": "llama3",
                "factor": 32.0,
                "high_freq_factor": 4.0,
                "low_freq_factor": 1.0,
                "original_max_position_embeddings": 8192,
            },
        },
        tokenizer=llama3_like,
    ),
    "meta-llama/Llama-2-7b-hf": Tiny(config={**SIZE, "model_type": "llama"}, tokenizer=llama2_like),
}
"""Hub id of a preset -> the same in small; the last writes canaries, and is the reference."""


def write_tiny(hub_id: str, folder: Path, texts: Sequence[str], *, seed: int = 1) -> Path:
    """Write a random model of a hub id's kind, with a tokenizer fitted on texts, as a folder."""
    tiny = TINY[hub_id]
    tokenizer = tiny.tokenizer(texts)
    folder.mkdir(parents=True)
    file = folder / "shape.json"
    file.write_text(json.dumps(tiny.config))
    shape = ModelConfig(config=str(file))
    save_model(
        load_model(shape, vocab_size=len(tokenizer) + tiny.unused, seed=seed), tokenizer, folder
    )
    return folder


def write_tiny_masked(folder: Path, texts: Sequence[str], *, seed: int = 1) -> Path:
    """Write a random RoBERTa with a tokenizer fitted on texts."""
    tokenizer = roberta_like(texts)
    config = AutoConfig.for_model(
        "roberta",
        **SIZE,
        vocab_size=len(tokenizer),
        max_position_embeddings=514,
        type_vocab_size=1,
        pad_token_id=tokenizer.pad_token_id,
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(derive(seed, "tiny"))
        model = AutoModelForMaskedLM.from_config(config)
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder
