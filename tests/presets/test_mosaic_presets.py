"""Every mosaic preset says what the study did; its models exist in small, with their kind of tokenizer."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from tiny_models import TINY, write_tiny, write_tiny_masked

from stillage.cli import main
from stillage.cli.command_line import read_settings
from stillage.mosaic.asked import asked_experiments, conditions_of
from stillage.run.config import Config
from stillage.run.parse import build

LEARNING_RATES = {
    "mosaic_gpt_neo_1.3b": ("EleutherAI/gpt-neo-1.3B", 2e-5),
    "mosaic_gemma_2b": ("google/gemma-2b", 3e-5),
    "mosaic_phi_2": ("microsoft/phi-2", 6e-5),
    "mosaic_llama_3.2_1b": ("meta-llama/Llama-3.2-1B", 2e-5),
    "mosaic_as_released": ("EleutherAI/gpt-neo-1.3B", 2e-5),
}
LLAMA_2 = "meta-llama/Llama-2-7b-hf"
TEXTS = [
    "It was the best of times, it was the worst of times.\n\nCall me Ishmael. Some years ago\n" * 9,
    "never mind how long precisely: 1851, having little money in my purse, and nothing\n" * 9,
]


def config_of(name: str) -> Config:
    return build(read_settings("run", [name]))


@pytest.mark.parametrize("name", LEARNING_RATES)
def test_a_preset_is_the_published_training(name: str) -> None:
    """Read off the study's scripts and result files by hand."""
    config, (path, lr) = config_of(name), LEARNING_RATES[name]
    train, mosaic = config.teacher_train, config.mosaic
    assert config.stages == ("mosaic",) and str(config.out) == f"runs/{name}"
    assert (config.teacher.path, train.lr_peak) == (path, lr)
    assert (train.epochs, train.batch_size, train.micro_batch_size) == (1, 2, 0)
    assert (train.schedule, train.warmup_fraction, train.lr_final) == ("linear", 0, 0)
    assert (train.weight_decay, train.clip_norm, train.precision) == (0.01, 1, "fp32")
    assert (train.beta1, train.beta2) == (0.9, 0.999)
    assert mosaic.books == "imperial-cpg/project-gutenberg-extended"
    assert (mosaic.titles, mosaic.title_column) == ("published", "book_title")
    assert (mosaic.copies, mosaic.block_tokens, mosaic.monitor_every) == (10, 2048, 50)
    canaries = mosaic.canaries
    assert (canaries.members, canaries.nonmembers, canaries.length) == (100, 100, 100)
    assert (canaries.sampling_temperature, canaries.max_jaccard) == (1, 0.2)
    assert canaries.generator == config.audit.reference == LLAMA_2
    assert len(conditions_of(asked_experiments(config))) == 18  # 1 to 10 copies, 8 replacements


def test_what_the_release_did_unsaid_is_in_its_preset_alone() -> None:
    released, ours = config_of("mosaic_as_released"), config_of("mosaic_gpt_neo_1.3b")
    assert (released.mosaic.inject, ours.mosaic.inject) == ("text", "tokens")
    assert (released.mosaic.canaries.top_k, released.mosaic.canaries.top_p) == (50, 0.9)
    assert (ours.mosaic.canaries.top_k, ours.mosaic.canaries.top_p) == (0, 1)
    assert released.mosaic.attacks == ("as_released",)
    assert ours.mosaic.attacks[0] == "reference_outside"
    assert (released.teacher, released.teacher_train) == (ours.teacher, ours.teacher_train)


@pytest.mark.parametrize("name", LEARNING_RATES)
def test_no_preset_makes_up_a_commit(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert not [path for path in read_settings("run", [name]) if "revision" in path]
    assert main(["run", name, "--dry-run"]) == 2
    path = LEARNING_RATES[name][0]
    assert f"{path} is neither a folder here nor a hub id pinned" in capsys.readouterr().err
    assert main(["ls", "presets", name]) == 0
    text = capsys.readouterr().out
    for flag in ("teacher", "mosaic.canaries", "mosaic.books", "mosaic.masked", "audit.reference"):
        assert f"--{flag}{'.' if flag in ('teacher', 'mosaic.canaries') else '_'}revision" in text


@pytest.mark.parametrize("hub_id", TINY)
def test_a_tiny_model_of_each_kind_reads_and_writes_texts(hub_id: str, tmp_path: Path) -> None:
    from stillage.models.load import load_model, load_tokenizer
    from stillage.run.config import ModelConfig

    folder = str(write_tiny(hub_id, tmp_path / "tiny", TEXTS))
    tokenizer = load_tokenizer(folder)
    model = load_model(ModelConfig(path=folder), vocab_size=len(tokenizer), seed=1)
    assert model.config.model_type == TINY[hub_id].config["model_type"]
    for text in (*TEXTS, "caf\u00e9 \U0001f40b\n\tno  spaces"):
        ids = tokenizer(text, add_special_tokens=False)["input_ids"]
        assert tokenizer.decode(ids, clean_up_tokenization_spaces=False) == text
        assert tokenizer.unk_token_id is None or tokenizer.unk_token_id not in ids
    ids = torch.tensor([tokenizer("It was the best")["input_ids"]])
    has_bos = hub_id.startswith(("google", "meta"))
    assert (ids[0, 0] == tokenizer.bos_token_id) == has_bos
    with torch.no_grad():
        assert torch.isfinite(model(ids).logits).all()
    first = tokenizer.convert_ids_to_tokens(
        tokenizer("best of", add_special_tokens=False).input_ids
    )
    marks = "".join(first)
    wanted = {LLAMA_2: "▁best▁of", "google/gemma-2b": "best▁of"}
    assert marks == wanted.get(hub_id, "best\u0120of")


def test_a_tiny_masked_model_fills_gaps(tmp_path: Path) -> None:
    from stillage.models.masked import load_masked

    masked = load_masked(str(write_tiny_masked(tmp_path / "roberta", TEXTS)))
    tokenizer = masked.tokenizer
    ids = tokenizer(f"It was{tokenizer.mask_token} best")["input_ids"]
    assert [ids[0], ids[-1]] == [tokenizer.bos_token_id, tokenizer.eos_token_id]
    assert ids.count(tokenizer.mask_token_id) == 1
