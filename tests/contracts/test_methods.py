"""What every registered method promises; a new one is picked up by itself."""

from __future__ import annotations

import dataclasses
import json
import random
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

from stillage.distill.methods import METHODS
from stillage.distill.settings import DIVERGENCE_PARAMS, params_from, setting_fields
from stillage.errors import Interrupted
from stillage.plugins.plugin import load, plugged_in

PLUGINS = Path(__file__).parents[2] / "docs/how-to/plugin"
METHOD, DIVERGENCE = load(PLUGINS / "method.py"), load(PLUGINS / "divergence.py")
ALL = {**METHODS, **METHOD.tables["METHODS"]}
CASES: list[tuple[str, dict[str, object]]] = [
    *((name, {}) for name in ALL),
    *((name, {"preset": preset}) for name, method in ALL.items() for preset in method.presets),
    *(
        ("kd", {"divergence": name, "ce_weight": 0.5})
        for name in [*DIVERGENCE_PARAMS, *DIVERGENCE.tables["DIVERGENCES"]]
        if name != "fkl"
    ),
]
LIVELY: dict[
    str, dict[str, object]
] = {  # settings under which a few steps see all that a rollout can do
    "seqkd": {"decoding": "sampling"},
    "imitkd": {"data_rate_end": 0.3},
    "gkd": {"student_fraction": 0.6, "capacity": 20},
    "distillm": {"init_threshold": 0.8, "capacity": 16, "loss_eps": 0.0},
    "minillm": {"num_rollouts": 16, "inner_epochs": 2},
}
NAMED = pytest.mark.parametrize(
    ("method", "settings"), CASES, ids=[f"{m}-{'-'.join(map(str, s.values()))}" for m, s in CASES]
)
EACH = pytest.mark.parametrize("method", ALL)


@pytest.fixture(scope="module", autouse=True)
def plugins() -> Iterator[None]:
    with plugged_in(METHOD), plugged_in(DIVERGENCE):
        yield


def lively(method: str, settings: Mapping[str, object] | None = None) -> dict[str, object]:
    """Settings for a tiny training: short texts, wherever a method writes any."""
    names = setting_fields(METHODS[method].params)
    short = {"max_new_tokens": 6} if "max_new_tokens" in names else {}
    return {**short, **(LIVELY.get(method, {}) if settings is None else settings)}


def steps_of(folder: Path) -> list[dict[str, object]]:
    lines = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    return [line for line in lines if "loss" in line]


def model_bytes(folder: Path) -> bytes:
    return (folder / "model" / "model.safetensors").read_bytes()


@NAMED
def test_three_steps_move_the_student_and_leave_the_teacher_alone(
    small: SimpleNamespace, tmp_path: Path, method: str, settings: Mapping[str, object]
) -> None:
    student, teacher = small.model(seed=2), small.model(seed=1, width=48)
    before, taught = small.weights(student), small.weights(teacher)
    summary, _ = small.train(
        tmp_path,
        method=method,
        settings=lively(method, settings),
        student=student,
        teacher=teacher,
        max_steps=3,
        weight_decay=0.0,
    )
    assert summary.steps == 3
    moved = [
        name
        for name, tensor in small.weights(student).items()
        if not torch.equal(tensor, before[name])
    ]
    assert moved == list(before), "every weight of the student takes part"
    assert all(torch.equal(tensor, taught[name]) for name, tensor in small.weights(teacher).items())
    assert all(weight.grad is None for weight in teacher.parameters())
    assert all(weight.requires_grad for weight in teacher.parameters())
    assert not student.training


@EACH
def test_the_loss_falls(small: SimpleNamespace, tmp_path: Path, method: str) -> None:
    """With a teacher that has something to say. The value of a policy gradient is no distance, and is left out."""
    teacher = small.model(seed=1, width=48)
    with torch.no_grad():
        teacher.get_input_embeddings().weight.mul_(20)  # tied to the head
    small.train(tmp_path, method=method, settings=lively(method, {}), teacher=teacher, max_steps=30)
    losses = [step["loss"] - step.get("policy", 0.0) for step in steps_of(tmp_path)]
    assert sum(losses[-3:]) < 0.9 * sum(losses[:3])


@EACH
def test_two_runs_with_one_seed_are_one_run(
    small: SimpleNamespace, tmp_path: Path, method: str
) -> None:
    settings = lively(method)
    for name in "ab":
        small.train(tmp_path / name, method=method, settings=settings, epochs=1)
    small.train(tmp_path / "other", method=method, settings=settings, epochs=1, seed=8)
    assert (
        model_bytes(tmp_path / "a")
        == model_bytes(tmp_path / "b")
        != model_bytes(tmp_path / "other")
    )
    assert (tmp_path / "a" / "metrics.jsonl").read_bytes() == (
        tmp_path / "b" / "metrics.jsonl"
    ).read_bytes()


@EACH
def test_a_stopped_training_continues_bit_for_bit(
    small: SimpleNamespace, tmp_path: Path, method: str
) -> None:
    """With dropout, and stopped twice at random steps; everything that is written must be the same, the times aside."""

    def make() -> dict[str, object]:
        student = small.model(seed=2, dropout=0.1)
        return {
            "method": method,
            "settings": lively(method),
            "student": student,
            "epochs": 3,
            "keep": "best",
        }

    total = small.train(tmp_path / "whole", **make())[0].steps
    first = random.randrange(1, total - 2)
    second = random.randrange(1, total - first)
    for steps in (first, second):
        with pytest.raises(Interrupted):
            small.train(tmp_path / "parts", should_stop=small.stop_after(steps), **make())
    small.train(tmp_path / "parts", **make())
    files = [
        path.relative_to(tmp_path / "whole")
        for path in (tmp_path / "whole").rglob("*")
        if path.is_file()
    ]
    assert {
        path.relative_to(tmp_path / "parts")
        for path in (tmp_path / "parts").rglob("*")
        if path.is_file()
    } == set(files)
    for file in files:
        one, other = ((tmp_path / name / file).read_bytes() for name in ("whole", "parts"))
        if file.name == "summary.json":
            kept = [{**json.loads(text), "timings": None} for text in (one, other)]
            assert kept[0] == kept[1]
        elif file.name != "train.log":
            assert one == other, f"{file}: stopped after {first} and {first + second}"


@EACH
def test_accumulation_does_not_change_the_gradient(
    small: SimpleNamespace, tmp_path: Path, method: str
) -> None:
    """1 x 8 = 8 x 1 = 3 + 3 + 2, to 1e-5 of the loss and of the gradient's norm."""
    found = []
    for size in (0, 1, 3):
        small.train(
            tmp_path / str(size),
            method=method,
            settings=lively(method),
            micro_batch_size=size,
            max_steps=4,
        )
        found.append(steps_of(tmp_path / str(size)))
    for other in found[1:]:
        for one, two in zip(found[0], other, strict=True):
            assert one.get("texts") == two.get("texts")
            numbers = [
                {name: value for name, value in step.items() if name != "texts"}
                for step in (one, two)
            ]
            assert numbers[0] == pytest.approx(numbers[1], rel=1e-5, abs=1e-7)


@EACH
def test_a_method_is_documented(method: str) -> None:
    entry = METHODS[method]
    assert entry.name == method and entry.paper and entry.params.__doc__
    assert "paper" in entry.presets
    for preset in entry.presets:
        params_from(entry, {"preset": preset})
    source = Path(__import__(entry.params.__module__, fromlist=["x"]).__file__).read_text()
    for field in dataclasses.fields(entry.params):
        declared = f"    {field.name}: {field.type}".replace("'", '"')
        assert declared in source
        after = source.split(declared, 1)[1].split("\n", 2)[1]
        assert after.strip().startswith('"""'), f"{field.name} has no docstring"
