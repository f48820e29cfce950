"""What a model is, as 64 hexadecimal digits, for caches, answers and trainings.

Two ways to the content: of a model in memory, as it will compute (adapters merged, precision
chosen), and of a folder, from its files alone. They give different names; whoever keeps something
uses one of them throughout.
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
"""Entries of a configuration that do not change what the model computes."""
PLACE = ("base_model_name_or_path", "revision")
"""Entries of an adapter that say where its base model is, which is hashed itself."""


def model_hash(model: PreTrainedModel) -> str:
    """Hash a model in memory: settings and every weight; about a second for each GB."""
    digest = hashlib.sha256(json_bytes(drop_entries(model.config.to_dict(), VOLATILE)))
    for name, adapter in sorted(getattr(model, "peft_config", {}).items()):
        digest.update(name.encode() + json_bytes(drop_entries(adapter.to_dict(), PLACE)))
    for name, value in sorted(model.state_dict().items()):
        digest.update(f"\0{name}\0".encode())
        if not isinstance(value, torch.Tensor):  # the extra state of a quantised layer
            digest.update(repr(value).encode())
            continue
        digest.update(f"{value.dtype} {tuple(value.shape)}\0".encode())
        digest.update(value.detach().cpu().contiguous().view(-1).view(torch.uint8).numpy().data)
    return digest.hexdigest()


def generation_hash(model: PreTrainedModel) -> str:
    """Hash a model's own generation settings; "" for a model without any."""
    settings = getattr(model, "generation_config", None)
    if settings is None:
        return ""
    return sha256_text(json_bytes(drop_entries(settings.to_dict(), VOLATILE)).decode())


def folder_hash(folder: Path) -> str:
    """Hash a model folder without loading it: configuration and weights' files.

    Neither the name of the folder nor its tokenizer counts. An adapter folder hashes its base model
    too.
    """
    parts: list[Any] = []
    if (folder / ADAPTER).exists():
        parts += [
            drop_entries(read_model_config(folder / ADAPTER), PLACE),
            folder_hash(base_of(folder)),
        ]
    else:
        parts.append(drop_entries(read_model_config(folder / "config.json"), VOLATILE))
    parts.extend([path.name, sha256_file(path)] for path in sorted(folder.glob("*.safetensors")))
    return sha256_text(json.dumps(parts, sort_keys=True))


def drop_entries(content: Mapping[str, Any], names: tuple[str, ...]) -> dict[str, Any]:
    """Leave some entries out of a configuration and of those inside it."""
    return {
        name: drop_entries(value, names) if isinstance(value, dict) else value
        for name, value in content.items()
        if name not in names
    }


def json_bytes(content: Mapping[str, Any]) -> bytes:
    """Write a configuration as bytes that do not depend on the order of its entries."""
    return json.dumps(content, sort_keys=True, default=plain_value).encode()


def plain_value(value: object) -> object:
    """Write a value that JSON does not know: sets in order, all else by its text."""
    return sorted(map(str, value)) if isinstance(value, set | frozenset) else str(value)
