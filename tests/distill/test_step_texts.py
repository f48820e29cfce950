"""The texts of each step: whose they are, what is kept, what is recorded."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, cast

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch
from safetensors.torch import load_file

from stillage.distill import loop as loop_module
from stillage.distill.checks import checked_task
from stillage.distill.generation import (
    TextWriter,
    generation_context,
    write_texts,
)
from stillage.distill.methods import gkd
from stillage.distill.step_texts import (
    CycleTexts,
    PlannedTexts,
    StudentTexts,
    step_texts,
)
from stillage.distill.training_plan import Plan
from stillage.errors import Interrupted
from stillage.models.generate import generate
from stillage.models.prompts import Prompts, TextRules
from stillage.rng import derive
from stillage.types import Decoding, Example

if TYPE_CHECKING:
    from transformers import PreTrainedModel

EOS = 0


def kept_texts(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, list[Example]]]:
    """(source, texts) of every step of the trainings that follow."""
    found: list[tuple[str, list[Example]]] = []
    original = loop_module.Loop.backward

    def backward(self: loop_module.Loop, examples: list[Example], *rest: int) -> object:
        found.append((self.texts.source, examples))
        return original(self, examples, *rest)

    monkeypatch.setattr(loop_module.Loop, "backward", backward)
    return found


def sampler(model: PreTrainedModel, max_new_tokens: int) -> TextWriter:
    decoding = Decoding(max_new_tokens=max_new_tokens, sampling_temperature=1.0)
    return TextWriter(model=model, decoding=decoding)


def test_texts_are_the_students_of_that_very_step(
    small: SimpleNamespace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The first texts, by `generate` alone; later ones differ, because the student has moved."""
    found = kept_texts(monkeypatch)
    student = small.model(seed=2)
    small.train(tmp_path, method="gkd", settings={"max_new_tokens": 6}, max_steps=3, seed=7)
    assert [source for source, _ in found] == ["student"] * 3
    for step, same in ((0, True), (2, False)):
        texts = found[step][1]
        written = generate(
            student,
            Prompts(
                [text.prompt_ids for text in texts],
                [f"{step} {text.record_id}" for text in texts],
                derive(7, "rollout"),
            ),
            Decoding(max_new_tokens=6, sampling_temperature=1.0),
            TextRules(EOS, 1),
        )
        equal = [
            np.array_equal(text.ids_T[text.response_T], ids)
            for text, ids in zip(texts, written, strict=True)
        ]
        assert all(equal) == same


def test_the_gradient_is_that_of_the_written_text(small: SimpleNamespace, tmp_path: Path) -> None:
    """One step of on-policy distillation = one step on records whose responses are those texts."""
    student, examples = small.model(seed=2), small.examples(8)
    context = generation_context(small.task(seed=7))
    names = [f"0 {example.record_id}" for example in examples]
    texts = write_texts(context, sampler(student, 6), examples, names)
    small.train(
        tmp_path / "on",
        method="gkd",
        settings={"max_new_tokens": 6},
        examples=examples,
        max_steps=1,
    )
    small.train(
        tmp_path / "off", method="kd", settings={"divergence": "jsd"}, examples=texts, max_steps=1
    )
    one, two = (
        load_file(tmp_path / name / "model" / "model.safetensors") for name in ("on", "off")
    )
    assert all(torch.equal(one[name], two[name]) for name in one)


def test_the_buffer_is_drawn_from_without_repetition_and_its_prompts_are_recorded(
    small: SimpleNamespace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = kept_texts(monkeypatch)
    settings = {
        "init_threshold": 1.0,
        "replay_ratio": "increasing",
        "capacity": 12,
        "max_new_tokens": 5,
    }
    small.train(tmp_path, method="distillm", settings=settings, epochs=4, batch_size=5)
    sources = [source for source, _ in found]
    assert sources[:3] == ["student"] * 3 and "replay" in sources and "data" not in sources
    buffer: list[bytes] = []
    for source, texts in found:
        ids = [text.ids_T.tobytes() for text in texts]
        if source == "replay":
            assert len(buffer) == 12 and set(ids) <= set(buffer) and len(texts) == 5
        else:
            buffer = [*buffer, *ids][-12:]
    times: dict[str, int] = {}
    for _, texts in found:
        for text in texts:
            times[text.record_id] = times.get(text.record_id, 0) + 1
    table = pq.read_table(tmp_path / "provenance.parquet").to_pylist()
    assert {row["id"]: row["times"] for row in table} == times
    lines = [json.loads(line) for line in (tmp_path / "metrics.jsonl").read_text().splitlines()]
    assert [line["texts"] for line in lines if "loss" in line] == sources


def test_a_rising_validation_loss_makes_the_student_write(
    small: SimpleNamespace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = kept_texts(monkeypatch)
    small.train(tmp_path / "calm", method="distillm", settings={"max_new_tokens": 5}, epochs=6)
    assert {source for source, _ in found} == {"data"}
    found.clear()
    settings = {"max_new_tokens": 5, "loss_eps": 0.0}
    monkeypatch.setattr("stillage.distill.loop.validation_loss", rising())
    small.train(tmp_path / "risen", method="distillm", settings=settings, epochs=12)
    assert [source for source, _ in found][:3] == ["data"] * 3 and "student" in {
        source for source, _ in found
    }


def rising() -> object:
    """Validation losses 1, 2, 3, ..."""
    asked = [0]

    def loss(*_: object) -> float:
        asked[0] += 1
        return float(asked[0])

    return loss


def test_a_schedule_that_no_validation_moves_says_so_once(
    small: SimpleNamespace, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """In train.log and as a notice: with no validation records, or none asked for; never where validations happen."""
    said = "no validation will raise the share of the student's own texts, so it stays at 0.2"
    settings = {"init_threshold": 0.2, "capacity": 8, "max_new_tokens": 3}

    def times(folder: Path) -> int:
        return (folder / "train.log").read_text().count(said)

    blind = {"method": "distillm", "settings": settings, "max_steps": 4, "validation": ()}
    with pytest.raises(Interrupted):
        small.train(tmp_path / "a", **blind, should_stop=small.stop_after(2))
    small.train(tmp_path / "a", **blind)
    assert times(tmp_path / "a") == caplog.text.count(said) == 1
    assert "distillm" in caplog.text and "validation records: 0" in caplog.text
    small.train(tmp_path / "b", method="distillm", settings=settings, max_steps=2, validate_every=0)
    assert (
        times(tmp_path / "b") == 1
        and caplog.text.count(said) == 2
        and "validate_every: 0" in caplog.text
    )
    small.train(tmp_path / "c", method="distillm", settings=settings, max_steps=2)
    small.train(
        tmp_path / "d", method="gkd", settings={"max_new_tokens": 3}, max_steps=2, validation=()
    )
    assert times(tmp_path / "c") == times(tmp_path / "d") == 0 and caplog.text.count(said) == 2


def test_a_cycle_of_minillm_is_written_once_and_trained_inner_epochs_times(
    small: SimpleNamespace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = kept_texts(monkeypatch)
    settings = {"num_rollouts": 16, "inner_epochs": 3, "max_new_tokens": 5}
    small.train(
        tmp_path, method="minillm", settings=settings, examples=small.examples(32), max_steps=12
    )
    cycles = [[text for _, texts in found[start : start + 6] for text in texts] for start in (0, 6)]
    assert [source for source, _ in found] == ["mixed"] * 12
    for texts in cycles:
        ids = [text.ids_T.tobytes() for text in texts]
        assert (
            len(ids) == 48 and all(ids.count(one) == 3 for one in set(ids)) and len(set(ids)) == 16
        )
        assert len({text.record_id for text in texts}) == 16, "one text per prompt"
    assert {text.record_id for text in cycles[0]}.isdisjoint({text.record_id for text in cycles[1]})
    for _, texts in found:
        advantages = np.concatenate([text.extras["advantage"] for text in texts])
        assert abs(advantages.mean()) < 1e-5 and advantages.std() == pytest.approx(1, abs=1e-3)


@pytest.mark.parametrize(
    ("method", "settings", "kind"),
    [
        ("kd", {}, PlannedTexts),
        ("seqkd", {}, PlannedTexts),
        ("gkd", {"max_new_tokens": 4, "capacity": 12}, StudentTexts),
        ("distillm", {"max_new_tokens": 4, "init_threshold": 0.7, "capacity": 12}, StudentTexts),
        ("minillm", {"max_new_tokens": 4, "num_rollouts": 16, "inner_epochs": 2}, CycleTexts),
    ],
)
def test_texts_go_on_as_they_were_after_a_checkpoint(
    small: SimpleNamespace, method: str, settings: dict[str, object], kind: type
) -> None:
    """From the JSON and the tensors alone, at any step; the weights stay, so the texts must."""
    task = checked_task(small.task(method=method, settings=settings))
    context = generation_context(task)
    plan = Plan(
        task=task,
        examples=tuple(task.examples),
        total=8,
        row_tokens=0,
        folder=Path("nowhere"),
        identity={},
        should_stop=lambda: False,
    )
    whole = step_texts(plan, context)
    assert type(whole) is kind
    for step in range(3):
        whole.at(step, step)
    whole.validated(1.5)
    state, tensors = whole.saved()
    again = step_texts(plan, context)
    again.restore(
        json.loads(json.dumps(state)), {name: one.clone() for name, one in tensors.items()}
    )
    for step in range(3, 7):
        one, other = whole.at(step, step), again.at(step, step)
        assert [text.record_id for text in one] == [text.record_id for text in other]
        assert all(np.array_equal(a.ids_T, b.ids_T) for a, b in zip(one, other, strict=True))
        assert whole.source == again.source
        for a, b in zip(one, other, strict=True):
            assert all(np.array_equal(a.extras[name], b.extras[name]) for name in a.extras)


def test_the_buffer_is_first_in_first_out() -> None:
    texts = [
        Example(record_id=str(k), ids_T=np.arange(3), response_T=np.arange(3) > 0) for k in range(5)
    ]
    plan: Any = SimpleNamespace(task=SimpleNamespace(student=None))
    for capacity, kept in ((2, texts[3:]), (9, texts), (0, [])):
        buffer = StudentTexts(
            gkd.rollout(gkd.Params(capacity=capacity)), plan, cast("Any", None)
        ).buffer
        buffer.extend(texts)
        assert list(buffer) == kept
