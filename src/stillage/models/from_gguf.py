"""Convert GGUF files (llama.cpp's format) of Llama models to Hugging Face folders.

The file is read with the package gguf, not through transformers, whose readers differ between
versions, keep the weights packed in some, and pass over scaled rotary embeddings and unknown rules
of cutting texts without a word. The tests compare with them, tensor by tensor.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from stillage.errors import CapabilityError, ConfigError, ModelError, UserError, first_line
from stillage.models.gguf_tokenizer import INSTEAD, gguf_tokenizer
from stillage.models.load import check_rows_of, save_model
from stillage.run.folder import (
    atomic,
    changed_file,
    full_disk_interrupts,
    hash_files,
    list_files,
    read_json,
    sha256_file,
    write_json,
)

if TYPE_CHECKING:
    from gguf import ReaderTensor
    from transformers import LlamaConfig, PreTrainedModel

ORIGIN = "gguf.json"
"""Written into the folder: what it was made of, and the sha256 of all in it."""
DAMAGED = "Fetch the file again: it is damaged."
NUMBERS = {
    "llama.block_count": "num_hidden_layers",
    "llama.embedding_length": "hidden_size",
    "llama.feed_forward_length": "intermediate_size",
    "llama.attention.head_count": "num_attention_heads",
    "llama.context_length": "max_position_embeddings",
}
KNOWN = (
    *NUMBERS,
    "llama.attention.head_count_kv",
    "llama.attention.layer_norm_rms_epsilon",
    "llama.attention.key_length",
    "llama.attention.value_length",
    "llama.rope.dimension_count",
    "llama.rope.freq_base",
    "llama.vocab_size",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Gguf:
    """The metadata of a GGUF file, and its tensors, not read yet."""

    metadata: Mapping[str, Any]  # numbers, texts, lists of either
    tensors: Mapping[str, ReaderTensor]


def convert_gguf(file: Path, folder: Path) -> dict[str, Any]:
    """Write the model of a GGUF file as a Hugging Face folder, float32.

    The folder is there whole or not at all. One that holds this very conversion, undamaged, is left
    as it is. Returns the folder's gguf.json: the file's name and sha256, how its weights were
    stored, its licence. Raises ModelError for a file that is no GGUF, is damaged, or holds what
    would be lost; CapabilityError without the package gguf; ConfigError where the folder cannot be
    written; Interrupted where the disk is full.
    """
    digest = check_file(file)
    if done := converted(folder, digest):
        return done
    with readable(file):
        source = read_gguf(file)
        check_llama(source.metadata)
        tokenizer = gguf_tokenizer(source.metadata)
        model = gguf_model(source)
    check_rows_of(str(file), model.config.vocab_size, len(tokenizer))
    stored_as = Counter(tensor.tensor_type.name for tensor in source.tensors.values())
    origin = {
        "file": file.name,
        "sha256": digest,
        "name": source.metadata.get("general.name", ""),
        "license": source.metadata.get("general.license", ""),
        "stored_as": dict(sorted(stored_as.items())),
    }
    try:
        with full_disk_interrupts(folder.parent), atomic(folder) as temporary:
            save_model(model, tokenizer, temporary)
            made = hash_files(temporary, list_files(temporary))
            write_json(temporary / ORIGIN, origin | {"files": made})
    except OSError as error:
        raise ConfigError(
            f"{folder} cannot be written.",
            f"{type(error).__name__}: {error}",
            "Choose another folder.",
        ) from error
    return read_json(folder / ORIGIN)


def check_file(file: Path) -> str:
    """Hash a file that begins as a GGUF file does; ModelError for any other."""
    try:
        with file.open("rb") as handle:
            start = handle.read(4)
    except OSError as error:
        raise ModelError(
            f"{file} cannot be read.", f"{type(error).__name__}: {error}", "Check the path."
        ) from error
    if start != b"GGUF":
        raise ModelError(
            f"{file} is not a GGUF file.",
            f"it begins with {start!r}, not with b'GGUF'" if start else "it is empty",
            "Check the path, or fetch the file again.",
        )
    return sha256_file(file)


def converted(folder: Path, digest: str) -> dict[str, Any]:
    """Return the gguf.json of a folder converted from the file with this sha256.

    Empty where there is no folder, or an empty one. Raises ConfigError for a folder with anything
    else in it: a conversion never replaces what it did not make.
    """
    if not folder.exists() or (folder.is_dir() and not any(folder.iterdir())):
        return {}
    origin: dict[str, Any] = {}
    try:
        origin = read_json(folder / ORIGIN)
        wrong = (
            changed_file(folder, origin["files"])
            if origin["sha256"] == digest
            else "it was converted from another file"
        )
    except (OSError, ValueError, KeyError, TypeError):
        wrong = f"no {ORIGIN} in it says that it was converted from this file"
    if wrong:
        raise ConfigError(
            f"{folder} has other content.", wrong, "Choose another folder, or remove this one."
        )
    return origin


@contextmanager
def readable(file: Path) -> Iterator[None]:
    """Turn what a reader raises over damaged bytes into ModelError."""
    try:
        yield
    except (UserError, MemoryError):
        raise
    except Exception as error:
        raise ModelError(
            f"{file} cannot be read.",
            f"size: {file.stat().st_size} bytes; {type(error).__name__}: {first_line(error)}",
            "Fetch it again: it may be damaged or incomplete.",
        ) from error


def read_gguf(file: Path) -> Gguf:
    """Open a GGUF file. CapabilityError without the package gguf."""
    try:
        from gguf import GGUFReader
    except ImportError as error:
        raise CapabilityError(
            "GGUF files are read with the package gguf, which is not installed.",
            f"{type(error).__name__}: {error}",
            "Install it: pip install 'stillage[gguf]'.",
        ) from error
    reader = GGUFReader(file)
    metadata = {name: field.contents() for name, field in reader.fields.items()}
    return Gguf(metadata=metadata, tensors={tensor.name: tensor for tensor in reader.tensors})


def check_llama(metadata: Mapping[str, Any]) -> None:
    """Require a Llama model without settings that LlamaConfig cannot express."""
    architecture = metadata.get("general.architecture", "(none)")
    if architecture != "llama":
        values = f"general.architecture: {architecture}; read: llama"
        raise ModelError("The architecture of this GGUF file is not read.", values, INSTEAD)
    settings = {name: value for name, value in metadata.items() if name.startswith("llama.")}
    if settings.get("llama.rope.scaling.type") == "none":
        del settings["llama.rope.scaling.type"]
    unknown = {name: value for name, value in settings.items() if name not in KNOWN}
    heads = metadata["llama.attention.head_count"]
    size = metadata.get("llama.attention.key_length", metadata["llama.embedding_length"] // heads)
    for name in ("llama.rope.dimension_count", "llama.attention.value_length"):
        if metadata.get(name, size) != size:
            unknown[name] = metadata[name]
    if unknown:
        raise ModelError(
            "This GGUF file has settings that the conversion would lose.",
            ", ".join(f"{name}: {value}" for name, value in unknown.items()),
            INSTEAD,
        )


def llama_config(source: Gguf) -> LlamaConfig:
    """Make the Hugging Face configuration that the metadata means."""
    from transformers import LlamaConfig

    of = source.metadata
    heads = of["llama.attention.head_count"]
    theta = shortest(of.get("llama.rope.freq_base", 10000.0))
    numbers: dict[str, Any] = {ours: int(of[theirs]) for theirs, ours in NUMBERS.items()}
    return LlamaConfig(
        **numbers,
        num_key_value_heads=int(of.get("llama.attention.head_count_kv", heads)),
        head_dim=int(of.get("llama.attention.key_length", of["llama.embedding_length"] // heads)),
        rms_norm_eps=shortest(of["llama.attention.layer_norm_rms_epsilon"]),
        rope_parameters={"rope_type": "default", "rope_theta": theta},
        vocab_size=int(source.tensors["token_embd.weight"].shape[-1]),
        tie_word_embeddings="output.weight" not in source.tensors,
    )


def shortest(value: float) -> float:
    """Return the shortest decimal of a float32: 1e-05, not 9.999999747378752e-06."""
    return float(str(np.float32(value)))


def gguf_model(source: Gguf) -> PreTrainedModel:
    """Make the float32 model; ModelError where a tensor is missing, extra or broken."""
    from gguf import MODEL_ARCH, get_tensor_name_map
    from transformers import LlamaForCausalLM

    config = llama_config(source)
    if config.num_hidden_layers > len(source.tensors):  # a damaged number would be built for hours
        raise ModelError(
            "This GGUF file has fewer tensors than layers.",
            f"llama.block_count: {config.num_hidden_layers}, tensors: {len(source.tensors)}",
            DAMAGED,
        )
    with torch.device("meta"):
        model = LlamaForCausalLM(config)
    places = {ours: tuple(place.shape) for ours, place in model.state_dict().items()}
    if config.tie_word_embeddings:
        del places["lm_head.weight"]
    known = get_tensor_name_map(MODEL_ARCH.LLAMA, config.num_hidden_layers)
    names = {ours: known.get_name(ours, (".weight", ".bias")) or ours for ours in places}
    missing = sorted(ours for ours, name in names.items() if name not in source.tensors)
    extra = sorted(source.tensors.keys() - names.values())
    if missing or extra:
        raise ModelError(
            "The tensors of this GGUF file are not those of a Llama model.",
            f"missing: {', '.join(missing[:3]) or 'none'}; "
            f"without a place: {', '.join(extra[:3]) or 'none'}",
            f"Fetch the file again. {INSTEAD}",
        )
    state = {
        ours: read_tensor(source, names[ours], config, shape) for ours, shape in places.items()
    }
    model.load_state_dict(state, strict=False, assign=True)
    model.tie_weights()
    model.generation_config.do_sample = False
    return model.eval()


def read_tensor(
    source: Gguf, name: str, config: LlamaConfig, shape: tuple[int, ...]
) -> torch.Tensor:
    """Read a tensor as float32, in transformers' order; ModelError for a broken one."""
    from gguf import dequantize

    tensor = source.tensors[name]
    values = np.array(dequantize(tensor.data, tensor.tensor_type), dtype=np.float32)
    if values.shape != shape:
        what = "A tensor of this GGUF file has another shape than its settings mean."
        raise ModelError(what, f"{name}: {values.shape}, expected: {shape}", DAMAGED)
    if broken := int((~np.isfinite(values)).sum()):
        what = "A tensor of this GGUF file has values that are no numbers."
        raise ModelError(what, f"{name}: {broken} of {values.size}", DAMAGED)
    if ".attn_q." in name:
        values = unpaired(values, config.num_attention_heads)
    elif ".attn_k." in name:
        values = unpaired(values, config.num_key_value_heads or config.num_attention_heads)
    return torch.from_numpy(values)


def unpaired(values: np.ndarray, heads: int) -> np.ndarray:
    """Reorder the rows of each head from llama.cpp's order to that of transformers.

    llama.cpp has the two rows of a rotated pair side by side, transformers all first ones before
    all second ones. Undoes LlamaModel.permute of llama.cpp's convert_hf_to_gguf.py.
    """
    rows = values.shape[0]
    pairs = values.reshape(heads, rows // heads // 2, 2, *values.shape[1:])
    return np.ascontiguousarray(pairs.swapaxes(1, 2).reshape(values.shape))
