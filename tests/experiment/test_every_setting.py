"""Every setting in turn: exactly the stages that it decides are done again."""

from __future__ import annotations

import typing
from collections.abc import Mapping
from functools import cache

import pytest

from stillage.experiment.context import make_context
from stillage.experiment.plan import plan
from stillage.run.flags import Flat, is_list, is_table, setting_kinds
from stillage.run.parse import build
from stillage.run.stages import Stage
from stillage.run.stop import Stop

RUN: Flat = {
    "audit.blocks": ["true"],
    "audit.extract": ["badge"],
    "audit.exposure_records": ["4"],
    "audit.shadows": ["2"],
    "audit.attacks": (
        "loss min_k neighbour recall mope dc_pdd self_prompted_reference reference_outside"
    ).split(),
    "audit.reference": ["org/model"],
    "audit.reference_revision": ["a" * 40],
}
"""A run that has every kind of stage but the bound on epsilon."""
TEACHERS = frozenset({"teacher", "teacher_counterfactual", "teacher_shadow"})
STUDENTS = frozenset({"student", "student_counterfactual", "student_no_teacher", "student_shadow"})
PROMPTED = frozenset({"self_prompted"})  # models taught by the texts of the audited ones
MEASURES = frozenset({"blocks", "signal", "exposure"})
NOTHING = frozenset[str]()
DECIDES: Mapping[str, frozenset[str]] = {
    "out": NOTHING,
    "jobs": NOTHING,
    "threads": NOTHING,
    "track": NOTHING,
    "lm": NOTHING,  # but for its path: it is read where that is given
    "report": NOTHING,
    "seed": TEACHERS
    | STUDENTS
    | PROMPTED
    | MEASURES
    | {"data", "shadow_design", "evaluate", "audit"},
    "data": frozenset({"data"}),
    "data.needed_until": frozenset({"evaluate", "audit"}),
    "data.max_tokens": PROMPTED | {"data"},
    "data.max_prompt_tokens": PROMPTED | {"data"},
    "tokenizer": frozenset({"tokenizer"}),
    "teacher": TEACHERS | STUDENTS - {"student_no_teacher"} | PROMPTED,
    "teacher.path": TEACHERS | STUDENTS - {"student_no_teacher"} | PROMPTED | {"tokenizer"},
    "teacher.adapter": TEACHERS | STUDENTS - {"student_no_teacher"} | PROMPTED | {"tokenizer"},
    "teacher_train": TEACHERS | PROMPTED,
    "teacher_train.validate_every": TEACHERS,
    "teacher_train.keep": TEACHERS,
    "teacher_train.keep_checkpoints": TEACHERS,
    "teacher_train.checkpoint_every_s": NOTHING,
    "teacher_train.gradient_checkpointing": NOTHING,
    "student": STUDENTS | PROMPTED,
    "student.path": STUDENTS | PROMPTED | {"tokenizer"},
    "student.adapter": STUDENTS | PROMPTED | {"tokenizer"},
    "student_train": STUDENTS | PROMPTED,
    "student_train.validate_every": STUDENTS,
    "student_train.keep": STUDENTS,
    "student_train.keep_checkpoints": STUDENTS,
    "student_train.checkpoint_every_s": NOTHING,
    "student_train.gradient_checkpointing": NOTHING,
    "distill.method": STUDENTS - {"student_no_teacher"},
    "distill.params": STUDENTS - {"student_no_teacher"},
    "distill.init_epochs": STUDENTS | PROMPTED | {"student_init"},
    "generate": frozenset({"evaluate"}),
    "generate.batch_tokens": NOTHING,
    "audit": frozenset({"audit"}),
    "audit.attacks": MEASURES | {"audit"},  # recall takes records away
    "audit.self_prompt_texts": PROMPTED,
    "audit.self_prompt_epochs": PROMPTED,
    "audit.prefix_records": frozenset({"audit", "blocks", "exposure"}),
    "audit.max_records": frozenset({"audit", "blocks", "exposure"}),
    "audit.mope_copies": frozenset({"audit", "blocks"}),
    "audit.mope_sigma": frozenset({"audit", "blocks"}),
    "audit.mope_noise": frozenset({"audit", "blocks"}),
    "audit.level": MEASURES | {"evaluate", "audit"},
    "audit.counterfactual": frozenset({"audit", "signal", "teacher_counterfactual"})
    | {"student_counterfactual", "self_prompted"},
    "audit.no_teacher": frozenset({"audit", "student_no_teacher", "self_prompted"}),
    "audit.reference_revision": frozenset({"audit", "blocks", "signal", "exposure"}),
    "audit.shadows": frozenset({"audit", "shadow_design", "teacher_shadow", "student_shadow"}),
    "audit.exposure_records": frozenset({"exposure"}),
    "audit.exposure_candidates": frozenset({"exposure"}),
    "audit.blocks": frozenset({"blocks"}),
    "audit.block_records": frozenset({"blocks"}),
    "audit.signal_records": frozenset({"signal"}),
    "audit.dp_attack": NOTHING,
    "audit.dp_guesses": NOTHING,
    "audit.dp_delta": NOTHING,
    "audit.batch_tokens": NOTHING,
    "audit.strict": NOTHING,
}
"""A setting, or the group of those that are not named -> the kinds of stages that it decides itself."""
VALUES: Mapping[str, list[str]] = {
    "data.columns.prompt": ["question"],
    "data.shares.private": ["0.3"],
    "data.train_on.teacher": ["all"],
    "data.slice_by": ["badge"],
    "data.source": ["org/pool"],
    "distill.method": ["seqkd"],
    "distill.params.divergence": ["rkl"],
    "audit.attacks": ["loss", "self_prompted_reference", "reference_outside"],
    "audit.fprs": ["0.2"],
    "audit.dp_guesses": ["5", "5"],
    "audit.harmless_auc": ["0.7"],
    "audit.shadows": ["4"],
    "audit.reference_revision": ["b" * 40],
    "audit.masked_revision": ["b" * 40],
}
"""Values where another number or word of the same kind would be refused, and of lists and tables."""
REFUSED = (
    *("stages", "data.files", "data.parallel", "data.group_by", "distill.minimal", "track"),
    *("teacher.quantize", "student.quantize", "teacher.prune_teacher_to", "lm.path"),
    *("teacher.lora_targets", "student.lora_targets", "audit.masked_model", "audit.reference"),
    *("audit.dp", "audit.measures", "audit.params", "audit.extract"),
)
"""Settings that change what a run is, or are refused alone; tests of their own look at them."""


@cache
def base() -> tuple[Stage, ...]:
    return stages(RUN)


def stages(flat: Flat) -> tuple[Stage, ...]:
    return tuple(plan(make_context(build(flat), Stop(), lambda name, facts: None)))


def kind(name: str) -> str:
    """The kind of a stage: shadows by their models, and all self-prompted ones as one."""
    return (
        "self_prompted"
        if name.startswith("self_prompted")
        else name.partition("_shadow_")[0] + ("_shadow" if "_shadow_" in name else "")
    )


def another_value(name: str) -> list[str]:
    """A value that the setting does not have in the run, of its kind."""
    if name in VALUES:
        return VALUES[name]
    now: object = build(RUN)
    for part in name.split("."):
        now = getattr(now, part)
    wanted = setting_kinds()[name]
    if typing.get_origin(wanted) is typing.Literal:
        return [next(word for word in typing.get_args(wanted) if word != now)]
    if isinstance(now, bool):
        return [str(not now).lower()]
    if isinstance(now, int):
        return [str(now + 1)]
    return [str(now * 0.5 or 0.5)] if isinstance(now, float) else ["other"]


def cases() -> list[str]:
    """Every setting, and of each table the key whose value is given above."""
    names = []
    for name, wanted in setting_kinds().items():
        keys = [key for key in VALUES if key == name or key.startswith(f"{name}.")]
        if name not in REFUSED and not name.startswith(
            "mosaic."
        ):  # test_mosaic_plan looks at these
            assert keys or not (is_table(wanted) or is_list(wanted)), f"{name} has no value here"
            names += keys or [name]
    return names


@pytest.mark.parametrize("name", cases())
def test_a_setting_decides_these_stages_and_no_others(
    name: str, tmp_path: object, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("stillage.experiment.plan.check_place", lambda *place: None)
    before, after = (
        {
            stage.name: (stage.settings, stage.outside, stage.schema)
            for stage in some
            if stage.name != "report"
        }
        for some in (base(), stages({**RUN, name: another_value(name)}))
    )
    changed = {
        kind(one) for one in before.keys() | after.keys() if before.get(one) != after.get(one)
    }
    known = (name, name.rpartition(".")[0], name.partition(".")[0])
    assert changed == next(DECIDES[one] for one in known if one in DECIDES), name


def test_the_column_to_recite_decides_the_data_too() -> None:
    cards: Flat = {**RUN, "data.source": ["staff_cards"]}
    before, after = (
        {stage.name: stage.settings for stage in stages({**cards, "audit.extract": [column]})}
        for column in ("badge", "mentor")
    )
    changed = {one for one in before if before[one] != after[one]} - {"report"}
    assert changed == {"data", "audit", "exposure"}


def test_the_settings_of_the_bound_on_epsilon_decide_it_alone() -> None:
    coins: Flat = {**RUN, "data.inclusion": ["bernoulli"], "audit.dp": ["true"]}
    coins["audit.attacks"] = ["loss", "reference_outside"]
    before = {stage.name: stage.settings for stage in stages(coins)}
    for name, value in (
        ("audit.dp_attack", ["reference_outside"]),
        ("audit.dp_guesses", ["30", "30"]),
        ("audit.dp_delta", ["1e-6"]),
    ):
        after = {stage.name: stage.settings for stage in stages({**coins, name: value})}
        assert {one for one in before if before[one] != after[one]} == {"dp"}, name
