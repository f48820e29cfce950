"""Training an adapter: the model itself stays, checkpoints hold the adapter alone, and what is saved opens everywhere."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from peft import AutoPeftModelForCausalLM
from safetensors.torch import load_file
from transformers import PreTrainedModel

from stillage.cli import main
from stillage.distill.methods import METHODS
from stillage.errors import ConfigError, Interrupted
from stillage.models.load import load_model
from stillage.models.lora import load_trainable
from stillage.run.config import ModelConfig


def adapted(small: SimpleNamespace, folder: Path, dropout: float = 0.0) -> PreTrainedModel:
    config = ModelConfig(layers=2, width=32, heads=4, context=32, lora_rank=4, lora_dropout=dropout)
    return load_trainable(config, tokenizer=small.tokenizer(), seed=2, base_folder=folder / "base")


def test_only_the_adapter_trains_and_the_saved_one_merges_to_the_same(
    small: SimpleNamespace, tmp_path: Path
) -> None:
    student = adapted(small, tmp_path)
    before = small.weights(student)
    small.train(
        tmp_path, method="kd", student=student, epochs=3, weight_decay=0.0, keep_checkpoints=2
    )
    moved = {
        name
        for name, tensor in small.weights(student).items()
        if not torch.equal(tensor, before[name])
    }
    assert moved == {name for name in before if "lora_" in name}
    ids = torch.arange(3, 20)[None]
    with torch.no_grad():
        unmerged = student(input_ids=ids).logits
    for folder in ("model", *(f"kept/{path.name}" for path in (tmp_path / "kept").iterdir())):
        merged = load_model(
            ModelConfig(path=str(tmp_path / folder)), vocab_size=small.VOCAB, seed=0
        )
        theirs = AutoPeftModelForCausalLM.from_pretrained(tmp_path / folder).eval()
        with torch.no_grad():
            torch.testing.assert_close(
                merged(input_ids=ids).logits, theirs(input_ids=ids).logits, atol=1e-5, rtol=1e-5
            )
            if folder == "model":
                torch.testing.assert_close(
                    merged(input_ids=ids).logits, unmerged, atol=1e-5, rtol=1e-5
                )
    assert not (tmp_path / "model" / "model.safetensors").exists()


def test_checkpoints_hold_the_adapter_alone_and_resume_exactly(
    small: SimpleNamespace, tmp_path: Path
) -> None:
    make = {"method": "kd", "epochs": 3, "keep": "best"}
    small.train(tmp_path / "whole", student=adapted(small, tmp_path / "whole", 0.1), **make)
    parts = tmp_path / "parts"
    with pytest.raises(Interrupted):
        small.train(
            parts, student=adapted(small, parts, 0.1), should_stop=small.stop_after(4), **make
        )
    saved = next((parts / "checkpoints").glob("step-*"))
    assert all("lora_" in name for name in load_file(saved / "weights.safetensors"))
    assert all("lora_" in name for name in load_file(saved / "optimiser.safetensors"))
    small.train(parts, student=adapted(small, parts, 0.1), **make)
    for name in ("model/adapter_model.safetensors", "metrics.jsonl"):
        assert (parts / name).read_bytes() == (tmp_path / "whole" / name).read_bytes()


@pytest.mark.parametrize("method", METHODS)
def test_every_method_trains_an_adapter_packed_or_not(
    small: SimpleNamespace, tmp_path: Path, method: str
) -> None:
    """The same losses and gradients for an adapter, whether records share rows, and however a step is cut up."""
    found = []
    for packing, size in ((False, 0), (True, 3)):
        folder = tmp_path / str(packing)
        student = adapted(small, folder)
        before = small.weights(student)
        small.train(
            folder,
            method=method,
            student=student,
            packing=packing,
            micro_batch_size=size,
            max_steps=2,
        )
        moved = {
            name
            for name, tensor in small.weights(student).items()
            if not torch.equal(tensor, before[name])
        }
        assert moved and all("lora_" in name for name in moved)
        found.append(
            [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
        )
    for one, two in zip(*found, strict=True):
        assert one.pop("texts", "") == two.pop("texts", "")
        assert one == pytest.approx(two, rel=1e-5, abs=1e-7)


TINY = {
    "data.people": 16,
    "data.max-tokens": 256,
    "teacher.layers": 3,
    "teacher.width": 32,
    "teacher.heads": 4,
    "teacher.context": 256,
    "teacher-train.epochs": 1,
    "student-train.epochs": 1,
    "tokenizer.vocab-size": 300,
    "jobs": 1,
    "generate.max-new-tokens": 4,
    "generate.records": 2,
    "audit.fprs": 0.5,
    "audit.attacks": "loss",
}


def test_an_experiment_with_a_pruned_student_and_adapters(
    small: SimpleNamespace, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Teacher and student with an adapter, the student cut from the teacher; the control never met the private records."""
    run = tmp_path / "run"
    words = ["run", "biographies", "--out", str(run)]
    words += [word for name, value in TINY.items() for word in (f"--{name}", str(value))]
    words += [
        "--teacher.lora-rank",
        "2",
        "--student.prune-teacher-to",
        "2",
        "--student.lora-rank",
        "4",
    ]
    assert main(words) == 0, capsys.readouterr()
    base = load_model(ModelConfig(path=str(run / "student" / "base")), vocab_size=1, seed=0)
    teacher = load_model(ModelConfig(path=str(run / "teacher" / "model")), vocab_size=1, seed=0)
    untrained = load_model(ModelConfig(path=str(run / "teacher" / "base")), vocab_size=1, seed=0)
    control = load_model(
        ModelConfig(path=str(run / "student_no_teacher" / "base")), vocab_size=1, seed=0
    )
    assert base.config.n_layer == control.config.n_layer == 2 and teacher.config.n_layer == 3
    for cut, whole in ((base, teacher), (control, untrained)):
        for mine, theirs in ((0, 0), (1, 2)):
            found, wanted = (
                model.transformer.h[block].state_dict()
                for model, block in ((cut, mine), (whole, theirs))
            )
            assert all(torch.equal(found[name], wanted[name]) for name in wanted)
    assert any(
        not torch.equal(a, b)
        for a, b in zip(teacher.state_dict().values(), untrained.state_dict().values(), strict=True)
    )
    capsys.readouterr()
    assert (
        main(
            [
                "generate",
                str(run / "student" / "model"),
                "--prompt",
                "x",
                "--generate.max-new-tokens",
                "2",
            ]
        )
        == 0
    )
    capsys.readouterr()
    assert main([*words, "--dry-run"]) == 0
    assert "not done" not in capsys.readouterr().out


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--teacher.prune-teacher-to", "1"], "Only a student is cut"),
        (["--student.prune-teacher-to", "1", "--student.path", "x"], "no other start"),
        (["--student.quantize", "int8"], "cannot be trained"),
        (["--lm.path", "missing.txt"], "plain-text corpus is missing"),
        (
            ["--teacher.lora-rank", "2", "--teacher-train.epochs", "0", "--teacher.path", "x"],
            "nothing trains it",
        ),
    ],
)
def test_starts_that_clash_are_refused_before_anything_runs(
    words: list[str], said: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert (
        main(["run", "biographies", "--out", str(tmp_path / "r"), *words]) == ConfigError.exit_code
    )
    printed = capsys.readouterr().err
    assert said in printed and len(printed.strip().splitlines()) == 3
    assert not (tmp_path / "r").exists()
