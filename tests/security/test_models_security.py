"""A model folder from a stranger: its code is never run, its pickles are never opened."""

from __future__ import annotations

import json
import pickle
from pathlib import Path

import pytest
import torch
from transformers import AutoConfig, AutoModelForCausalLM

from stillage.errors import ModelError
from stillage.models.load import load_model, load_tokenizer
from stillage.run.config import ModelConfig


class Canary:
    """Leaves a file behind when it is unpickled."""

    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self) -> tuple[object, tuple[object, ...]]:
        return (Path.touch, (self.mark,))


def stranger(folder: Path, mark: Path, *, model_type: str, weights: str) -> None:
    """A repository with code that leaves a mark when it is imported, and weights that leave one when unpickled."""
    folder.mkdir()
    code = f"from pathlib import Path\nPath({str(mark)!r}).touch()\nclass Config: pass\nclass Model: pass\n"
    for name in ("modeling_x", "configuration_x", "tokenization_x"):
        (folder / f"{name}.py").write_text(code)
    settings = AutoConfig.for_model(
        "gpt2", n_layer=1, n_embd=32, n_head=2, n_positions=32, vocab_size=40
    )
    if weights == "safetensors":
        AutoModelForCausalLM.from_config(settings).save_pretrained(folder)
    else:
        settings.save_pretrained(folder)
        (folder / weights).write_bytes(pickle.dumps({"transformer.wte.weight": Canary(mark)}))
    content = json.loads((folder / "config.json").read_text())
    content |= {
        "model_type": model_type,
        "auto_map": {
            "AutoConfig": "configuration_x.Config",
            "AutoModelForCausalLM": "modeling_x.Model",
        },
    }
    (folder / "config.json").write_text(json.dumps(content))
    (folder / "tokenizer_config.json").write_text(
        json.dumps(
            {
                "auto_map": {"AutoTokenizer": ["tokenization_x.T", "tokenization_x.T"]},
                "tokenizer_class": "T",
            }
        )
    )


def test_a_model_that_needs_its_own_code_is_refused(tmp_path: Path) -> None:
    stranger(tmp_path / "m", tmp_path / "mark", model_type="stranger", weights="safetensors")
    with pytest.raises(ModelError, match="its own code"):
        load_model(ModelConfig(path=str(tmp_path / "m")), vocab_size=40, seed=0)
    with pytest.raises(ModelError, match="its own code"):
        load_model(ModelConfig(config=str(tmp_path / "m/config.json")), vocab_size=40, seed=0)
    with pytest.raises(ModelError, match="tokenizer"):
        load_tokenizer(str(tmp_path / "m"))
    assert not (tmp_path / "mark").exists()


def test_code_beside_a_known_model_type_is_ignored_with_a_notice(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    stranger(tmp_path / "m", tmp_path / "mark", model_type="gpt2", weights="safetensors")
    with caplog.at_level("WARNING", "stillage"):
        model = load_model(ModelConfig(path=str(tmp_path / "m")), vocab_size=40, seed=0)
    assert type(model).__module__.startswith("transformers.")
    assert "brings its own code" in caplog.text
    assert not (tmp_path / "mark").exists()


@pytest.mark.parametrize("name", ["pytorch_model.bin", "pytorch_model-00001-of-00002.bin"])
def test_pickled_weights_are_never_opened(tmp_path: Path, name: str) -> None:
    stranger(tmp_path / "m", tmp_path / "mark", model_type="gpt2", weights=name)
    with pytest.raises(ModelError, match="weights_only=True"):
        load_model(ModelConfig(path=str(tmp_path / "m")), vocab_size=40, seed=0)
    assert not (tmp_path / "mark").exists()
    pickle.loads((tmp_path / "m" / name).read_bytes())  # the canary does sing when it is unpickled
    assert (tmp_path / "mark").exists()


@pytest.mark.parametrize(
    "target", ["pytorch_model.bin", "../model.safetensors", "absent.safetensors"]
)
def test_an_index_cannot_smuggle_in_other_files(tmp_path: Path, target: str) -> None:
    stranger(tmp_path / "m", tmp_path / "mark", model_type="gpt2", weights="pytorch_model.bin")
    torch.save({}, tmp_path / "model.safetensors")
    index = {"metadata": {}, "weight_map": {"transformer.wte.weight": target}}
    (tmp_path / "m/model.safetensors.index.json").write_text(json.dumps(index))
    with pytest.raises(ModelError, match="index of the weights"):
        load_model(ModelConfig(path=str(tmp_path / "m")), vocab_size=40, seed=0)
    assert not (tmp_path / "mark").exists()


@pytest.mark.parametrize("key", ["attn_implementation", "_attn_implementation"])
def test_a_config_cannot_name_a_kernel_to_download(tmp_path: Path, key: str) -> None:
    stranger(tmp_path / "m", tmp_path / "mark", model_type="gpt2", weights="safetensors")
    content = json.loads((tmp_path / "m/config.json").read_text())
    (tmp_path / "m/config.json").write_text(json.dumps(content | {key: "someone/kernel"}))
    with pytest.raises(ModelError, match="someone/kernel"):
        load_model(ModelConfig(path=str(tmp_path / "m")), vocab_size=40, seed=0)
