"""What a run reads from outside its folder, hashed: what changes is done again."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from stillage.corpus.sources import check_format, folder_and_part, is_data, is_pattern
from stillage.data.from_config import SYNTHETIC
from stillage.data.parallel_text import parallel_files
from stillage.errors import DataError
from stillage.models.source import ADAPTER, WANTED, with_bases
from stillage.run.config import Config, ModelConfig
from stillage.run.folder import list_files, sha256_file

ONLY_OF_MODELS = ("generation_config.json", ADAPTER)
"""Files of a model folder that its tokenizer does not read."""


def hashed(files: Iterable[Path]) -> dict[str, str]:
    """Hash files (sha256), by their path."""
    return {str(file): sha256_file(file) for file in files}


def outside_data(config: Config) -> dict[str, str]:
    """Hash the local files that records are read from; DataError for a bad one."""
    data = config.data
    whole = [] if data.source == SYNTHETIC else [data.source]
    sources = list(data.files.values()) or whole
    if data.parallel:
        pairs = [pair for source in sources for pair in parallel_files(source, data.parallel)]
        return hashed(file for pair in pairs for file in pair)
    found: dict[str, str] = {}
    for source in sources:
        looks_local = source.startswith((".", "/", "~")) or is_data(Path(source))
        if looks_local and not folder_and_part(source)[0].exists() and not is_pattern(source):
            fix = "Check the path in data.source or data.files."
            raise DataError("A data file is missing.", f"not there: {source}", fix)
        if Path(source).is_file():
            check_format(Path(source))
        found |= outside_folder(source)
    return found


def outside_folder(path: str) -> dict[str, str]:
    """Hash a local file, a pattern's or a folder's files; nothing for a hub id."""
    if not path:
        return {}
    if is_pattern(path):
        matching = sorted(Path(path).parent.glob(Path(path).name))
        return hashed(file for file in matching if file.is_file())
    root = folder_and_part(path)[0]
    return hashed([root] if root.is_file() else list_files(root) if root.is_dir() else [])


def outside_model(start: ModelConfig) -> dict[str, str]:
    """Hash the local files that a model starts from, its base models' too."""
    found: dict[str, str] = {}
    for path in filter(None, (start.path, start.adapter, start.config)):
        if Path(path).is_file():
            found |= outside_folder(path)
        for folder in with_bases(path):
            found |= hashed(model_files(folder))
    return found


def weights_named(start: ModelConfig) -> str:
    """Name a model's weights: the hashes of their files; of a hub id, name and commit."""
    files = sorted(
        digest for file, digest in outside_model(start).items() if ".safetensors" in Path(file).name
    )
    return " ".join(files) or f"{start.path} {start.revision}"


def outside_tokenizer(path: str) -> dict[str, str]:
    """Hash the local files that decide a tokenizer: its own, else its base model's."""
    folders = with_bases(path)
    if len(folders) > 1 and not (folders[0] / "tokenizer.json").exists():
        folders = folders[1:]
    files = [file for folder in folders[:1] for file in model_files(folder)]
    return hashed(
        file
        for file in files
        if file.name not in ONLY_OF_MODELS and ".safetensors" not in file.name
    )


def model_files(folder: Path) -> list[Path]:
    """List what decides a model or tokenizer in its folder: no notes, no checkpoints."""
    places = (folder, folder / "additional_chat_templates")
    found = [file for place in places for kind in WANTED for file in sorted(place.glob(kind))]
    return [file for file in found if file.is_file()]


def tokenizer_source(config: Config) -> tuple[str, str]:
    """Return the tokenizer's (folder or hub id, revision); ("", "") means a new BPE."""
    if config.tokenizer.path:
        return config.tokenizer.path, config.tokenizer.revision
    for group in (config.teacher, config.student):
        if group.source:
            return group.source, group.revision
    return "", ""
