"""Models and tokenizers in and out: a folder, a pinned hub id, or from scratch."""

from __future__ import annotations

import importlib.util
import logging
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import torch

from stillage.errors import CapabilityError, ModelError
from stillage.models.decoder import check_causal, embedding_rows, encoder_decoder
from stillage.models.limits import device_name
from stillage.models.quiet import quiet, refusing
from stillage.models.scratch import SPECIAL_IDS, from_scratch, refuse_encoders
from stillage.models.source import (
    ADAPTER,
    adapter_of,
    base_of,
    complete_folder,
    find,
    named_base,
    native,
    read_model_config,
    refuse_tokenizer_code,
    require_safetensors,
)
from stillage.run.folder import atomic
from stillage.versions import causal_types

if TYPE_CHECKING:
    from transformers import (
        PretrainedConfig,
        PreTrainedModel,
        PreTrainedTokenizerBase,
        PreTrainedTokenizerFast,
    )

    from stillage.run.config import ModelConfig

log = logging.getLogger("stillage")


def load_tokenizer(path: str, revision: str = "") -> PreTrainedTokenizerFast:
    """Load the fast tokenizer of a folder, a pinned hub id, or an adapter's base.

    Raises ModelError where there is none, or as `checked_tokenizer`.
    """
    folder = find(path, revision)
    if not (folder / "tokenizer.json").exists() and (folder / ADAPTER).exists():
        folder = base_of(folder)
    return checked_tokenizer(read_tokenizer(folder, path), path)


def checked_tokenizer(tokenizer: object, place: str) -> PreTrainedTokenizerFast:
    """Return a usable tokenizer; ModelError for a slow one or one without end of text."""
    from transformers import PreTrainedTokenizerFast

    if not isinstance(tokenizer, PreTrainedTokenizerFast):
        raise ModelError(
            f"The tokenizer of {place} cannot say where its tokens lie in the text.",
            f"kind: {type(tokenizer).__name__}",
            "Use a fast tokenizer (tokenizer.json).",
        )
    if tokenizer.eos_token_id is None:
        raise ModelError(
            f"The tokenizer of {place} has no end-of-text token.",
            "eos_token: none",
            "Set eos_token in its config.",
        )
    return tokenizer


def read_tokenizer(folder: Path, name: str) -> PreTrainedTokenizerBase:
    """Read a folder's tokenizer, the fast one if it has one; ModelError for none."""
    from transformers import AutoTokenizer

    refuse_tokenizer_code(folder)
    fix = "Give a folder that has tokenizer.json."
    with refusing(f"{name} has no tokenizer that can be read.", fix):
        return AutoTokenizer.from_pretrained(
            folder, trust_remote_code=False, use_fast=True, local_files_only=True
        )


def load_model(
    config: ModelConfig, *, vocab_size: int, seed: int, device: str | torch.device = "cpu"
) -> PreTrainedModel:
    """Load a config's model, in eval mode: a folder, a pinned hub id, or new weights.

    An adapter folder (PEFT), or `adapter`, gives its base model with the adapter merged.
    vocab_size: the tokenizer's; a model may have more rows (padding), not fewer. seed: of new
    weights. Raises ModelError: nothing there, pickled weights, weights missing, own code needed, no
    decoder-only model, vocabulary too small; CapabilityError where it cannot be quantised here.
    """
    dtype = getattr(torch, config.dtype)
    folder = find(config.path, config.revision) if config.path else None
    if config.quantize != "none":
        model = read_quantized(config, folder, device)
    elif config.adapter:
        model = merge_adapter(folder, adapter_of(config.adapter), dtype)
    elif folder is not None:
        model = read_any(folder, dtype)
    else:
        model = from_scratch(config, vocab_size=vocab_size, seed=seed)
    check_rows_of(config.source, embedding_rows(model), vocab_size)
    if config.quantize == "none":
        model = model.to(device)  # pyright: ignore[reportArgumentType]
    model = model.eval()
    check_causal(model)
    return model


def load_on_device(
    config: ModelConfig, tokenizer: PreTrainedTokenizerFast, seed: int = 0
) -> PreTrainedModel:
    """Load a config's model as `load_model`, for the tokenizer, on the best device."""
    return load_model(config, vocab_size=len(tokenizer), seed=seed, device=device_name())


def check_rows_of(source: str, rows: int, vocab_size: int) -> None:
    """Raise ModelError where a model lacks tokens of the tokenizer."""
    if rows < vocab_size:
        raise ModelError(
            "The model knows fewer tokens than the tokenizer.",
            f"{source}: {rows} rows; tokenizer: {vocab_size} tokens",
            "Use the tokenizer that came with the model.",
        )


def check_ahead(config: ModelConfig, *, vocab_size: int) -> PretrainedConfig:
    """Refuse by its settings alone a model that `load_model` would refuse.

    Asked before hours of training end in that error: bitsandbytes missing, no decoder, pickled
    weights, too few tokens. An adapter stands for its base model. Returns the configuration.
    """
    if config.quantize != "none":
        quantization(config.quantize, torch.float32)
    folder = complete_folder(config)
    settings = read_config(folder)
    check_rows_of(config.source, settings.get_text_config().vocab_size, vocab_size)
    return settings


def read_config(folder: Path) -> PretrainedConfig:
    """Read the settings of a decoder's folder with safetensors; ModelError for others."""
    from transformers import AutoConfig

    kind = native(read_model_config(folder / "config.json"), folder)
    settings = AutoConfig.from_pretrained(folder, trust_remote_code=False, local_files_only=True)
    if kind not in causal_types():
        raise encoder_decoder(settings)
    refuse_encoders(settings)
    require_safetensors(folder)
    return settings


def read_any(folder: Path, dtype: torch.dtype) -> PreTrainedModel:
    """Read a model folder, or an adapter folder with its base model."""
    if (folder / ADAPTER).exists():
        return merge_adapter(None, folder, dtype)
    return read_model(folder, dtype)


def read_quantized(
    config: ModelConfig, folder: Path | None, device: str | torch.device
) -> PreTrainedModel:
    """Read a complete folder in 8 or 4 bits; CapabilityError where that cannot be."""
    if folder is None or config.adapter or (folder / ADAPTER).exists():
        raise CapabilityError(
            "Only a complete model folder can be quantised.",
            f"path: {config.path or '(from scratch)'}; adapter: {config.adapter or '(none)'}; "
            f"quantize: {config.quantize}",
            "Save the merged model first, or leave out quantize.",
        )
    dtype = getattr(torch, config.dtype)
    settings = {"quantization_config": quantization(config.quantize, dtype)}
    return read_model(folder, dtype, settings | {"device_map": {"": device}})


def quantization(kind: str, dtype: torch.dtype) -> object:
    """Make bitsandbytes' settings: int8 (Dettmers et al. 2022) or nf4 (2305.14314)."""
    if importlib.util.find_spec("bitsandbytes") is None:
        raise CapabilityError(
            "Quantised weights need bitsandbytes.",
            f"quantize: {kind}; bitsandbytes: not installed",
            "pip install 'stillage[quantize]', or use --teacher.dtype bfloat16.",
        )
    from transformers import BitsAndBytesConfig

    if kind == "int8":
        return BitsAndBytesConfig(load_in_8bit=True)
    return BitsAndBytesConfig(
        load_in_4bit=True, bnb_4bit_quant_type="nf4", bnb_4bit_compute_dtype=dtype
    )


def read_model(
    folder: Path, dtype: torch.dtype, extra: Mapping[str, object] | None = None
) -> PreTrainedModel:
    """Read a complete model folder: safetensors only, every weight there, no own code.

    extra: more arguments of from_pretrained.
    """
    from transformers import AutoModelForCausalLM

    options = {"config": read_config(folder), "dtype": dtype, **(extra or {})}
    complete = "the complete model (for a LoRA adapter, a folder with adapter_config.json)"
    model, unused = read_weights(AutoModelForCausalLM, folder, options, complete)
    if unused:
        notice = "%s: %d tensors are not part of the model and are left out, e.g. %s"
        log.warning(notice, folder, len(unused), unused[0])
    return model


def read_weights(
    factory: Any,  # noqa: ANN401 - one of transformers' auto classes
    folder: Path,
    options: Mapping[str, object],
    complete: str,
) -> tuple[PreTrainedModel, list[str]]:
    """Read safetensors by transformers; return the model and the unused weights.

    Raises ModelError where they cannot be read, or where some are missing: then the advice is to
    give `complete`.
    """
    fix = "Copy the folder again: it may be damaged."
    with refusing(f"The weights of {folder} cannot be read.", fix):
        model, info = factory.from_pretrained(
            folder,
            use_safetensors=True,
            trust_remote_code=False,
            local_files_only=True,
            output_loading_info=True,
            **options,
        )
    if missing := sorted(info["missing_keys"]):
        raise ModelError(
            f"{folder} lacks weights; the rest would be random.",
            f"missing: {len(missing)}, e.g. {', '.join(missing[:3])}",
            f"Give {complete}.",
        )
    return model, sorted(info["unexpected_keys"])


def merge_adapter(base: Path | None, folder: Path, dtype: torch.dtype) -> PreTrainedModel:
    """Merge an adapter's folder (PEFT) into a base model: a given one, or its own."""
    from peft import PeftModel

    require_safetensors(folder, "adapter_model")
    model = read_any(base or base_of(folder), dtype)
    what = f"The adapter {folder} does not fit its base model."
    fix = (
        "Check base_model_name_or_path in adapter_config.json, or name the model it was trained on."
    )
    with refusing(what, fix, f"base model: {base or named_base(folder)[0]}; "):
        adapted = PeftModel.from_pretrained(model, str(folder))
    check_applied(adapted, folder)
    return cast("PreTrainedModel", adapted.merge_and_unload())  # pyright: ignore[reportCallIssue]


def check_applied(adapted: Any, folder: Path) -> None:  # noqa: ANN401 - peft's model
    """Raise ModelError where an adapter's weights are not its layers'; peft warns."""
    from peft import get_peft_model_state_dict
    from safetensors import safe_open

    wanted = set(get_peft_model_state_dict(adapted, save_embedding_layers=False))
    stored: set[str] = set()
    for file in sorted(folder.glob("adapter_model*.safetensors")):
        with safe_open(file, framework="pt") as tensors:
            stored |= set(tensors.keys())
    unused = sorted(name for name in stored - wanted if "lora_" in name)
    if lacking := sorted(wanted - stored) or unused:
        raise ModelError(
            f"The adapter {folder} would not be applied: "
            "its weights are not those of the layers it names.",
            f"base model: {named_base(folder)[0] or '(given)'}; missing: {len(wanted - stored)},"
            f" without a place: {len(unused)}, e.g. {lacking[0]}",
            "Check base_model_name_or_path and target_modules in adapter_config.json, "
            "or save the adapter again.",
        )


def save_model(model: PreTrainedModel, tokenizer: PreTrainedTokenizerFast, folder: Path) -> None:
    """Write a complete Hugging Face folder, whole or not at all.

    Config, safetensors, generation config, tokenizer, whose special ids become the model's. Equal
    weights give equal bytes. A PEFT model is written as its adapter.
    """
    from transformers import PreTrainedModel

    for name in SPECIAL_IDS:
        for settings in filter(None, (model.config, model.generation_config)):
            setattr(settings, name, getattr(tokenizer, name))
    with atomic(folder) as temporary, quiet():
        if isinstance(model, PreTrainedModel):
            model.save_pretrained(temporary, safe_serialization=True)
        else:  # peft's: "auto" would ask the hub about the vocabulary; the card is an empty form
            model.save_pretrained(temporary, safe_serialization=True, save_embedding_layers=False)
            (temporary / "README.md").unlink(missing_ok=True)
        tokenizer.save_pretrained(temporary)
