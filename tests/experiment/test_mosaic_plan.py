"""The stages of a mosaic run: their order, their inputs, and which of them each setting decides."""

from __future__ import annotations

import subprocess
import sys
import tempfile
import typing
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pyarrow as pa
import pytest

from stillage.errors import ConfigError, DataError
from stillage.experiment import mosaic_inputs
from stillage.experiment.context import make_context
from stillage.experiment.export import export
from stillage.experiment.mosaic_checks import check_mosaic
from stillage.experiment.mosaic_inputs import condition_start, other_models
from stillage.experiment.mosaic_models import names_of
from stillage.experiment.plan import plan
from stillage.mosaic.asked import asked_experiments, conditions_of, teacher_condition
from stillage.mosaic.condition import Arm, Condition
from stillage.mosaic.names import condition_name
from stillage.mosaic.table_columns import CANARIES, table_schema
from stillage.run.config import Config
from stillage.run.flags import Flat, is_list, is_table, setting_kinds
from stillage.run.folder import write_text, write_with_metadata
from stillage.run.parse import build, to_yaml
from stillage.run.stages import Stage, run_stage, stage_keys
from stillage.run.stop import Stop


def write_canaries(file: Path, text: str) -> str:
    """Write one canary of 100 tokens as `mosaic canaries` does; return its place."""
    row = dict.fromkeys(CANARIES) | {"canary": 0, "role": "member", "text": text, "ids": [5] * 100}
    kind = table_schema(CANARIES).with_metadata({"canaries": '{"tokenizer": ""}'})
    write_with_metadata(file, pa.Table.from_pylist([row], schema=kind))
    return str(file)


CANARIES_FILE = write_canaries(Path(tempfile.mkdtemp()) / "canaries.parquet", "one")
RUN: Flat = {
    "stages": ["mosaic"],
    "teacher.layers": ["2"],
    "teacher.width": ["64"],
    "teacher.heads": ["4"],
    "mosaic.experiments": [
        *("replacement", "model_size", "learning_rate", "temperature", "distillation")
    ],
    "mosaic.params.replacement.replaced": ["1 2"],
    "mosaic.params.model_size.sizes": ["1x32x2"],
    "mosaic.params.learning_rate.factors": ["2"],
    "mosaic.params.temperature.temperatures": ["2"],
    "mosaic.params.distillation.methods": ["seqkd"],
    **{
        f"mosaic.params.{name}.{setting}": [value]
        for name in ("model_size", "learning_rate", "temperature", "distillation")
        for setting, value in (("copies", "2"), ("replaced", "1"))
    },
    "mosaic.copies": ["3"],
    "mosaic.attacks": ["loss", "min_k", "neighbour", "mope", "dc_pdd", "recall", "reference"],
    "mosaic.student_start": ["own"],
    "mosaic.student_params.seqkd.beams": ["2"],
    "audit.reference": ["org/model"],
    "audit.reference_revision": ["a" * 40],
}
"""A run that has every kind of stage."""
BOOKS = str(Path(__file__).parents[1] / "golden" / "divergences.json")  # any data file
TRAINED = frozenset({"condition", "student"})
NOTHING = frozenset[str]()
DECIDES: Mapping[str, frozenset[str]] = {
    "out": NOTHING,
    "jobs": NOTHING,
    "threads": NOTHING,
    "seed": TRAINED | {"books", "canaries", "variations", "mosaic"},
    "data": NOTHING,
    "tokenizer": frozenset({"tokenizer"}),
    "teacher": frozenset({"base", "condition"}),
    "teacher_train": frozenset({"base", "base_student", "condition"}),
    "teacher_train.epochs": frozenset({"condition"}),
    "teacher_train.lr_peak": frozenset({"condition", "mosaic"}),  # factors of it are points
    "teacher_train.batch_size": frozenset({"condition"}),
    "teacher_train.max_steps": frozenset({"condition"}),
    "teacher_train.max_trained_tokens": frozenset({"condition"}),
    **dict.fromkeys(
        (
            *(f"{train}.checkpoint_every_s" for train in ("teacher_train", "student_train")),
            *(f"{train}.gradient_checkpointing" for train in ("teacher_train", "student_train")),
            *(f"{train}.packing" for train in ("teacher_train", "student_train")),
            *(f"{train}.keep" for train in ("teacher_train", "student_train")),
            *(f"{train}.keep_checkpoints" for train in ("teacher_train", "student_train")),
            *("teacher_train.keep_by", "teacher_train.keep_prompts"),
            "teacher_train.validate_every",  # documents are trained on without validation
        ),
        NOTHING,
    ),
    "student": frozenset({"base_student", "student"}),
    "student_train": frozenset({"student"}),
    "distill": NOTHING,
    "generate": NOTHING,
    "report": NOTHING,
    "lm": NOTHING,
    "audit": NOTHING,
    "audit.level": frozenset({"mosaic"}),
    **dict.fromkeys(
        (
            *("audit.min_k_fraction", "audit.min_k_count", "audit.min_k_window"),
            *("audit.neighbours", "audit.neighbour_share", "audit.neighbour_top_k"),
            *("audit.prefix_records", "audit.mope_copies", "audit.mope_sigma", "audit.mope_noise"),
            *("audit.dc_pdd_cap", "audit.reference", "audit.reference_revision"),
            "mosaic.monitor_every",
        ),
        TRAINED,
    ),
    "mosaic.attacks": TRAINED | {"mosaic"},
    "mosaic.params": frozenset({"variations", "condition", "mosaic"}),
    **dict.fromkeys(
        (
            *("mosaic.books", "mosaic.books_revision", "mosaic.text_column"),
            *("mosaic.title_column", "mosaic.hosts", "mosaic.max_documents", "mosaic.titles"),
        ),
        frozenset({"books"}),
    ),
    "mosaic.keep_models": NOTHING,
    "mosaic.copies": frozenset({"variations", "condition", "mosaic"}),
    "mosaic.inject": frozenset({"condition"}),
    "mosaic.block_tokens": frozenset({"base", "base_student", "condition"}),
    "mosaic.pretrain_epochs": frozenset({"base", "base_student"}),
    "mosaic.pretrain_lr": frozenset({"base", "base_student"}),
    "mosaic.pretrain_batch_size": frozenset({"base", "base_student"}),
    "mosaic.pretrain_seed": frozenset({"base", "base_student", "masked"}),
    "mosaic.masked_model": frozenset({"masked"}),
    "mosaic.masked_revision": frozenset({"masked"}),
    "mosaic.student_start": frozenset({"base_student", "student"}),
    "mosaic.student_reads": frozenset({"student"}),
    "mosaic.student_params": frozenset({"student"}),
    "mosaic.student_windows": frozenset({"student"}),
    "mosaic.student_prompt_tokens": frozenset({"student"}),
    "mosaic.student_response_tokens": frozenset({"student"}),
    "mosaic.writer": NOTHING,  # without paraphrases
    "mosaic.writer_revision": NOTHING,
    "mosaic.writer_model": NOTHING,
    "mosaic.resamples": frozenset({"mosaic"}),
    "mosaic.canaries": frozenset({"canaries"}),
}
"""A setting, or the group of those that are not named -> the kinds of stages that it decides itself."""
VALUES: Mapping[str, list[str]] = {
    "mosaic.block_tokens": ["256"],
    "mosaic.params.replacement.replaced": ["1 3"],
    "mosaic.attacks": ["loss"],
    "mosaic.titles": ["published"],
    "mosaic.masked_model": ["org/masked"],
    "mosaic.student_params.seqkd.beams": ["3"],
    "mosaic.canaries.generator": ["org/model"],
    "mosaic.canaries.file": [CANARIES_FILE],
    "mosaic.canaries.buckets": ["1", "10", "100"],
    "audit.reference_revision": ["b" * 40],
    "teacher.heads": ["2"],
    "teacher.width": ["32"],
    "student.heads": ["2"],
    "student.width": ["64"],
}
"""Values where another number or word of the same kind would be refused, and of lists and tables."""
GROUPS = (
    *("seed", "jobs", "threads", "out", "tokenizer.vocab_size", "generate.records"),
    *("mosaic.", "teacher.", "teacher_train.", "student.", "student_train.", "audit."),
)
ELSEWHERE = (
    *("mosaic.experiments", "mosaic.books", "audit.measures", "audit.params", "audit.dp"),
    *("audit.extract", "audit.shadows", "audit.blocks", "audit.attacks"),
    *(f"{model}.{name}" for model in ("teacher", "student") for name in ("path", "revision")),
    *(f"{model}.{name}" for model in ("teacher", "student") for name in ("config", "adapter")),
    *(f"{model}.{name}" for model in ("teacher", "student") for name in ("quantize", "lora_rank")),
    *(f"{model}.lora_targets" for model in ("teacher", "student")),
    *("audit.fprs", "audit.dp_guesses", "audit.harmless_auc"),  # refused alone, as are the next
    *(f"{model}.prune_teacher_to" for model in ("teacher", "student")),
)
"""Settings that change what a run is, or that a model from scratch has not."""


@pytest.fixture(autouse=True)
def any_place(monkeypatch: pytest.MonkeyPatch) -> None:
    """Hub ids without a commit are as good as others: nothing is loaded."""
    without_commits(monkeypatch)


def without_commits(monkeypatch: pytest.MonkeyPatch) -> None:
    for room in ("mosaic_plan", "mosaic_checks"):
        monkeypatch.setattr(f"stillage.experiment.{room}.check_place", lambda *place: None)


def config_of(flat: Flat, run: Flat = RUN) -> Config:
    return build({"mosaic.books": [BOOKS], **run, **flat})


def planned(config: Config) -> list[Stage]:
    return plan(make_context(config, Stop(), lambda name, facts: None))


def stages(flat: Flat, run: Flat = RUN) -> list[Stage]:
    return planned(config_of(flat, run))


def kind(name: str) -> str:
    """The kind of a stage: canaries, variations and bases of any arm, trainings of any dose."""
    if name in ("books", "tokenizer", "masked", "mosaic", "report", "base_student"):
        return name
    first = name.partition("_")[0]
    return first if first in ("base", "canaries", "variations", "student") else "condition"


def contents(config: Config) -> dict[str, object]:
    """What decides each stage besides its inputs."""
    return {
        stage.name: (stage.settings, stage.outside, stage.schema)
        for stage in planned(config)
        if stage.name != "report"
    }


@pytest.fixture(scope="module")
def before(usual: Config) -> dict[str, object]:
    with pytest.MonkeyPatch.context() as patched:
        without_commits(patched)
        return contents(usual)


@pytest.fixture(scope="module")
def usual() -> Config:
    return config_of({})


def other(config: Config, name: str) -> Config:
    """The config with another value of a setting, of its kind."""
    if name in VALUES:
        return config_of({name: VALUES[name]})
    *outer, last = name.split(".")
    groups = [config]
    for part in outer:
        groups.append(getattr(groups[-1], part))
    now: Any = getattr(groups[-1], last)
    wanted = setting_kinds()[name]
    if typing.get_origin(wanted) is typing.Literal:
        value: Any = next(word for word in typing.get_args(wanted) if word != now)
    elif isinstance(now, bool):
        value = not now
    elif isinstance(now, int):
        value = now + 1
    else:
        value = (now * 0.5 or 0.5) if isinstance(now, float) else type(now)("other")
    for group, part in zip(reversed(groups), (last, *reversed(outer)), strict=True):
        value = replace(group, **{part: value})
    return value


def cases() -> list[str]:
    """Every setting of the groups, and of each table the key whose value is given above."""
    names = []
    for name, wanted in setting_kinds().items():
        if name in ELSEWHERE or not name.startswith(GROUPS):
            continue
        keys = [key for key in VALUES if key == name or key.startswith(f"{name}.")]
        assert keys or not (is_table(wanted) or is_list(wanted)), f"{name} has no value here"
        names += keys or [name]
    return names


def decided(name: str) -> frozenset[str]:
    parts = name.split(".")
    known = (".".join(parts[:length]) for length in range(len(parts), 0, -1))
    return next(DECIDES[one] for one in known if one in DECIDES)


def changed(before: Mapping[str, object], config: Config) -> set[str]:
    """The kinds of stages whose content another config decides otherwise."""
    after = contents(config)
    names = {one for one in before.keys() | after.keys() if before.get(one) != after.get(one)}
    return {*map(kind, names)}


@pytest.mark.parametrize("name", [name for name in cases() if decided(name)])
def test_a_setting_decides_these_stages_and_no_others(
    name: str, usual: Config, before: Mapping[str, object]
) -> None:
    assert changed(before, other(usual, name)) == decided(name), name


def test_these_settings_decide_nothing_all_together(
    usual: Config, before: Mapping[str, object]
) -> None:
    names = [name for name in cases() if not decided(name)]
    assert len(names) > 30
    config = usual
    for name in names:
        config = other(config, name)
    assert config != usual and not changed(before, config)


def test_every_stage_comes_after_its_inputs_and_the_report_reads_all() -> None:
    found = stages({})
    names = [stage.name for stage in found]
    assert len({*names}) == len(names)
    for place, stage in enumerate(found):
        assert {*stage.inputs} <= {*names[:place]}, stage.name
    assert names[:2] == ["books", "tokenizer"] and names[-2:] == ["mosaic", "report"]
    assert [*found[-1].inputs] == names[:-1]
    asked = conditions_of(asked_experiments(config_of({})))
    trained = [name for name in names if kind(name) in TRAINED]
    assert {*trained} == {*map(condition_name, asked)} and {*trained} <= {*found[-2].inputs}
    inputs = {stage.name: {*stage.inputs} for stage in found}
    for condition in asked:
        given = inputs[condition_name(condition)]
        if condition.method:
            assert {condition_name(teacher_condition(condition)), "base_student"} <= given
            assert "base" not in given  # compared with the student before it
        else:
            assert names_of(config_of({})).base(condition.arm) in given
        assert "masked" in given  # the neighbour attack asks it
    size = inputs["exact_01_1x32x2"]  # compared with itself before: with no other arm's base
    assert "base_1x32x2" in size and "base" not in size
    assert inputs["canaries"] == {"books", "tokenizer", "base"}
    assert inputs["base"] == {"books", "tokenizer"}
    assert {"canaries_t2", "variations_replace_1_t2"} <= inputs["replace_1_n2_t2"]


def test_experiments_on_other_models_and_canaries_alone_are_planned(tmp_path: Path) -> None:
    """Neither the config's own size nor its own canaries need be among those asked for."""
    few: Flat = {"stages": ["mosaic"], "mosaic.copies": ["2"]}
    for name, setting, value, there, absent in (
        ("model_size", "sizes", "1x16x2 1x48x2", {"base", "canaries"}, set[str]()),
        ("temperature", "temperatures", "2.5 5", {"base", "canaries_t2.5"}, {"canaries"}),
        ("scanned", "scan", str(tmp_path), {"canaries_scan"}, {"canaries"}),
    ):
        params: Flat = {f"mosaic.params.{name}.{setting}": [value]}
        found = stages({"mosaic.experiments": [name], **params}, few)
        names = {stage.name for stage in found}
        assert stage_keys(found).keys() == names
        assert there <= names and not absent & names, name


def test_the_order_of_attacks_decides_the_report_alone() -> None:
    few: Flat = {"stages": ["mosaic"], "mosaic.experiments": ["exact_copies"]}
    one, two = (
        stage_keys(stages({"mosaic.attacks": attacks}, few))
        for attacks in (["loss", "reference"], ["reference", "loss"])
    )
    assert {name for name in one if one[name] != two[name]} == {"mosaic", "report"}


@pytest.mark.parametrize("is_own", [True, False])
@pytest.mark.parametrize("given", ["", "org/other"])
def test_models_are_compared_with_the_weights_that_they_started_from(
    is_own: bool, given: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(mosaic_inputs, "reader_of", lambda context, start, **own: start.path)
    config = config_of(
        {
            "out": [str(tmp_path)],
            "mosaic.attacks": ["reference", "reference_init"],
            "mosaic.student_start": ["own" if is_own else "base"],
            "audit.reference": [given],
        }
    )
    context = make_context(config, Stop(), lambda name, facts: None)
    for condition, base in (
        (Condition(method="kd"), "base_student" if is_own else "base"),
        (Condition(), "base"),
        (Condition(arm=Arm(layers=1, width=32, heads=2)), "base_1x32x2"),
    ):
        start = str(tmp_path / base / "model")
        assert condition_start(context, condition).path == start
        found = other_models(context, condition)
        assert found == {"reference": given or start, "initial": start}


def test_a_finished_run_is_exported(tmp_path: Path) -> None:
    few: Flat = {"stages": ["mosaic"], "mosaic.experiments": ["exact_copies"]}
    run, target = tmp_path / "run", tmp_path / "copy"
    config = config_of({"out": [str(run)], "mosaic.copies": ["2"]}, few)
    found = planned(config)
    for stage in found:
        made = replace(stage, work=lambda folder: write_text(folder / "made", "made"))
        run_stage(run / stage.name, made, stage_keys(found)[stage.name])
    write_text(run / "config.yaml", to_yaml(config))
    assert {*export(run, target)} == {stage.name for stage in found}
    assert (target / "report" / "made").is_file()


def test_a_masked_model_that_only_an_attack_asks_is_planned() -> None:
    few: Flat = {"stages": ["mosaic"], "mosaic.experiments": ["exact_copies"]}
    for attack, is_there in (("loss", False), ("neighbour", True)):
        names = [stage.name for stage in stages({"mosaic.attacks": [attack]}, few)]
        assert ("masked" in names) == is_there


def test_a_file_of_canaries_is_in_the_key_and_no_base_writes_them(tmp_path: Path) -> None:
    file, keys = tmp_path / "c.parquet", set[str]()
    for content in ("one", "two"):
        write_canaries(file, content)
        found = stages({"mosaic.canaries.file": [str(file)]})
        inputs = {stage.name: set(stage.inputs) for stage in found}
        assert inputs["canaries"] == {"books", "tokenizer"} and "base" in inputs["canaries_t2"]
        keys.add(stage_keys(found)["canaries"])
    assert len(keys) == 2
    file.unlink()
    with pytest.raises(DataError, match="no file of canaries"):
        stages({"mosaic.canaries.file": [str(file)]})


FIRST = ["learning_rate", "temperature"]
LATER = ["replacement", "insertion", "model_size", "distillation"]


def test_experiments_added_later_keep_what_is_finished() -> None:
    """But for the trainings whose weights are now needed, as the students' teachers: these went."""

    def keeping(found: Sequence[Stage]) -> set[str]:
        return {stage.name for stage in found if stage.kept}

    plain: Flat = {"stages": ["mosaic"], "mosaic.copies": ["10"]}
    before, after = (
        stages({"mosaic.experiments": names}, plain) for names in (FIRST, [*FIRST, *LATER])
    )
    old, new = stage_keys(before), stage_keys(after)
    assert {name for name, key in old.items() if new[name] != key} == {"mosaic", "report"}
    assert len(old) > 20 and len(new) > len(old) + 20
    assert not keeping(before)
    assert keeping(after) & old.keys() == {
        "exact_01",
        "exact_02",
        "exact_03",
        "exact_04",
        "exact_05",
    } | {
        "replace_10_n5",
        "replace_50_n5",
    }


def test_the_weights_of_every_training_may_be_kept_and_decide_nothing() -> None:
    usual, keeping = stages({}), stages({"mosaic.keep_models": ["true"]})
    trained = {stage.name for stage in usual if kind(stage.name) in TRAINED}
    assert stage_keys(usual) == stage_keys(keeping)
    assert {stage.name for stage in keeping if stage.kept} == trained
    assert {kind(stage.name) for stage in usual if stage.kept} == {"condition"}


def test_new_weights_that_nothing_pre_trains_are_those_of_their_seed() -> None:
    one, two = (
        stage_keys(stages({"mosaic.pretrain_epochs": ["0"], "mosaic.pretrain_seed": [seed]}))
        for seed in ("1", "2")
    )
    trained = {name for name in one if kind(name) in TRAINED}
    assert trained <= {name for name in one if one[name] != two[name]}


def test_seeds_share_what_titles_leave_alike(tmp_path: Path) -> None:
    (tmp_path / "hosts.txt").write_text("a title\n")
    for titles, shared in (
        ([], set[str]()),
        ([str(tmp_path / "hosts.txt")], {"books", "tokenizer", "base", "base_1x32x2"}),
    ):
        given: Flat = {"mosaic.titles": titles} if titles else {}
        one, two = (stage_keys(stages({**given, "seed": [seed]})) for seed in ("1", "2"))
        same = {name for name in one if one[name] == two[name]}
        assert same == (shared | {"base_student", "masked"} if shared else set())


def test_what_cannot_be_run_is_refused_before_anything_is_made() -> None:
    few: Flat = {"stages": ["mosaic"]}
    for flat, said in (
        ({"stages": ["mosaic", "audit"]}, "Write stages: \\[mosaic\\] alone"),
        ({"mosaic.books": [""]}, "mosaic.books: none"),
        ({"mosaic.attacks": ["losss"]}, "no attack 'losss'"),
        ({"mosaic.attacks": ["lira_online"]}, "lira_online cannot score"),
        ({"mosaic.attacks": ["loss", "as_released"]}, "stand alone"),
        ({"mosaic.experiments": ["replacements"]}, "no such experiment"),
        ({"mosaic.student_params.kdd.temperature": ["2"]}, "student_params.kdd.temperature"),
        ({"teacher.width": ["30"], "teacher.heads": ["4"]}, "heads that divide the width"),
        ({"mosaic.student_params.seqkd": ["2"], **STUDENTS}, "student_params.seqkd"),
        ({"mosaic.student_params.seqkd.beam": ["2"], **STUDENTS}, "beam"),
        ({"mosaic.copies": ["1"]}, "mosaic.copies must be at least 2"),
    ):
        with pytest.raises(ConfigError, match=said):
            stages(flat, few)
    with pytest.raises(DataError, match=r"not there: \./gone"):
        stages({"mosaic.books": ["./gone"]}, few)
    with pytest.raises(ConfigError, match="processes: 2"):
        check_mosaic(config_of({}), SimpleNamespace(size=2))  # pyright: ignore[reportArgumentType]


STUDENTS: Flat = {
    "mosaic.experiments": ["distillation"],
    "mosaic.params.distillation.methods": ["seqkd"],
}


def test_a_plan_needs_no_torch() -> None:
    code = f"""
import sys
from stillage.experiment.context import make_context
from stillage.experiment.plan import plan
from stillage.run.parse import build
from stillage.run.stop import Stop
flat = {{"mosaic.books": [{BOOKS!r}], "stages": ["mosaic"], **{STUDENTS!r}}}
assert len(plan(make_context(build(flat), Stop(), lambda name, facts: None))) > 10
assert "torch" not in sys.modules, "torch"
"""
    subprocess.run([sys.executable, "-c", code], check=True)
