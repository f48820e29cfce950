"""Where a model comes from: a folder, or a hub id at a pinned commit; nothing in it is ever executed or unpickled."""

from __future__ import annotations

import json
import logging
import re
import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Any

from stillage.errors import ModelError

if TYPE_CHECKING:
    from collections.abc import Iterator

log = logging.getLogger("stillage")
ADAPTER = "adapter_config.json"
HUB_ID = re.compile(r"^[A-Za-z0-9][\w.-]*(/[A-Za-z0-9][\w.-]*)?$")
COMMIT = re.compile(r"^[0-9a-f]{40}$")
WANTED = [
    "*.json",
    "*.safetensors",
    "*.txt",
    "*.model",
    "*.jinja",
    "*.tiktoken",
]  # no .bin, no .py: never on this disk
CONVERT = (
    "import torch, glob; from safetensors.torch import save_file; weights = {}; "
    "[weights.update(torch.load(f, map_location='cpu', weights_only=True)) for f in sorted(glob.glob('%s*.bin'))]; "
    "save_file({k: v.clone().contiguous() for k, v in weights.items()}, '%s.safetensors', metadata={'format': 'pt'})"
)


def find(path: str, revision: str = "") -> Path:
    """The folder of a model or tokenizer: itself if it exists, else the hub's files at that commit (fetched once).

    Raises ModelError where it is neither, or where the hub id is not pinned to a commit.
    """
    check_place(path, revision)
    return Path(path) if Path(path).is_dir() else download(path, revision)


def check_place(path: str, revision: str = "") -> None:
    """The errors of `find`, without fetching anything."""
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
            f"Check the path, or copy the commit from https://huggingface.co/{path}/commits/main into `revision:`.",
        )


def download(hub_id: str, revision: str) -> Path:
    """The hub's files at one commit, from the local cache if they are there: settings and safetensors, no code."""
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError, LocalEntryNotFoundError

    try:
        return Path(
            snapshot_download(
                hub_id, revision=revision, allow_patterns=WANTED, ignore_patterns=["*/*"]
            )
        )
    except (HfHubHTTPError, HFValidationError, LocalEntryNotFoundError, OSError) as error:
        raise ModelError(
            f"{hub_id} could not be fetched from the hub.",
            f"revision: {revision}; {type(error).__name__}: {(str(error).splitlines() or [''])[0]}",
            "Check the id, the commit and the connection, or give a local folder.",
        ) from error


def is_gguf(file: Path) -> ModelError:
    """The error for a GGUF file in the place of a model folder: it names the command that makes a folder of it."""
    words = f"{shlex.quote(str(file))} {shlex.quote(str(file.with_suffix('')))}"
    return ModelError(
        "This is a GGUF file; models are read from Hugging Face folders.",
        f"found: {file}",
        f"Convert it once, and give the new folder: stillage convert {words}",
    )


def refuse_gguf(folder: Path) -> None:
    """Refuse a folder of GGUF files; for any other the caller's own error is the better one."""
    if file := min(folder.glob("*.gguf"), default=None):
        raise is_gguf(file)


def read_model_config(file: Path) -> dict[str, Any]:
    """The content of a config.json; ModelError where it is missing or broken, or would fetch code from elsewhere."""
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
                f"{file} names an attention kernel to download; code from a model's folder is never run.",
                f"{key}: {value}",
                "Remove that line from config.json.",
            )
    return content


def nested(content: dict[str, Any]) -> Iterator[tuple[str, Any]]:
    """Every key and value of nested JSON objects."""
    for key, value in content.items():
        yield key, value
        if isinstance(value, dict):
            yield from nested(value)


def native(content: dict[str, Any], where: Path) -> str:
    """The model type, where transformers itself knows it; code that comes with the model is ignored with a notice.

    Raises ModelError where only that code could build the model.
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
            "Use a model type that transformers has built in (a newer transformers may know this one).",
        )
    if "auto_map" in content:
        log.warning("%s brings its own code; it is ignored, transformers' %s is used", where, kind)
    return kind


def base_of(folder: Path) -> Path:
    """The folder of an adapter's base model: the one it names, or a pinned hub id, or `base/` above it.

    The last is where a training writes a base model of its own: found again when the run folder has been moved. Raises
    ModelError, as `check_base`, where it is nowhere.
    """
    base, revision, here = named_base(folder)
    check_base(folder)
    return here or find(base, revision)


def named_base(folder: Path) -> tuple[str, str, Path | None]:
    """What an adapter folder calls its base model: name, commit, and its folder where it is on this disk."""
    settings = read_model_config(folder / ADAPTER)
    base = str(settings.get("base_model_name_or_path") or "")
    here = next((path for path in base_candidates(folder, base) if path.is_dir()), None)
    return (
        base,
        str(settings.get("revision") or ""),
        here or (Path(base) if base and Path(base).is_dir() else None),
    )


def check_base(folder: Path) -> None:
    """ModelError, with both names, where the base model of an adapter folder is not to be found; fetches nothing."""
    base, revision, here = named_base(folder)
    if here:
        return
    try:
        check_place(base, revision)
    except ModelError as error:
        raise ModelError(
            f"The base model of the adapter {folder} is not there.",
            f"base_model_name_or_path: {base or '(none)'}; {error.what}",
            f"Put it there, or correct {folder / ADAPTER}.",
        ) from error


def check_folder_ahead(path: str, revision: str = "") -> None:
    """Refuse, by a look at its files, a local folder that is no model, or an adapter without its base; fetches nothing.

    Errors as `check_place`, `read_model_config`, `require_safetensors`, `check_base` and `refuse_tokenizer_code`.
    """
    check_place(path, revision)
    folder: Path | None = Path(path)
    first = folder
    while folder is not None and folder.is_dir() and (folder / ADAPTER).exists():
        check_adapter(str(folder))
        folder = named_base(folder)[2]
    if folder is None or not folder.is_dir():  # a hub id: fetched when its turn comes
        return
    read_model_config(folder / "config.json")
    require_safetensors(folder)
    refuse_tokenizer_code(first if (first / "tokenizer.json").exists() else folder)


def base_candidates(folder: Path, base: str) -> list[Path]:
    """Where the local base model of an adapter folder may be, by the name that the adapter has for it."""
    candidates = [folder / base] if base else []
    if Path(base).name == "base":
        candidates += [folder.parent / "base", folder.parent.parent / "base"]
    return candidates


def adapter_of(path: str) -> Path:
    """The folder of an adapter (PEFT). ModelError where there is none, or only pickled weights."""
    folder = find(path)
    check_adapter(str(folder), needs_base=False)
    return folder


def check_adapter(path: str, *, needs_base: bool = True) -> None:
    """ModelError for a local folder that is no adapter, has pickled weights, or whose base model is not there."""
    check_place(path)
    folder = Path(path)
    if not folder.is_dir():
        return
    if not (folder / ADAPTER).exists():
        raise ModelError(
            f"{path} is not an adapter folder.",
            f"missing: {ADAPTER}",
            "For a complete model, use `path` instead.",
        )
    require_safetensors(folder, "adapter_model")
    if needs_base:
        check_base(folder)


def refuse_tokenizer_code(folder: Path) -> None:
    """Refuse a folder without a tokenizer, or with one that only its own code could build."""
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
        is_model = (folder / "config.json").exists() or (folder / ADAPTER).exists()
        raise ModelError(
            f"{folder} has no tokenizer." if is_model else f"{folder} is not a model folder.",
            f"missing: {'' if is_model else 'config.json, '}tokenizer.json",
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
    """What to give instead of a folder that holds models; empty where it holds none."""
    inside = [*folder.glob("model/config.json"), *sorted(folder.glob("*/model/config.json"))]
    names = ", ".join(str(file.parent) for file in inside[:5])
    return f"Give a model in it: {names}" if inside else ""


def require_safetensors(folder: Path, stem: str = "model") -> None:
    """Refuse a folder without `stem`.safetensors (or its shards); one that has only .bin gets the conversion command.

    Pickled weights (.bin) can run any code when they are opened, so they are never opened here.
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
                "Every shard must be a .safetensors file in the same folder; copy the missing ones.",
            )
        return
    if (folder / f"{stem}.safetensors").exists():
        return
    refuse_gguf(folder)
    pickled = "pytorch_model" if stem == "model" else stem
    if any(folder.glob(f"{pickled}*.bin")):
        raise ModelError(
            "The weights are pickled (.bin), which can run any code when opened; only safetensors are read.",
            f"found: {', '.join(sorted(p.name for p in folder.glob(f'{pickled}*.bin'))[:3])} in {folder}",
            f'Convert them safely: cd {shlex.quote(str(folder))} && python -c "{CONVERT % (pickled, stem)}"',
        )
    raise ModelError(
        f"{folder} has no weights.",
        f"missing: {stem}.safetensors",
        "Give a folder that save_pretrained wrote.",
    )
