"""When the student writes, and what is drawn again: the golden traces, replayed; what differs is listed in the docs."""

from __future__ import annotations

import json
import re
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest
import torch
from safetensors.torch import load_file

from stillage.distill.methods import distillm, gkd, imitkd
from stillage.distill.step_texts import StudentTexts
from stillage.functional.divergence import DIVERGENCES
from stillage.types import StudentState

ROOT = Path(__file__).parents[2]
GOLDEN = ROOT / "tests" / "golden"
MANIFEST = json.loads((GOLDEN / "adaptive_generation_schedule.json").read_text())
TENSORS = load_file(GOLDEN / MANIFEST["tensors_file"])
CASES = {case["name"]: case for case in MANIFEST["cases"]}
SECTION = (
    (ROOT / "docs" / "explanation" / "differences.md")
    .read_text()
    .split("## Adaptive generation", 1)[1]
)
LISTED = [
    name
    for names in re.findall(r"^\| (.*?) \|", SECTION.split("\n## ", 1)[0], re.M)[1:]
    for name in re.findall(r"`([^`]+)`", names)
]
ACTIONS = {"offline": "data", "generate": "student", "replay": "replay"}


def adaptive(case: dict) -> None:
    """Threshold, probability and choice at every step, from the published draws and validation losses."""
    options, wanted = case["options"], case["expected"]
    params = distillm.Params(
        divergence="sfkl",
        init_threshold=options["init_threshold"],
        loss_eps=options["loss_eps"],
        replay_ratio=options["replay_ratio"],
        capacity=options["capacity"],
    )
    rollout = distillm.rollout(params)
    state, generated = rollout.start, 0
    evaluations = {entry["after_step"]: entry for entry in wanted["evaluations"]}
    state = rollout.validated(state, evaluations[0]["loss"])
    assert state.threshold == options["init_threshold"]
    validated_in_step = (
        case["name"] != "schedule/epoch_evaluation"
    )  # there at the end of an epoch, before the next step
    for row, step in enumerate(wanted["step"]):
        if not validated_in_step and step in evaluations:
            state = rollout.validated(state, evaluations[step]["loss"])
        progress = wanted["global_step"][row] / options["total_iters"]
        assert state.threshold == pytest.approx(wanted["adaptive_threshold"][row], abs=1e-12)
        chance = distillm.writing_probability(params, state.threshold, progress)
        assert chance == pytest.approx(wanted["samp_threshold"][row], abs=1e-12)
        assert rollout.source(state, wanted["r"][row], progress) == ACTIONS[wanted["action"][row]]
        if wanted["action"][row] == "generate":
            generated += options["batch_size"]
            buffered = min(options["capacity"], state.buffered + options["batch_size"])
            state = StudentState(
                threshold=state.threshold, reference_loss=state.reference_loss, buffered=buffered
            )
        assert (generated, state.buffered) == (
            wanted["generated_total"][row],
            wanted["buffer_size"][row],
        )
        if validated_in_step and step in evaluations:
            state = rollout.validated(state, evaluations[step]["loss"])


def fixed_probability(case: dict) -> None:
    """The presets "as_released" of ImitKD and GKD: written, kept, and a draw from what is kept."""
    rollout = gkd.rollout(gkd.Params(student_fraction=case["options"]["mixed_alpha"], capacity=6))
    names = {"offline": "data", "generate_then_sample_buffer": "student_then_replay"}
    for draw, action in zip(case["expected"]["r"], case["expected"]["action"], strict=True):
        assert rollout.source(StudentState(), draw, 0.5) == names[action]
    always = imitkd.rollout(imitkd.Params(**imitkd.METHOD.presets["as_released"]))
    assert {always.source(StudentState(), draw, 1e-9) for draw in case["expected"]["r"]} == {
        "student_then_replay"
    }


def buffer(case: dict) -> None:
    """First in, first out. The draws differ (another generator): distinct texts of the buffer, which stay there."""
    rollout = gkd.rollout(gkd.Params(capacity=case["options"]["capacity"]))
    plan: Any = SimpleNamespace(task=SimpleNamespace(student=None))
    number = 0
    kept: Any = StudentTexts(rollout, plan, cast("Any", None)).buffer
    for pushed, size in zip(case["options"]["pushes"], case["expected"]["sizes"], strict=True):
        kept.extend(range(number, number + pushed))
        number += pushed
        assert len(kept) == size
    assert list(kept) == case["expected"]["contents"]


def loss_by_name(case: dict) -> None:
    """The substrings of the published option are divergences here; forward KL less the teacher's entropy."""
    logits = [
        TENSORS[case["input_roles"][name]].float() for name in ("student_logits", "teacher_logits")
    ]
    q, p = (torch.log_softmax(part, -1) for part in logits)
    kept = TENSORS[case["input_roles"]["labels"]] != -100
    kind = case["options"]["type"].removeprefix("adaptive-")
    name, extra = ("fkl" if kind == "kd" else kind), case["options"]["skew_alpha"]
    params = (
        {"alpha": extra} if name in ("sfkl", "srkl") else {"beta": 0.1} if name == "jsd" else {}
    )
    found = DIVERGENCES[name](p, q, **params)
    if name in ("fkl", "sfkl"):
        found = found - (p.exp() * p).sum(-1)
    assert float(found[kept].mean()) == pytest.approx(case["expected"]["loss"], rel=1e-4)


@pytest.mark.parametrize("name", CASES)
def test_each_golden_case_is_reproduced_or_listed(name: str) -> None:
    case = CASES[name]
    if name == "schedule/mixed_type_in_original_distillm":
        assert name in LISTED and case["expected"] == {"raises": "TypeError"}
    elif name == "schedule/mixed_fixed_probability":
        assert name not in LISTED
        fixed_probability(case)
    elif name.startswith("schedule/"):
        adaptive(case)
    elif name.startswith("replay_buffer/"):
        assert name in LISTED
        buffer(case)
    else:
        assert name not in LISTED
        loss_by_name(case)


def test_the_list_names_only_golden_cases_and_each_once() -> None:
    assert set(LISTED) <= set(CASES) and len(set(LISTED)) == len(LISTED)


def test_the_share_of_the_records_falls_in_imitkd() -> None:
    rollout = imitkd.rollout(imitkd.Params(data_rate_end=0.01))
    for progress, rate in ((0.5, 0.1), (1.0, 0.01)):
        assert rollout.source(StudentState(), rate - 1e-6, progress) == "data"
        assert rollout.source(StudentState(), rate + 1e-6, progress) == "student"
