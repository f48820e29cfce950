"""A run with given models: each of their files, and each setting, redoes exactly the stages that depend on it."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from stillage.errors import ModelError
from stillage.experiment.context import make_context
from stillage.experiment.plan import plan
from stillage.models.load import load_model
from stillage.models.outside import outside_model, outside_tokenizer
from stillage.models.source import check_folder_ahead, complete_folder
from stillage.run.config import Config, ModelConfig
from stillage.run.parse import build
from stillage.run.stages import stage_keys
from stillage.run.stop import Stop

FILES = {
    "config.json": "{}",
    "model.safetensors": "w",
    "tokenizer.json": "{}",
    "tokenizer_config.json": "{}",
    "chat_template.jinja": "a",
    "generation_config.json": "{}",
    "special_tokens_map.json": "{}",
    "README.md": "a",
    "optimizer.pt": "o",
}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A model in files, and an adapter whose base it is."""
    for name, text in FILES.items():
        (tmp_path / "base").mkdir(exist_ok=True)
        (tmp_path / "base" / name).write_text(text)
    (tmp_path / "adapter").mkdir()
    (tmp_path / "adapter" / "adapter_config.json").write_text(
        json.dumps({"base_model_name_or_path": "elsewhere/base"})
    )
    (tmp_path / "adapter" / "adapter_model.safetensors").write_text("a")
    return tmp_path


@pytest.mark.parametrize("name", FILES)
@pytest.mark.parametrize("start", ["base", "adapter"])
def test_files_of_a_given_model(folder: Path, name: str, start: str) -> None:
    """An adapter's base that has been moved with it (`base` beside it) is found, as it is when it is loaded."""
    source = ModelConfig(path=str(folder / start))
    model, tokenizer = outside_model(source), outside_tokenizer(source.path)
    (folder / "base" / name).write_text("changed")
    matters = name not in ("README.md", "optimizer.pt")
    assert (outside_model(source) != model) == matters
    of_tokenizer = matters and name not in ("model.safetensors", "generation_config.json")
    assert (outside_tokenizer(source.path) != tokenizer) == of_tokenizer


def test_a_base_model_named_from_the_working_folder_matters_too(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (folder / "elsewhere").mkdir()
    moved = (folder / "base").rename(folder / "elsewhere" / "large")
    settings = folder / "adapter" / "adapter_config.json"
    settings.write_text(json.dumps({"base_model_name_or_path": "elsewhere/large"}))
    monkeypatch.chdir(folder)  # where `base_of` finds it, and a training loads it
    before = outside_model(ModelConfig(path="adapter"))
    (moved / "model.safetensors").write_text("changed")
    assert outside_model(ModelConfig(path="adapter")) != before


def test_adapters_that_name_each_other_end(tmp_path: Path) -> None:
    for name, base in (("a", "../b"), ("b", "../a/../a")):
        (tmp_path / name).mkdir()
        (tmp_path / name / "adapter_config.json").write_text(
            json.dumps({"base_model_name_or_path": base})
        )
        (tmp_path / name / "adapter_model.safetensors").write_text("weights")
    source = ModelConfig(path=str(tmp_path / "a"))
    assert len(outside_model(source)) >= 2
    for read in (lambda: check_folder_ahead(source.path), lambda: complete_folder(source)):
        with pytest.raises(ModelError, match="name each other"):
            read()
    with pytest.raises(ModelError, match="name each other"):
        load_model(source, vocab_size=0, seed=0)


def redone(change: Callable[[Config], Config], config: Config) -> set[str]:
    """The stages whose keys differ after a change."""

    def found(one: Config) -> dict[str, str]:
        return stage_keys(plan(make_context(one, Stop(), lambda name, facts: None)))

    before, after = found(config), found(change(config))
    return {name for name in before if before[name] != after.get(name)} - {"report"}


SETTINGS = {
    "audit.level": {"evaluate", "audit"},
    "generate.max_new_tokens": {"evaluate"},
    "generate.batch_tokens": set(),
    "audit.min_k_fraction": {"audit"},
    "threads": set(),
    "seed": {"data", "evaluate", "audit"},
    "data.template": {"data", "evaluate", "audit"},
    "teacher.dtype": {"evaluate", "audit"},
}
VALUES = {
    "audit.level": "0.9",
    "generate.max_new_tokens": "3",
    "generate.batch_tokens": "64",
    "audit.min_k_fraction": "0.5",
    "threads": "1",
    "seed": "2",
    "data.template": "raw",
    "teacher.dtype": "bfloat16",
}


@pytest.mark.parametrize("name", SETTINGS)
def test_settings_of_a_run_with_given_models(folder: Path, name: str) -> None:
    flat = {
        "teacher.path": [str(folder / "base")],
        "student.path": [str(folder / "adapter")],
        "out": [str(folder / "run")],
        "stages": ["evaluate", "audit"],
    }
    config = build(flat)
    assert redone(lambda _: build({**flat, name: [VALUES[name]]}), config) == SETTINGS[name]
