"""Where a model comes from; nothing in its folder is ever executed or unpickled."""

from __future__ import annotations

import json
import logging
import re
import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Any

from stillage.errors import ModelError, first_line

if TYPE_CHECKING:
    from collections.abc import Iterator

    from stillage.run.config import ModelConfig

log = logging.getLogger("stillage")
ADAPTER = "adapter_config.json"
HUB_ID = re.compile(r"^[A-Za-z0-9][\w.-]*(/[A-Za-z0-9][\w.-]*)?$")
COMMIT = re.compile(r"^[0-9a-f]{40}$")
WANTED = ["*.json", "*.safetensors", "*.txt", "*.model", "*.jinja", "*.tiktoken"]
"""Files of a model that are fetched and hashed; no .bin, no .py: never on this disk."""
CONVERT = (
    "import torch, glob; from safetensors.torch import save_file; weights = {}; "
    "[weights.update(torch.load(f, map_location='cpu', weights_only=True)) "
    "for f in sorted(glob.glob('%s*.bin'))]; "
    "save_file({k: v.clone().contiguous() for k, v in weights.items()}, "
    "'%s.safetensors', metadata={'format': 'pt'})"
)


def is_model(folder: Path) -> bool:
    """Tell whether a folder is a model's, or an adapter's."""
    return any((folder / name).is_file() for name in ("config.json", ADAPTER))


def find(path: str, revision: str = "") -> Path:
    """Find the folder of a model: itself, else the hub's files, fetched once.

    Raises ModelError where it is neither, or where the hub id is not pinned to a commit.
    """
    check_place(path, revision)
    return Path(path) if Path(path).is_dir() else download(path, revision)


def check_place(path: str, revision: str = "") -> None:
    """Raise the errors of `find`, without fetching anything."""
    if Path(path).is_dir():
        return
    if path.endswith(".gguf") and Path(path).is_file():
        raise is_gguf(Path(path))
    if not HUB_ID.match(path):
        raise ModelError(
            f"There is no folder {path}.", f"working folder: {Path.cwd()}", "Check the path."
        )
    if not COMMIT.match(revision):
        raise ModelError(
            f"{path} is neither a folder here nor a hub id pinned to a commit.",
            f"revision: {revision or '(none)'}; wanted: 40 hexadecimal digits",
            "Check the path, or copy the commit from "
            f"https://huggingface.co/{path}/commits/main into `revision:`.",
        )


def download(hub_id: str, revision: str) -> Path:
    """Fetch settings and safetensors, no code, of a hub id at one commit, once."""
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HFValidationError

    try:
        return Path(
            snapshot_download(
                hub_id, revision=revision, allow_patterns=WANTED, ignore_patterns=["*/*"]
            )
        )
    except (HFValidationError, OSError) as error:  # the hub's other errors are OSErrors
        raise ModelError(
            f"{hub_id} could not be fetched from the hub.",
            f"revision: {revision}; {type(error).__name__}: {first_line(error)}",
            "Check the id, the commit and the connection, or give a local folder.",
        ) from error


def is_gguf(file: Path) -> ModelError:
    """Make the error for a GGUF file in a folder's place; it names the right command."""
    words = f"{shlex.quote(str(file))} {shlex.quote(str(file.with_suffix('')))}"
    return ModelError(
        "This is a GGUF file; models are read from Hugging Face folders.",
        f"found: {file}",
        f"Convert it once, and give the new folder: stillage convert {words}",
    )


def refuse_gguf(folder: Path) -> None:
    """Refuse a folder of GGUF files; any other has the caller's own error."""
    if file := min(folder.glob("*.gguf"), default=None):
        raise is_gguf(file)


def read_model_config(file: Path) -> dict[str, Any]:
    """Read a config.json; ModelError where it is broken, or would fetch code."""
    try:
        content = json.loads(file.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        refuse_gguf(file.parent)
        raise ModelError(
            f"{file.parent} is not a model folder.",
            "config.json is missing",
            model_inside(file.parent) or "Give a Hugging Face model folder.",
        ) from error
    except (json.JSONDecodeError, UnicodeDecodeError, IsADirectoryError) as error:
        if file.suffix == ".gguf":
            raise is_gguf(file) from error
        raise ModelError(f"{file} is not valid JSON.", str(error), "Restore the file.") from error
    if not isinstance(content, dict):
        raise ModelError(
            f"{file} is not a model's configuration.",
            f"found: {type(content).__name__}",
            "Restore it.",
        )
    for key, value in nested(content):
        if "attn_implementation" in key and "/" in str(value):
            raise ModelError(
                f"{file} names an attention kernel to download; "
                "code from a model's folder is never run.",
                f"{key}: {value}",
                "Remove that line from config.json.",
            )
    return content


def nested(content: dict[str, Any]) -> Iterator[tuple[str, Any]]:
    """List every key and value of nested JSON objects."""
    for key, value in content.items():
        yield key, value
        if isinstance(value, dict):
            yield from nested(value)


def native(content: dict[str, Any], where: Path) -> str:
    """Return the model type where transformers knows it; ModelError where it does not.

    Code that comes with the model is ignored with a notice.
    """
    from transformers import CONFIG_MAPPING

    kind = content.get("model_type", "")
    if kind not in CONFIG_MAPPING:
        own_code = "auto_map" in content
        raise ModelError(
            "This model needs its own code to be run, which Stillage never does."
            if own_code
            else "transformers does not know this model type.",
            f"{where}: model_type {kind or '(none)'}"
            + (f", auto_map {content['auto_map']}" if own_code else ""),
            "Use a model type that transformers has built in "
            "(a newer transformers may know this one).",
        )
    if "auto_map" in content:
        log.warning("%s brings its own code; it is ignored, transformers' %s is used", where, kind)
    return kind


def folders_of(config: ModelConfig) -> list[Path]:
    """Find the folders that a config's weights are in: its model's, its adapter's."""
    folders = [find(config.path, config.revision)] if config.path else []
    return [*folders, *([adapter_of(config.adapter)] if config.adapter else [])]


def complete_folder(config: ModelConfig) -> Path:
    """Find the complete model of a config; an adapter stands for its base model."""
    folder = folders_of(config)[0]
    while (folder / ADAPTER).exists():
        folder = base_of(folder)
    return folder


def base_of(folder: Path) -> Path:
    """Find an adapter's base model, fetched if on the hub; ModelError if nowhere."""
    base, revision, here = check_base(folder)
    return here or find(base, revision)


def named_base(folder: Path) -> tuple[str, str, Path | None]:
    """Return an adapter's base model: name, commit, and its folder here, if any.

    A training writes a base model of its own to `base/` above the adapter: it is found there when
    the run folder has been moved.
    """
    settings = read_model_config(folder / ADAPTER)
    base = str(settings.get("base_model_name_or_path") or "")
    above = [folder.parent / "base", folder.parent.parent / "base"]
    places = [folder / base, *(above if Path(base).name == "base" else []), Path(base)]
    here = next((place for place in places if place.is_dir()), None) if base else None
    return base, str(settings.get("revision") or ""), here


def check_base(folder: Path) -> tuple[str, str, Path | None]:
    """Return `named_base`; ModelError: it is nowhere, or in a circle. Fetches nothing."""
    base, revision, here = named_base(folder)
    try:
        if not here:
            check_place(base, revision)
    except ModelError as error:
        raise ModelError(
            f"The base model of the adapter {folder} is not there.",
            f"base_model_name_or_path: {base or '(none)'}; {error.what}",
            f"Put it there, or correct {folder / ADAPTER}.",
        ) from error
    folders = with_bases(str(folder))
    if (folders[-1] / ADAPTER).exists() and named_base(folders[-1])[2]:
        raise ModelError(
            "These adapters name each other as their base model.",
            ", ".join(map(str, folders)),
            f"Name a complete model in {folders[-1] / ADAPTER}.",
        )
    return base, revision, here


def with_bases(path: str) -> list[Path]:
    """List a local model folder and, for an adapter, its local base models' folders."""
    found: dict[Path, Path] = {}  # resolved: adapters may name each other
    folder = Path(path) if path else None
    while folder is not None and folder.is_dir() and folder.resolve() not in found:
        found[folder.resolve()] = folder
        folder = named_base(folder)[2] if (folder / ADAPTER).exists() else None
    return list(found.values())


def check_folder_ahead(path: str, revision: str = "") -> None:
    """Refuse a local folder that is no model, or an adapter without its base.

    By a look at its files; fetches nothing. Errors as `check_place`, `read_model_config`,
    `require_safetensors`, `check_base` and `refuse_tokenizer_code`.
    """
    check_place(path, revision)
    folders = with_bases(path)
    for folder in folders:
        if (folder / ADAPTER).exists():
            adapter_of(str(folder), needs_base=True)
    if not folders or (folders[-1] / ADAPTER).exists():  # a hub id: fetched when its turn comes
        return
    read_model_config(folders[-1] / "config.json")
    require_safetensors(folders[-1])
    refuse_tokenizer_code(folders[0 if (folders[0] / "tokenizer.json").exists() else -1])


def adapter_of(path: str, *, needs_base: bool = False) -> Path:
    """Find an adapter's folder (PEFT); ModelError for none, or pickled weights only.

    needs_base: ModelError also where its base model is nowhere.
    """
    check_place(path)
    folder = Path(path)
    if not (folder / ADAPTER).exists():
        raise ModelError(
            f"{path} is not an adapter folder.",
            f"missing: {ADAPTER}",
            "For a complete model, use `path` instead.",
        )
    require_safetensors(folder, "adapter_model")
    if needs_base:
        check_base(folder)
    return folder


def refuse_tokenizer_code(folder: Path) -> None:
    """Refuse a folder without a tokenizer, or with one that needs its own code."""
    files = (
        "tokenizer.json",
        "tokenizer_config.json",
        "vocab.json",
        "tokenizer.model",
        "spiece.model",
        "vocab.txt",
    )
    if not any((folder / name).exists() for name in files):
        refuse_gguf(folder)
        known = is_model(folder)
        raise ModelError(
            f"{folder} has no tokenizer." if known else f"{folder} is not a model folder.",
            f"missing: {'' if known else 'config.json, '}tokenizer.json",
            model_inside(folder) or "Give a folder with a tokenizer.",
        )
    settings = folder / "tokenizer_config.json"
    if (
        settings.exists()
        and "auto_map" in read_model_config(settings)
        and not (folder / "tokenizer.json").exists()
    ):
        raise ModelError(
            "This tokenizer needs its own code to be run, which Stillage never does.",
            f"{settings}: auto_map, and no tokenizer.json",
            "Use a tokenizer saved as tokenizer.json.",
        )


def model_inside(folder: Path) -> str:
    """Say what to give instead of a folder that holds models; empty for any other."""
    inside = [*folder.glob("model/config.json"), *sorted(folder.glob("*/model/config.json"))]
    names = ", ".join(str(file.parent) for file in inside[:5])
    return f"Give a model in it: {names}" if inside else ""


def require_safetensors(folder: Path, stem: str = "model") -> None:
    """Refuse a folder without `stem`.safetensors or its shards.

    Pickled weights (.bin) can run any code when they are opened: never opened here, they get the
    command that converts them.
    """
    index = folder / f"{stem}.safetensors.index.json"
    if index.exists():
        shards = sorted(set(read_model_config(index).get("weight_map", {}).values()))
        wrong = [
            s
            for s in shards
            if not s.endswith(".safetensors") or Path(s).name != s or not (folder / s).exists()
        ]
        if wrong or not shards:
            raise ModelError(
                "The index of the weights names files that cannot be used.",
                f"{index.name}: {', '.join(wrong[:3]) or 'no file at all'}",
                "Every shard must be a .safetensors file in this folder; copy the missing ones.",
            )
        return
    if (folder / f"{stem}.safetensors").exists():
        return
    refuse_gguf(folder)
    pickled = "pytorch_model" if stem == "model" else stem
    if found := sorted(file.name for file in folder.glob(f"{pickled}*.bin")):
        raise ModelError(
            "The weights are pickled (.bin), which can run any code when opened; "
            "only safetensors are read.",
            f"found: {', '.join(found[:3])} in {folder}",
            f"Convert them safely: cd {shlex.quote(str(folder))} && "
            f'python -c "{CONVERT % (pickled, stem)}"',
        )
    raise ModelError(
        f"{folder} has no weights.",
        f"missing: {stem}.safetensors",
        "Give a folder that save_pretrained wrote.",
    )
