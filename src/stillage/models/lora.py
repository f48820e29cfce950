"""Low-rank adapters: thin matrices beside some layers are trained, not the model.

y = W x + (alpha / r) B A x, with A drawn and B = 0 at the start, so that training starts from the
model itself. Hu et al. 2021, arXiv:2106.09685, section 4.1. The layers, files and merging are
peft's.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import torch

from stillage.errors import ConfigError
from stillage.models.load import load_model, save_model
from stillage.models.quiet import refusing
from stillage.models.source import ADAPTER, adapter_of, base_of, find
from stillage.rng import derive
from stillage.versions import has_lora_targets

if TYPE_CHECKING:
    from peft import LoraConfig
    from transformers import PreTrainedModel, PreTrainedTokenizerFast

    from stillage.run.config import ModelConfig


def with_adapter(
    base: PreTrainedModel,
    config: ModelConfig,
    *,
    tokenizer: PreTrainedTokenizerFast,
    seed: int,
    base_folder: Path,
) -> PreTrainedModel:
    """Put an adapter to train on a base model: new from `seed`, or the given one.

    What is saved later names its base model: the folder or hub id it was loaded from; one that is
    nowhere on disk (from scratch, pruned, or merged with an adapter) is written to base_folder
    first. The model given is changed in place. Raises ConfigError for settings that clash,
    ModelError where the adapter or its layers do not fit.
    """
    from peft import PeftModel, get_peft_model

    where, revision = base_source(config)
    if not where:
        save_model(base, tokenizer, base_folder)
        where = str(base_folder.resolve())
    values = (
        f"adapter: {config.adapter or '(new)'}; base model: {where};"
        f" lora_targets: {', '.join(config.lora_targets) or '(default)'}; "
    )
    fix = "Name layers of the model in lora_targets (all-linear: every one), or check `adapter`."
    with refusing("The adapter does not fit the model.", fix, values):
        if config.adapter:
            given = str(adapter_of(config.adapter))
            model: Any = PeftModel.from_pretrained(base, given, is_trainable=True)
        else:
            own = [base.device] if base.device.type == "cuda" else []
            with torch.random.fork_rng(devices=own):
                torch.manual_seed(derive(seed, "lora"))
                model = get_peft_model(base, lora_config(base, config))
    settings = model.peft_config["default"]
    settings.base_model_name_or_path, settings.revision = where, revision or None
    return cast("PreTrainedModel", model.eval())


def check_adapter_settings(config: ModelConfig) -> None:
    """Raise ConfigError for numbers that make no adapter, or two adapters at once."""
    if config.adapter and config.lora_rank:
        raise ConfigError(
            "An adapter to start from has its own rank.",
            f"adapter: {config.adapter}; lora_rank: {config.lora_rank}",
            "Leave out lora_rank.",
        )
    if config.lora_rank < 0 or config.lora_alpha < 0 or not 0 <= config.lora_dropout < 1:
        raise ConfigError(
            "These numbers make no adapter.",
            f"lora_rank: {config.lora_rank}; lora_alpha: {config.lora_alpha}; "
            f"lora_dropout: {config.lora_dropout}",
            "Choose a rank and an alpha of at least 0, and a dropout in [0, 1).",
        )


def base_source(config: ModelConfig) -> tuple[str, str]:
    """Return a base model's place and commit; empty where it is not on disk as it is."""
    if config.prune_teacher_to or not config.source:
        return "", ""
    if not config.path:
        return str(base_of(adapter_of(config.adapter)).resolve()), ""
    folder = find(config.path, config.revision)
    if (folder / ADAPTER).exists():
        return "", ""
    return (
        (config.path, config.revision)
        if not Path(config.path).is_dir()
        else (str(folder.resolve()), "")
    )


def lora_config(base: PreTrainedModel, config: ModelConfig) -> LoraConfig:
    """Make peft's settings; GPT-2's layers (Conv1D) keep their weights transposed."""
    from peft import LoraConfig
    from transformers import Conv1D

    targets: Any = list(config.lora_targets)
    if not targets and not has_lora_targets(base.config.model_type):
        targets = ["all-linear"]
    return LoraConfig(
        task_type="CAUSAL_LM",
        r=config.lora_rank,
        lora_alpha=config.lora_alpha or 4 * config.lora_rank,  # pyright: ignore[reportArgumentType]
        lora_dropout=config.lora_dropout,
        target_modules="all-linear" if targets == ["all-linear"] else targets or None,
        fan_in_fan_out=any(isinstance(module, Conv1D) for module in base.modules()),
    )


def load_trainable(
    config: ModelConfig,
    *,
    tokenizer: PreTrainedTokenizerFast,
    seed: int,
    base_folder: Path,
    device: str | torch.device = "cpu",
    base: PreTrainedModel | None = None,
) -> PreTrainedModel:
    """Load what a training starts from, with an adapter where the config asks for one.

    base: use this model instead of the one the config names (a pruned teacher).
    """
    check_adapter_settings(config)
    if base is None:
        bare = config
        if config.adapter:
            bare = replace(
                config, path=config.path or str(base_of(adapter_of(config.adapter))), adapter=""
            )
        base = load_model(bare, vocab_size=len(tokenizer), seed=seed, device=device)
    if not (config.lora_rank or config.adapter):
        return base
    return with_adapter(base, config, tokenizer=tokenizer, seed=seed, base_folder=base_folder)


def largest_change(folder: Path) -> float:
    """Find an adapter's largest weight that starts at 0 (B): at 0 it changes nothing."""
    from safetensors import safe_open

    largest: dict[bool, float] = {}
    for file in sorted(folder.glob("adapter_model*.safetensors")):
        with safe_open(file, framework="pt") as tensors:
            for name in tensors.keys():  # noqa: SIM118 - a file, not a dictionary
                starts_at_0 = "lora_B" in name or "lora_embedding_B" in name
                found = float(tensors.get_tensor(name).abs().max())
                largest[starts_at_0] = max(largest.get(starts_at_0, 0.0), found)
    return largest.get(True, largest.get(False, 0.0))
