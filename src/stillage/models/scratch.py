"""Models from scratch: an architecture and a few numbers, or a config.json."""

from __future__ import annotations

import difflib
import logging
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import torch

from stillage.errors import ConfigError, ModelError, first_line
from stillage.models.decoder import encoder_decoder
from stillage.models.source import native, read_model_config
from stillage.rng import derive
from stillage.versions import causal_types, masked_types

if TYPE_CHECKING:
    from transformers import PretrainedConfig, PreTrainedModel

    from stillage.run.config import ModelConfig

log = logging.getLogger("stillage")
KINDS_OF_DROPOUT = ("attention", "hidden", "resid", "embed", "residual", "embedding")
DROPOUTS = (
    *("resid_pdrop", "embd_pdrop", "attn_pdrop", "dropout"),
    *(f"{kind}_dropout" for kind in KINDS_OF_DROPOUT),
)
CONTEXTS = ("max_position_embeddings", "n_ctx", "max_seq_len")
WIDTHS = ("hidden_size", "word_embed_proj_dim", "embedding_size")
HEAD_WIDTHS = ("head_dim", "rotary_dim")
NUMBERS = ("layers", "width", "heads", "context")
SPECIAL_IDS = ("bos_token_id", "eos_token_id", "pad_token_id")


def from_scratch(config: ModelConfig, *, vocab_size: int, seed: int) -> PreTrainedModel:
    """Make a new model whose weights are a function of (its shape, seed).

    The global generators are left as they were. Its special ids are unset (a family's default ones
    point into another tokenizer); `save_model` sets the tokenizer's. Raises ModelError for an
    unknown architecture, ConfigError for numbers that make no model.
    """
    from transformers import AutoModelForCausalLM

    settings = (
        config_from_file(Path(config.config), vocab_size)
        if config.config
        else config_from_numbers(config, vocab_size)
    )
    settings.bos_token_id = settings.eos_token_id = settings.pad_token_id = None
    dtype = getattr(torch, config.dtype)
    try:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(derive(seed, "weights"))
            model = AutoModelForCausalLM.from_config(settings, dtype=dtype, trust_remote_code=False)
    except (ValueError, TypeError, IndexError, ZeroDivisionError, RuntimeError) as error:
        raise ConfigError(
            f"No {settings.model_type} model can be made of these numbers.",
            f"{model_numbers(config)}; {type(error).__name__}: {first_line(error)}",
            "Change them, or give a complete config.json with `config:`.",
        ) from error
    model.generation_config.do_sample = False
    return cast("PreTrainedModel", model.eval())


def config_from_file(file: Path, vocab_size: int) -> PretrainedConfig:
    """Read a config.json (or a folder's), with the vocabulary of the tokenizer in use."""
    from transformers import AutoConfig

    content = read_model_config(file / "config.json" if file.is_dir() else file)
    kind = native(content, file)
    settings = AutoConfig.for_model(
        kind, **{key: value for key, value in content.items() if key != "model_type"}
    )
    if settings.vocab_size != vocab_size:
        log.info("%s: vocabulary %d -> %d, the tokenizer's", file, settings.vocab_size, vocab_size)
        settings.vocab_size = vocab_size
    return refuse_encoders(settings)


def config_from_numbers(config: ModelConfig, vocab_size: int) -> PretrainedConfig:
    """Resize the family's default configuration; the rest keeps its own proportions."""
    from transformers import CONFIG_MAPPING, AutoConfig

    known = [name for name in causal_types() if name in CONFIG_MAPPING]
    if config.architecture not in known:
        near = difflib.get_close_matches(config.architecture.lower(), known, n=3)
        some = f"some that exist: {', '.join(known[:12])} ..."
        raise ModelError(
            f"There is no decoder-only architecture called {config.architecture!r}.",
            f"did you mean: {', '.join(near)}" if near else some,
            "Use the model type of a Hugging Face config, e.g. gpt2, llama, opt, qwen2.",
        )
    smallest = min(getattr(config, name) for name in NUMBERS)
    if smallest < 1 or config.width % config.heads:
        raise ConfigError(
            "These numbers make no model: all must be positive, and width a multiple of heads.",
            model_numbers(config),
            "Change `width` or `heads`.",
        )
    default = refuse_encoders(AutoConfig.for_model(config.architecture))
    return AutoConfig.for_model(config.architecture, **resized(default, config, vocab_size))


def resized(default: PretrainedConfig, config: ModelConfig, vocab_size: int) -> dict[str, Any]:
    """Put our numbers under the family's names; MLP and key-value groups scale along."""
    fields = set(default.to_dict())
    wanted: dict[str, Any] = {
        "vocab_size": vocab_size,
        "num_hidden_layers": config.layers,
        "num_attention_heads": config.heads,
        **dict.fromkeys(CONTEXTS, config.context),
        **dict.fromkeys(WIDTHS, config.width),
        **dict.fromkeys(HEAD_WIDTHS, config.width // config.heads),
        **dict.fromkeys(SPECIAL_IDS),
        **dict.fromkeys(DROPOUTS, config.dropout),
    }
    for name in ("intermediate_size", "ffn_dim"):
        if isinstance(size := getattr(default, name, None), int):
            wanted[name] = max(8, round(size / default.hidden_size * config.width / 8) * 8)
    if isinstance(groups := getattr(default, "num_key_value_heads", None), int):
        scaled = max(1, config.heads * groups // default.num_attention_heads)
        wanted["num_key_value_heads"] = scaled if config.heads % scaled == 0 else config.heads
    # GPT-2's: one fused kernel instead of seven, the same formula
    for name in ("activation_function", "hidden_act"):
        if getattr(default, name, "") == "gelu_new":
            wanted[name] = "gelu_pytorch_tanh"
    if default.model_type == "gpt_neo":
        kinds = [("global", "local")[block % 2] for block in range(config.layers)]
        wanted["attention_types"] = [[kinds, 1]]
    renamed = {default.attribute_map.get(name, name): value for name, value in wanted.items()}
    return {name: value for name, value in renamed.items() if name in fields}


def refuse_encoders(settings: PretrainedConfig) -> PretrainedConfig:
    """Raise ModelError for an encoder-decoder's configuration, or an encoder's (BERT).

    transformers builds masked models as causal ones too. Only those with is_decoder true in their
    configuration are; other families (GPT-NeoX) leave that field false, and are causal all the
    same.
    """
    masked = settings.model_type in masked_types() and settings.to_dict().get("is_decoder") is False
    if settings.is_encoder_decoder or masked:
        raise encoder_decoder(settings)
    return settings


def model_numbers(config: ModelConfig) -> str:
    """List the numbers a user gave, for an error."""
    if config.config:
        return f"config: {config.config}"
    return ", ".join(f"{name} {getattr(config, name)}" for name in NUMBERS)
