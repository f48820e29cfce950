"""What a model is, as 64 hexadecimal digits: the name that caches, answers and trainings know it by.

Two ways to the content: of a model in memory, as it will compute (adapters merged, precision chosen), and of a folder, from
its files alone. They give different names; whoever keeps something uses one of them throughout.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from stillage.models.source import ADAPTER, base_of, read_model_config
from stillage.run.folder import sha256_file, sha256_text

if TYPE_CHECKING:
    from transformers import PreTrainedModel

VOLATILE = ("transformers_version", "_name_or_path", "torch_dtype", "dtype")
"""Entries of a configuration that say nothing about what the model computes; the precision is in the tensors."""
PLACE = ("base_model_name_or_path", "revision")
"""Entries of an adapter that say where its base model is; what that holds is hashed itself."""


def model_hash(model: PreTrainedModel) -> str:
    """Hash a model in memory: its configuration, its adapters' settings, and every bit of its weights, with their types.

    About a second for each GB on one core.
    """
    digest = hashlib.sha256(text_of(without(model.config.to_dict(), VOLATILE)))
    for name, adapter in sorted(getattr(model, "peft_config", {}).items()):
        digest.update(name.encode() + text_of(without(adapter.to_dict(), PLACE)))
    for name, value in sorted(model.state_dict().items()):
        digest.update(f"\0{name}\0".encode())
        if not isinstance(value, torch.Tensor):  # the extra state of a quantised layer
            digest.update(repr(value).encode())
            continue
        digest.update(f"{value.dtype} {tuple(value.shape)}\0".encode())
        digest.update(value.detach().cpu().contiguous().view(-1).view(torch.uint8).numpy().data)
    return digest.hexdigest()


def generation_hash(model: PreTrainedModel) -> str:
    """Hash a model's own generation settings, which transformers' searches read; "" for a model without any."""
    settings = getattr(model, "generation_config", None)
    return (
        sha256_text(text_of(without(settings.to_dict(), VOLATILE)).decode())
        if settings is not None
        else ""
    )


def folder_hash(folder: Path) -> str:
    """Hash a model folder without loading it: its configuration and its weights' files.

    Neither the name of the folder nor its tokenizer counts. An adapter folder hashes its base model too.
    """
    parts: list[Any] = []
    if (folder / ADAPTER).exists():
        parts += [without(read_model_config(folder / ADAPTER), PLACE), folder_hash(base_of(folder))]
    else:
        parts.append(without(read_model_config(folder / "config.json"), VOLATILE))
    parts.extend([path.name, sha256_file(path)] for path in sorted(folder.glob("*.safetensors")))
    return sha256_text(json.dumps(parts, sort_keys=True))


def without(content: Mapping[str, Any], names: tuple[str, ...]) -> dict[str, Any]:
    """The entries of a configuration, and of those inside it, but for some."""
    return {
        name: without(value, names) if isinstance(value, dict) else value
        for name, value in content.items()
        if name not in names
    }


def text_of(content: Mapping[str, Any]) -> bytes:
    """A configuration as bytes that do not depend on the order of its entries."""
    return json.dumps(content, sort_keys=True, default=plain_value).encode()


def plain_value(value: object) -> object:
    """A value that JSON does not know: sets in order, all else by its text."""
    return sorted(map(str, value)) if isinstance(value, set | frozenset) else str(value)
