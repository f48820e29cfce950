"""What is refused before anything is planned, and what a run is named by."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from stillage.errors import ConfigError
from stillage.experiment.context import Context, kept_columns, make_context
from stillage.plugins.plugin import load
from stillage.run.config import (
    AuditConfig,
    Config,
    DataConfig,
    DistillConfig,
    GenerateConfig,
    LmConfig,
    ModelConfig,
    ReportConfig,
    TrainConfig,
)
from stillage.run.stop import Stop
from stillage.run.team import Team


def context_of(config: Config) -> Context:
    return make_context(config, Stop(), lambda *_: None)


REFUSED: dict[str, tuple[Config, str]] = {
    "number": (Config(jobs=0), "jobs"),
    "method": (Config(distill=DistillConfig(method="kdd")), "kdd"),
    "setting of a method": (Config(distill=DistillConfig(params={"nothing": "1"})), "nothing"),
    "attack": (Config(audit=AuditConfig(attacks=("los",))), "los"),
    "attack without shadows": (Config(audit=AuditConfig(attacks=("rmia",))), "rmia"),
    "odd shadows": (Config(audit=AuditConfig(shadows=3)), "shadows"),
    "needed part": (
        Config(audit=AuditConfig(attacks=("loss_needed",))),
        "nobody said where that ends",
    ),
    "setting of a measure": (Config(audit=AuditConfig(params={"nothing.k": "1"})), "nothing"),
    "unasked reference": (Config(audit=AuditConfig(reference="r")), "audit.reference"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_cannot_be_is_refused_in_three_lines(name: str) -> None:
    config, words = REFUSED[name]
    with pytest.raises(ConfigError) as caught:
        context_of(config)
    assert words in str(caught.value) and len(str(caught.value).splitlines()) == 3


@pytest.mark.parametrize("name", [name for name in REFUSED if "attack" in name])
def test_attacks_are_not_looked_at_where_nothing_is_audited(name: str) -> None:
    config = replace(REFUSED[name][0], stages=("distill", "evaluate"))
    assert [spec.name for spec in context_of(config).specs] == ["teacher", "student"]


BASE = Config()
SAME: dict[str, Config] = {
    "place": Config(out=Path("elsewhere")),
    "jobs": Config(jobs=3),
    "tracker": Config(track="tensorboard"),  # need not be installed where it only names a run
}
OTHER: dict[str, Config] = {
    "seed": Config(seed=2),
    "threads": Config(threads=1),
    "stages": Config(stages=("distill", "audit")),
    "data": Config(data=DataConfig(people=799)),
    "teacher": Config(teacher=ModelConfig(layers=5, width=192, heads=6)),
    "student": Config(student=ModelConfig(layers=3, width=128, heads=4)),
    "training": Config(student_train=TrainConfig(epochs=10, lr_peak=2e-3)),
    "method": Config(distill=DistillConfig(method="gkd")),
    "method's setting": Config(distill=DistillConfig(params={"divergence": "rkl"})),
    "corpus": Config(lm=LmConfig(coef=2.0)),
    "answers": Config(generate=GenerateConfig(records=1)),
    "audit": Config(audit=AuditConfig(level=0.9)),
    "report": Config(report=ReportConfig(examples=1)),
}


def test_a_run_is_named_by_its_settings_and_not_by_where_it_lies_or_how_it_is_watched() -> None:
    named = context_of(BASE).run_id
    assert len(named) == 12 and set(named) <= set("0123456789abcdef")
    found = {name: replace(context_of(BASE), config=one).run_id for name, one in SAME.items()}
    assert found == dict.fromkeys(SAME, named)
    others = {context_of(config).run_id for config in OTHER.values()} | {named}
    assert len(others) == len(OTHER) + 1


def test_a_plugin_is_part_of_the_name_only_where_the_run_uses_it(tmp_path: Path) -> None:
    (tmp_path / "mine.py").write_text("METHODS = {}\nDIVERGENCES = {}\n")
    plugin = load(tmp_path / "mine.py")
    with_it = replace(context_of(BASE), plugins=(plugin,))
    assert with_it.run_id == context_of(BASE).run_id
    used = replace(plugin, tables={"ATTACKS": {"loss": None}})
    first = replace(context_of(BASE), plugins=(used,)).run_id
    second = replace(context_of(BASE), plugins=(replace(used, sha256="0" * 64),)).run_id
    assert len({context_of(BASE).run_id, first, second}) == 3


def test_models_that_serve_others_are_neither_evaluated_nor_audited() -> None:
    config = Config(
        distill=DistillConfig(init_epochs=1),
        audit=AuditConfig(
            shadows=2,
            reference="r",
            attacks=("loss", "reference_outside", "rmia", "self_prompted_reference"),
        ),
    )
    context = context_of(config)
    evaluated = ["teacher", "teacher_counterfactual", "student"]
    evaluated += ["student_counterfactual", "student_no_teacher"]
    assert [spec.name for spec in context.models] == evaluated
    assert [spec.name for spec in context.asked] == [*evaluated, "outside_reference"]
    others = {spec.name for spec in context.specs} - {spec.name for spec in context.asked}
    assert {name for name in others if name.startswith("self_prompted_")} == {
        f"self_prompted_{name}" for name in evaluated
    }
    assert others - {name for name in others if name.startswith("self_prompted_")} == {
        "student_init",
        "teacher_shadow_01",
        "student_shadow_01",
        "teacher_shadow_02",
        "student_shadow_02",
    }


def test_a_cache_is_shared_where_stages_are(tmp_path: Path) -> None:
    alone = context_of(Config(out=tmp_path / "run"))
    assert alone.cache == tmp_path / "run" / "cache"
    assert replace(alone, store=tmp_path / "store").cache == tmp_path / "store" / "cache"


@pytest.mark.parametrize(("rank", "writes"), [(0, True), (1, False)])
def test_one_process_writes(rank: int, writes: bool) -> None:
    team = Team(rank=rank, size=2, store=None)  # pyright: ignore[reportArgumentType]
    assert replace(context_of(BASE), team=team).is_first == writes
    assert context_of(BASE).is_first


def test_the_column_to_recite_is_kept() -> None:
    assert kept_columns(BASE) == ()
    assert kept_columns(Config(audit=AuditConfig(extract="badge"))) == ("badge",)
