"""Where a model computes, how much it reads and writes, and its cache key."""

from __future__ import annotations

from typing import TYPE_CHECKING

from stillage.errors import ConfigError
from stillage.models.source import complete_folder, folders_of

if TYPE_CHECKING:
    from collections.abc import Mapping

    from transformers import PreTrainedConfig, PreTrainedModel, PreTrainedTokenizerFast

    from stillage.run.config import ModelConfig

CONTEXT: Mapping[str, str] = {"mpt": "max_seq_len"}
"""model_type -> the config's field, where it is not max_position_embeddings."""


def device_name() -> str:
    """Name the device to compute on: an accelerator where there is one."""
    import torch

    return "cuda" if torch.cuda.is_available() else "cpu"


def shortest_context(*models: PreTrainedModel | None) -> int | None:
    """Return the models' shortest context in tokens; None where none has a limit."""
    limits = [context_of(model) for model in models if model is not None]
    return min((limit for limit in limits if limit is not None), default=None)


def context_of(model: PreTrainedModel) -> int | None:
    """Return the longest sequence a model can read; None without a limit (ALiBi)."""
    return context_in(model.config)


def context_in(config: PreTrainedConfig) -> int | None:
    """Return the longest sequence a model of this config can read; None: no limit."""
    text = config.get_text_config()
    value = getattr(text, CONTEXT.get(text.model_type, "max_position_embeddings"), None)
    return int(value) if isinstance(value, int) and value > 0 else None


def stated_context(source: ModelConfig) -> int | None:
    """Read a model's context length in tokens from its config; None without a limit."""
    from transformers import AutoConfig

    folder = complete_folder(source)
    return context_in(
        AutoConfig.from_pretrained(folder, trust_remote_code=False, local_files_only=True)
    )


def weights_key(source: ModelConfig) -> str:
    """Name a model's weights in a cache: by the hashes of its folders' files."""
    from stillage.models.identity import folder_hash

    quantized = [source.quantize] if source.quantize != "none" else []
    return " ".join([*map(folder_hash, folders_of(source)), *quantized])


def special_ids(tokenizer: PreTrainedTokenizerFast) -> tuple[int, int]:
    """Return the ids of EOS and of padding (EOS where there is none: it is masked)."""
    from stillage.corpus.tokenizers import end_id

    eos, pad = end_id(tokenizer), tokenizer.pad_token_id
    return eos, pad if isinstance(pad, int) else eos


def new_tokens(model: PreTrainedModel, asked: int, usual: int = 64) -> int:
    """Return the most tokens of an answer: asked, else as usual, or half the context."""
    context_tokens = shortest_context(model)
    return asked or (usual if context_tokens is None else max(1, min(usual, context_tokens // 2)))


def prompt_room(model: PreTrainedModel, max_new_tokens: int, wanted: int) -> int:
    """Return how many tokens a prompt may have beside its answer. ConfigError for 0."""
    context_tokens = shortest_context(model)
    room = wanted if context_tokens is None else min(wanted, context_tokens - max_new_tokens)
    if room < 1:
        values = f"max_new_tokens: {max_new_tokens}; context of the model: {context_tokens} tokens"
        raise ConfigError(
            "The answer's length leaves no room for a prompt.", values, "Lower max_new_tokens."
        )
    return room
