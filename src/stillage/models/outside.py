"""What a run reads from outside its folder, hashed by content.

A changed file re-runs what depends on it.
"""

from __future__ import annotations

from pathlib import Path

from stillage.corpus.sources import SUFFIXES, check_format, folder_and_part, is_pattern
from stillage.data.from_config import SYNTHETIC
from stillage.data.parallel_text import parallel_files
from stillage.errors import DataError
from stillage.models.source import ADAPTER, WANTED, with_bases
from stillage.run.config import Config, ModelConfig
from stillage.run.folder import list_files, sha256_file

ONLY_OF_MODELS = ("generation_config.json", ADAPTER)
"""Files of a model folder that its tokenizer does not read."""


def outside_data(config: Config) -> dict[str, str]:
    """Hash the local files that records are read from.

    DataError when one is missing or cannot be read.
    """
    if config.data.files:
        sources = list(config.data.files.values())
    else:
        sources = [] if config.data.source == SYNTHETIC else [config.data.source]
    found: dict[str, str] = {}
    if config.data.parallel:
        pairs = [
            pair for source in sources for pair in parallel_files(source, config.data.parallel)
        ]
        return {str(file): sha256_file(file) for pair in pairs for file in pair}
    for source in sources:
        looks_local = source.startswith((".", "/", "~")) or Path(source).suffix in SUFFIXES
        if looks_local and not folder_and_part(source)[0].exists() and not is_pattern(source):
            fix = "Check the path in data.source or data.files."
            raise DataError("A data file is missing.", f"not there: {source}", fix)
        if Path(source).is_file():
            check_format(Path(source))
        found |= outside_folder(source)
    return found


def outside_folder(path: str) -> dict[str, str]:
    """Hash a local file, a pattern's files or all files of a folder (sha256).

    Nothing for a hub id.
    """
    if not path:
        return {}
    if is_pattern(path):
        anchor = Path(path)
        return {
            str(file): sha256_file(file)
            for file in sorted(anchor.parent.glob(anchor.name))
            if file.is_file()
        }
    root = folder_and_part(path)[0]
    if root.is_file():
        return {str(root): sha256_file(root)}
    return {str(file): sha256_file(file) for file in list_files(root)} if root.is_dir() else {}


def outside_model(start: ModelConfig) -> dict[str, str]:
    """Hash the local files that a model starts from.

    Its folder, its adapter, and their base models.
    """
    found: dict[str, str] = {}
    for path in filter(None, (start.path, start.adapter, start.config)):
        if Path(path).is_file():
            found |= outside_folder(path)
        for folder in with_bases(path):
            found |= {str(file): sha256_file(file) for file in model_files(folder)}
    return found


def weights_named(start: ModelConfig) -> str:
    """Name a model's weights: the hashes of their files; of a hub id, name and commit."""
    files = sorted(
        digest for file, digest in outside_model(start).items() if ".safetensors" in Path(file).name
    )
    return " ".join(files) or f"{start.path} {start.revision}"


def outside_tokenizer(path: str) -> dict[str, str]:
    """Hash the local files that decide a tokenizer.

    An adapter's without one of its own are its base model's.
    """
    folders = with_bases(path)
    if len(folders) > 1 and not (folders[0] / "tokenizer.json").exists():
        folders = folders[1:]
    files = [
        file
        for folder in folders[:1]
        for file in model_files(folder)
        if file.name not in ONLY_OF_MODELS
    ]
    return {str(file): sha256_file(file) for file in files if ".safetensors" not in file.name}


def model_files(folder: Path) -> list[Path]:
    """List a model folder's files that decide what model or tokenizer do.

    No notes, no older checkpoints.
    """
    places = (folder, folder / "additional_chat_templates")
    return [
        file
        for place in places
        for kind in WANTED
        for file in sorted(place.glob(kind))
        if file.is_file()
    ]


def tokenizer_source(config: Config) -> tuple[str, str]:
    """Return the tokenizer's (folder or hub id, revision); ("", "") means a new BPE."""
    if config.tokenizer.path:
        return config.tokenizer.path, config.tokenizer.revision
    for group in (config.teacher, config.student):
        if group.source:
            return group.source, group.revision
    return "", ""
