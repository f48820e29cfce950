"""What a run reads that lies outside its folder, by content: a changed file re-runs what depends on it."""

from __future__ import annotations

from pathlib import Path

from stillage.data.parallel import endings, pairs_of
from stillage.data.prepare import SYNTHETIC
from stillage.errors import DataError
from stillage.run.config import Config, ModelConfig
from stillage.run.folder import files_of, read_json, sha256_file


def outside_data(config: Config) -> dict[str, str]:
    """Hashes of the local files that records are read from. DataError when one is missing."""
    if config.data.files:
        sources = list(config.data.files.values())
    else:
        sources = [] if config.data.source == SYNTHETIC else [config.data.source]
    found: dict[str, str] = {}
    if config.data.parallel:
        pairs = [pair for source in sources for pair in pairs_of(Path(source), *endings(config.data.parallel))]
        return {str(file): sha256_file(file) for pair in pairs for file in pair}
    for source in sources:
        looks_local = source.startswith((".", "/", "~")) or Path(source).suffix in (".jsonl", ".json", ".parquet")
        if looks_local and not Path(source).exists() and not any(char in source for char in "*?["):
            raise DataError(
                "A data file is missing.", f"not there: {source}", "Check the path in data.source or data.files."
            )
        found |= outside_folder(source)
    return found


def outside_folder(path: str) -> dict[str, str]:
    """sha256 of a local file, of a pattern's files, or of every file below a local folder; nothing for a hub id."""
    if not path:
        return {}
    if any(char in path for char in "*?["):
        anchor = Path(path)
        return {str(file): sha256_file(file) for file in sorted(anchor.parent.glob(anchor.name)) if file.is_file()}
    root = Path(path)
    if root.is_file():
        return {str(root): sha256_file(root)}
    return {str(file): sha256_file(file) for file in files_of(root)} if root.is_dir() else {}


def outside_model(start: ModelConfig) -> dict[str, str]:
    """Hashes of the local files that a model starts from: its folder, its adapter, and their base models."""
    found: dict[str, str] = {}
    for path in filter(None, (start.path, start.adapter, start.config)):
        found |= outside_folder(path)
        settings = Path(path) / "adapter_config.json"
        if settings.is_file():
            base = Path(path) / str(read_json(settings).get("base_model_name_or_path") or "")
            found |= outside_folder(str(base)) if base.is_dir() else {}
    return found


def tokenizer_source(config: Config) -> tuple[str, str]:
    """Where the run's tokenizer comes from: (folder or hub id, revision); ("", "") means a new BPE."""
    if config.tokenizer.path:
        return config.tokenizer.path, config.tokenizer.revision
    for group in (config.teacher, config.student):
        if group.source:
            return group.source, group.revision
    return "", ""
