"""Models and tokenizers in and out of folders."""

from __future__ import annotations

import json
import shlex
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from transformers import AutoModelForCausalLM, PreTrainedModel, PreTrainedTokenizerFast

from stillage.corpus.tokenizers import tokenizer_hash
from stillage.errors import ConfigError, ModelError
from stillage.models.identity import folder_hash
from stillage.models.load import load_model, load_tokenizer, save_model
from stillage.run.config import ModelConfig

SMALL = ModelConfig(layers=2, width=64, heads=4, context=64)


def weights(model: PreTrainedModel) -> dict[str, torch.Tensor]:
    return {name: tensor.clone() for name, tensor in model.state_dict().items()}


def same(a: dict[str, torch.Tensor], b: dict[str, torch.Tensor]) -> bool:
    return a.keys() == b.keys() and all(torch.equal(a[name], b[name]) for name in a)


def test_weights_depend_on_the_seed_alone_and_leave_the_global_generator() -> None:
    torch.manual_seed(5)
    first = weights(load_model(SMALL, vocab_size=97, seed=1))
    after = torch.rand(3)
    torch.rand(1000)
    again = weights(load_model(SMALL, vocab_size=97, seed=1))
    torch.manual_seed(5)
    assert torch.equal(after, torch.rand(3))
    assert same(first, again)
    assert not same(first, weights(load_model(SMALL, vocab_size=97, seed=2)))


def test_numbers_take_the_names_of_the_family() -> None:
    config = ModelConfig(architecture="opt", layers=3, width=48, heads=6, context=40, dropout=0.25)
    opt = load_model(config, vocab_size=51, seed=0).config
    assert (
        opt.num_hidden_layers,
        opt.hidden_size,
        opt.num_attention_heads,
        opt.max_position_embeddings,
    ) == (
        3,
        48,
        6,
        40,
    )
    assert (
        opt.vocab_size,
        opt.ffn_dim,
        opt.word_embed_proj_dim,
        opt.dropout,
        opt.attention_dropout,
    ) == (
        51,
        192,
        48,
        0.25,
        0.25,
    )
    gpt2 = load_model(
        config.__class__(layers=3, width=48, heads=6, context=40, dropout=0.25),
        vocab_size=51,
        seed=0,
    ).config
    assert (gpt2.n_layer, gpt2.n_embd, gpt2.n_head, gpt2.n_positions) == (3, 48, 6, 40)
    assert (gpt2.resid_pdrop, gpt2.embd_pdrop, gpt2.attn_pdrop) == (0.25, 0.25, 0.25)
    mistral = load_model(
        ModelConfig(architecture="mistral", layers=1, width=64, heads=8), vocab_size=51, seed=0
    ).config
    assert (mistral.num_key_value_heads, mistral.intermediate_size, mistral.head_dim) == (2, 224, 8)


def test_no_token_is_frozen_as_padding_by_a_family_default() -> None:
    model = load_model(
        ModelConfig(architecture="opt", layers=1, width=32, heads=2, context=32),
        vocab_size=50,
        seed=0,
    )
    assert model.get_input_embeddings().padding_idx is None
    assert (model.get_input_embeddings().weight.abs().sum(-1) > 0).all()


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"architecture": "gpt22"}, "gpt2"),
        ({"architecture": "nonsense"}, "some that exist"),
        ({"width": 65}, "width 65"),
        ({"layers": 0}, "layers 0"),
    ],
)
def test_numbers_that_make_no_model_are_refused(change: dict[str, object], said: str) -> None:
    with pytest.raises((ModelError, ConfigError), match=said):
        load_model(
            ModelConfig(**{"layers": 2, "width": 64, "heads": 4, **change}), vocab_size=97, seed=0
        )


@pytest.mark.parametrize("family", ["gpt2", "llama", "opt", "phi"])
def test_a_folder_comes_back_as_it_was_saved(
    family: str,
    build: Callable[..., PreTrainedModel],
    tokenizer: PreTrainedTokenizerFast,
    tmp_path: Path,
) -> None:
    model = build(family)
    save_model(model, tokenizer, tmp_path / "a")
    back = load_model(ModelConfig(path=str(tmp_path / "a")), vocab_size=len(tokenizer), seed=9)
    assert same(weights(model), weights(back))
    assert (back.config.eos_token_id, back.config.pad_token_id) == (0, 1)
    assert (back.generation_config.eos_token_id, back.generation_config.pad_token_id) == (0, 1)
    save_model(back, load_tokenizer(str(tmp_path / "a")), tmp_path / "b")
    assert (tmp_path / "a/model.safetensors").read_bytes() == (
        tmp_path / "b/model.safetensors"
    ).read_bytes()
    assert folder_hash(tmp_path / "a") == folder_hash(tmp_path / "b")
    stock = AutoModelForCausalLM.from_pretrained(tmp_path / "a")
    assert same(weights(model), weights(stock))


def test_saving_replaces_a_folder_whole(
    build: Callable[..., PreTrainedModel], tokenizer: PreTrainedTokenizerFast, tmp_path: Path
) -> None:
    folder = tmp_path / "m"
    folder.mkdir()
    (folder / "left_over.bin").write_bytes(b"old")
    save_model(build(), tokenizer, folder)
    assert not (folder / "left_over.bin").exists()
    assert sorted(p.name for p in tmp_path.iterdir()) == ["m"]


def test_hash_follows_weights_and_config_only(
    build: Callable[..., PreTrainedModel], tokenizer: PreTrainedTokenizerFast, tmp_path: Path
) -> None:
    model = build()
    save_model(model, tokenizer, tmp_path / "a")
    before = folder_hash(tmp_path / "a")
    (tmp_path / "a/README.md").write_text("words")
    assert folder_hash(tmp_path / "a") == before
    with torch.no_grad():
        next(model.parameters())[0, 0] += 1
    save_model(model, tokenizer, tmp_path / "b")
    assert folder_hash(tmp_path / "b") != before
    settings = json.loads((tmp_path / "a/config.json").read_text())
    (tmp_path / "a/config.json").write_text(json.dumps(settings | {"layer_norm_epsilon": 0.1}))
    assert folder_hash(tmp_path / "a") != before


def test_a_config_file_starts_from_scratch(tmp_path: Path) -> None:
    file = tmp_path / "config.json"
    file.write_text(
        json.dumps(
            {
                "model_type": "qwen2",
                "hidden_size": 32,
                "num_hidden_layers": 1,
                "num_attention_heads": 2,
                "num_key_value_heads": 1,
                "intermediate_size": 40,
                "vocab_size": 151936,
                "eos_token_id": 151643,
            }
        )
    )
    for given in (file, tmp_path):
        model = load_model(ModelConfig(config=str(given)), vocab_size=60, seed=3)
        assert model.config.model_type == "qwen2"
        assert model.get_input_embeddings().weight.shape == (60, 32)
        assert model.config.eos_token_id is None


def test_bfloat16_weights(
    build: Callable[..., PreTrainedModel], tokenizer: PreTrainedTokenizerFast, tmp_path: Path
) -> None:
    save_model(build(), tokenizer, tmp_path / "a")
    assert (
        load_model(
            ModelConfig(path=str(tmp_path / "a"), dtype="bfloat16"), vocab_size=97, seed=0
        ).dtype
        == torch.bfloat16
    )
    assert load_model(ModelConfig(dtype="bfloat16"), vocab_size=97, seed=0).dtype == torch.bfloat16


def test_an_adapter_folder_gives_the_merged_model(
    build: Callable[..., PreTrainedModel], tokenizer: PreTrainedTokenizerFast, tmp_path: Path
) -> None:
    from peft import LoraConfig, PeftModel, get_peft_model

    save_model(build("llama"), tokenizer, tmp_path / "base")
    base = load_model(ModelConfig(path=str(tmp_path / "base")), vocab_size=97, seed=0)
    adapted = get_peft_model(
        base, LoraConfig(r=4, target_modules=["q_proj", "v_proj"], init_lora_weights=False)
    )
    adapted.eval()
    ids = torch.arange(3, 20)[None]
    with torch.no_grad():
        expected = adapted(input_ids=ids).logits
    adapted.save_pretrained(tmp_path / "adapter")
    back = load_model(ModelConfig(path=str(tmp_path / "adapter")), vocab_size=97, seed=0)
    assert not isinstance(back, PeftModel)
    with torch.no_grad():
        torch.testing.assert_close(back(input_ids=ids).logits, expected, atol=1e-4, rtol=1e-4)
        plain = load_model(ModelConfig(path=str(tmp_path / "base")), vocab_size=97, seed=0)(
            input_ids=ids
        ).logits
    assert (plain - expected).abs().max() > 1e-2
    assert len(load_tokenizer(str(tmp_path / "adapter"))) == 97
    before = folder_hash(tmp_path / "adapter")
    save_model(build("llama", seed=2), tokenizer, tmp_path / "base")
    assert folder_hash(tmp_path / "adapter") != before
    (tmp_path / "adapter/adapter_model.safetensors").rename(tmp_path / "adapter/adapter_model.bin")
    with pytest.raises(ModelError, match="pickled"):
        load_model(ModelConfig(path=str(tmp_path / "adapter")), vocab_size=97, seed=0)


def damage(folder: Path, how: str) -> None:
    match how:
        case "no config":
            (folder / "config.json").unlink()
        case "broken config":
            (folder / "config.json").write_text('{"model_type": ')
        case "no weights":
            (folder / "model.safetensors").unlink()
        case "cut weights":
            data = (folder / "model.safetensors").read_bytes()
            (folder / "model.safetensors").write_bytes(data[: len(data) // 2])
        case "missing tensor":
            from safetensors.torch import load_file, save_file

            kept = load_file(folder / "model.safetensors")
            del kept["transformer.h.0.mlp.c_fc.weight"]
            save_file(kept, folder / "model.safetensors", metadata={"format": "pt"})
        case "wrong shape":
            settings = json.loads((folder / "config.json").read_text())
            (folder / "config.json").write_text(json.dumps(settings | {"n_positions": 32}))


@pytest.mark.parametrize(
    ("how", "said"),
    [
        ("no config", "config.json is missing"),
        ("broken config", "not valid JSON"),
        ("no weights", "no weights"),
        ("cut weights", "cannot be read"),
        ("missing tensor", "h.0.mlp.c_fc.weight"),
        ("wrong shape", "cannot be read"),
    ],
)
def test_damaged_folders_are_named(
    how: str,
    said: str,
    build: Callable[..., PreTrainedModel],
    tokenizer: PreTrainedTokenizerFast,
    tmp_path: Path,
) -> None:
    save_model(build(), tokenizer, tmp_path / "m")
    damage(tmp_path / "m", how)
    with pytest.raises(ModelError, match=said):
        load_model(ModelConfig(path=str(tmp_path / "m")), vocab_size=97, seed=0)


def test_paths_and_hub_ids_that_cannot_be_used(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="no folder"):
        load_model(ModelConfig(path=str(tmp_path / "nowhere")), vocab_size=97, seed=0)
    for revision in ("", "main", "ABC", "g" * 40):
        with pytest.raises(ModelError, match="40 hexadecimal digits"):
            load_model(ModelConfig(path="someone/model", revision=revision), vocab_size=97, seed=0)


def test_a_pinned_hub_id_is_fetched_without_code_or_pickles(
    build: Callable[..., PreTrainedModel],
    tokenizer: PreTrainedTokenizerFast,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    import huggingface_hub

    save_model(build(), tokenizer, tmp_path / "snapshot")
    asked: list[tuple[str, str, list[str]]] = []

    def fetch(
        repo: str, *, revision: str, allow_patterns: list[str], ignore_patterns: list[str]
    ) -> str:
        asked.append((repo, revision, allow_patterns))
        if repo == "someone/gone":
            raise OSError("404: no such repository")
        return str(tmp_path / "snapshot")

    monkeypatch.setattr(huggingface_hub, "snapshot_download", fetch)
    load_model(ModelConfig(path="someone/model", revision="a" * 40), vocab_size=97, seed=0)
    load_tokenizer("someone/model", "a" * 40)
    assert [(repo, revision) for repo, revision, _ in asked] == [("someone/model", "a" * 40)] * 2
    assert not any(
        pattern.endswith((".bin", ".py", ".pt", ".pkl")) or pattern == "*"
        for pattern in asked[0][2]
    )
    with pytest.raises(ModelError, match="404"):
        load_model(ModelConfig(path="someone/gone", revision="a" * 40), vocab_size=97, seed=0)


def test_a_model_with_fewer_rows_than_tokens_is_refused(
    build: Callable[..., PreTrainedModel], tokenizer: PreTrainedTokenizerFast, tmp_path: Path
) -> None:
    save_model(build(), tokenizer, tmp_path / "m")
    with pytest.raises(ModelError, match=r"97 rows; tokenizer: 98"):
        load_model(ModelConfig(path=str(tmp_path / "m")), vocab_size=98, seed=0)


def test_the_conversion_command_works(
    build: Callable[..., PreTrainedModel], tokenizer: PreTrainedTokenizerFast, tmp_path: Path
) -> None:
    folder = tmp_path / "old folder"
    model = build()
    save_model(model, tokenizer, folder)
    tensors = weights(model)
    names = sorted(tensors)
    (folder / "model.safetensors").unlink()
    torch.save(
        {name: tensors[name] for name in names[::2]}, folder / "pytorch_model-00001-of-00002.bin"
    )
    torch.save(
        {name: tensors[name] for name in names[1::2]}, folder / "pytorch_model-00002-of-00002.bin"
    )
    with pytest.raises(ModelError) as refused:
        load_model(ModelConfig(path=str(folder)), vocab_size=97, seed=0)
    command = refused.value.fix.removeprefix("Convert them safely: ")
    assert command.startswith(f"cd {shlex.quote(str(folder))} && python -c ")
    subprocess.run(
        command.replace("&& python", f"&& {sys.executable}"), shell=True, check=True, timeout=120
    )
    assert same(tensors, weights(load_model(ModelConfig(path=str(folder)), vocab_size=97, seed=0)))


def test_tokenizers(
    tokenizer: PreTrainedTokenizerFast,
    make_tokenizer: Callable[..., PreTrainedTokenizerFast],
    tmp_path: Path,
) -> None:
    tokenizer.save_pretrained(tmp_path / "t")
    back = load_tokenizer(str(tmp_path / "t"))
    assert back.get_vocab() == tokenizer.get_vocab()
    assert tokenizer_hash(back) == tokenizer_hash(tokenizer)
    assert tokenizer_hash(make_tokenizer(97, swap=True)) != tokenizer_hash(tokenizer)
    assert tokenizer_hash(make_tokenizer(96)) != tokenizer_hash(tokenizer)
    (tmp_path / "empty").mkdir()
    with pytest.raises(ModelError, match=r"tokenizer\.json"):
        load_tokenizer(str(tmp_path / "empty"))
    shutil.copytree(tmp_path / "t", tmp_path / "no_eos")
    settings = json.loads((tmp_path / "t/tokenizer_config.json").read_text())
    (tmp_path / "no_eos/tokenizer_config.json").write_text(
        json.dumps({k: v for k, v in settings.items() if k != "eos_token"})
    )
    with pytest.raises(ModelError, match="end-of-text"):
        load_tokenizer(str(tmp_path / "no_eos"))
    (tmp_path / "t/tokenizer.json").write_text("{")
    with pytest.raises(ModelError, match="that can be read"):
        load_tokenizer(str(tmp_path / "t"))
