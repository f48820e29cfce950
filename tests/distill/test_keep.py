"""The best so many validations are kept as model folders; activations computed again change nothing."""

from __future__ import annotations

import json
import re
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from rouge_score.rouge_scorer import RougeScorer
from transformers import AutoModelForCausalLM, AutoTokenizer

from stillage.errors import CapabilityError, ConfigError, Interrupted
from stillage.types import Example


def losses(folder: Path) -> dict[int, float]:
    found = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    return {
        int(line["step"]): line["validation_loss"] for line in found if "validation_loss" in line
    }


def test_the_best_validations_are_kept_as_models(small: SimpleNamespace, tmp_path: Path) -> None:
    """Random responses cannot be generalised: the loss falls, then rises, so the kept ones are neither first nor last."""
    make = {"epochs": 8, "lr_peak": 2e-2, "schedule": "constant", "keep_checkpoints": 3}
    small.train(tmp_path / "a", **make)
    by_loss = sorted(losses(tmp_path / "a").items(), key=lambda item: item[1])
    kept = {path.name for path in (tmp_path / "a" / "kept").iterdir()}
    assert kept == {f"epoch{step / 3:g}_step{step}_loss{loss:.4f}" for step, loss in by_loss[:3]}
    for name in kept:
        folder = tmp_path / "a" / "kept" / name
        assert re.fullmatch(r"epoch[\d.]+_step\d+_loss[\d.]+", name)
        assert {path.name for path in folder.iterdir()} >= {
            "config.json",
            "model.safetensors",
            "generation_config.json",
        }
        assert AutoTokenizer.from_pretrained(folder).eos_token == "<eos>"
        model, total, count = AutoModelForCausalLM.from_pretrained(folder).eval(), 0.0, 0
        for example in small.examples(6, name="v"):
            ids = torch.tensor(example.ids_T, dtype=torch.long)[None]
            labels = torch.where(torch.tensor(example.response_T), ids[0], -100)[None]
            total += model(input_ids=ids, labels=labels).loss.item() * int(example.response_T.sum())
            count += int(example.response_T.sum())
        assert total / count == pytest.approx(float(name.rpartition("loss")[2]), abs=1e-4)
    with pytest.raises(Interrupted):
        small.train(tmp_path / "b", should_stop=small.stop_after(17), **make)
    small.train(tmp_path / "b", **make)
    for file in (tmp_path / "a" / "kept").rglob("*.safetensors"):
        assert file.read_bytes() == (tmp_path / "b" / file.relative_to(tmp_path / "a")).read_bytes()
    assert {path.name for path in (tmp_path / "b" / "kept").iterdir()} == kept
    with pytest.raises(
        ConfigError, match="keep_by = loss, keep_checkpoints = 3, validate_every = 0"
    ):
        small.train(tmp_path / "c", **make, validate_every=0)
    small.train(tmp_path / "none", epochs=1)
    assert not (tmp_path / "none" / "kept").exists()


def by_hand(folder: Path, asked: list[Example]) -> float:
    """Mean ROUGE-L of transformers' own greedy answers, by the package that everybody uses."""
    model, tokenizer = (
        AutoModelForCausalLM.from_pretrained(folder).eval(),
        AutoTokenizer.from_pretrained(folder),
    )
    scorer, longest = (
        RougeScorer(["rougeL"], use_stemmer=True),
        max(int(one.response_T.sum()) for one in asked),
    )
    scores = []
    for example in asked:
        prompt = torch.tensor(example.prompt_ids, dtype=torch.long)[None]
        ids = model.generate(
            prompt,
            attention_mask=torch.ones_like(prompt),
            do_sample=False,
            max_new_tokens=longest,
            eos_token_id=0,
            pad_token_id=1,
        )
        answer, reference = ids[0, prompt.shape[1] :], example.ids_T[example.response_T]
        texts = [
            tokenizer.decode(list(map(int, row)), skip_special_tokens=True).strip()
            for row in (reference, answer)
        ]
        scores.append(scorer.score(*texts)["rougeL"].fmeasure)
    return sum(scores) / len(scores)


def test_rouge_l_chooses_the_best_weights(small: SimpleNamespace, tmp_path: Path) -> None:
    """Answers are learnt by heart, so ROUGE-L rises for long after the loss on other records has turned."""
    by_heart, others = small.examples(6), small.examples(3, name="v")
    make = {
        "examples": by_heart,
        "validation": [*by_heart[:4], *others],
        "epochs": 14,
        "lr_peak": 2e-2,
        "batch_size": 6,
        "schedule": "constant",
        "keep": "best",
        "keep_by": "rouge_l",
        "keep_prompts": 5,
        "keep_checkpoints": 100,
    }
    summary, _ = small.train(tmp_path / "a", **make)
    lines = [
        json.loads(line) for line in (tmp_path / "a" / "metrics.jsonl").read_text().splitlines()
    ]
    found = {line["step"]: line for line in lines if "validation_rouge_l" in line}
    assert len(found) == 15
    asked = sorted([*by_heart[:4], *others], key=lambda example: example.record_id)[:5]
    for folder in (tmp_path / "a" / "kept").iterdir():
        step, rouge = re.fullmatch(
            r"epoch[\d.]+_step(\d+)_loss[\d.]+_rouge([\d.]+)", folder.name
        ).groups()
        assert found[int(step)]["validation_rouge_l"] == pytest.approx(
            by_hand(folder, asked), abs=1e-12
        )
        assert f"{found[int(step)]['validation_rouge_l']:.4f}" == rouge
    order = sorted(
        found.values(), key=lambda line: (-line["validation_rouge_l"], line["validation_loss"])
    )
    assert order[0]["step"] != min(found.values(), key=lambda line: line["validation_loss"])["step"]
    assert summary.model_step == summary.best_step == order[0]["step"]
    assert summary.best_rouge_l == order[0]["validation_rouge_l"] > 0.3
    assert "ROUGE-L" in (tmp_path / "a" / "train.log").read_text()
    few = {**make, "keep_checkpoints": 3}
    with pytest.raises(Interrupted):
        small.train(tmp_path / "b", should_stop=small.stop_after(9), **few)
    again, _ = small.train(tmp_path / "b", **few)
    steps = {
        int(re.search(r"step(\d+)", path.name)[1]) for path in (tmp_path / "b" / "kept").iterdir()
    }
    assert steps == {line["step"] for line in order[:3]}
    assert (tmp_path / "b" / "metrics.jsonl").read_bytes() == (
        tmp_path / "a" / "metrics.jsonl"
    ).read_bytes()
    one, two = (tmp_path / name / "model" / "model.safetensors" for name in "ab")
    assert one.read_bytes() == two.read_bytes() and again.best_rouge_l == summary.best_rouge_l


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"validation": ()}, "keep_by = rouge_l, .*validation records: 0"),
        ({"validate_every": 0}, "validate_every = 0"),
        ({"keep_prompts": 0}, "keep_prompts must be at least 1"),
    ],
)
def test_rouge_l_needs_prompts_to_answer(
    small: SimpleNamespace, tmp_path: Path, options: dict[str, object], message: str
) -> None:
    with pytest.raises(ConfigError, match=message):
        small.train(tmp_path, keep_by="rouge_l", **options)


@pytest.mark.parametrize("method", ["sft", "kd"])
def test_activations_computed_again_change_no_bit(
    small: SimpleNamespace, tmp_path: Path, method: str
) -> None:
    calls = []
    for again in (False, True):
        student = small.model(seed=2, dropout=0.1)
        counted = [0]
        student.transformer.h[0].attn.register_forward_hook(
            lambda *_, counted=counted: counted.__setitem__(0, counted[0] + 1)
        )
        small.train(
            tmp_path / str(again),
            method=method,
            student=student,
            gradient_checkpointing=again,
            max_steps=4,
            validate_every=0,
        )
        calls.append(counted[0])
    one, two = (
        (tmp_path / str(again) / "model" / "model.safetensors").read_bytes()
        for again in (False, True)
    )
    assert one == two
    assert calls[1] == calls[0] + 4, "the attention of a block is run a second time, once a step"


def test_an_architecture_without_it_is_named(
    small: SimpleNamespace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    student = small.model(seed=2)
    monkeypatch.setattr(type(student), "supports_gradient_checkpointing", False)
    with pytest.raises(CapabilityError, match="gradient_checkpointing: true; model type: gpt2"):
        small.train(tmp_path, student=student, gradient_checkpointing=True)
