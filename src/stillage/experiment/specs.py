"""The models of an experiment: their starts, training records and teachers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, replace

from stillage.audit.control_models import ALONE, CLEAN, CLEAN_TEACHER, MINIMAL, OUTSIDE
from stillage.distill.methods import METHODS
from stillage.distill.settings import needs_answers
from stillage.errors import ConfigError
from stillage.models.starts import check_starts, check_untrained
from stillage.run.config import Config, ModelConfig, TrainConfig
from stillage.types import Attack, Method, Part

INIT = "student_init"
"""The start that all students share, fine-tuned alone before any is distilled."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelSpec:
    """One model of the experiment."""

    name: str
    start: ModelConfig  # its initial weights
    train: TrainConfig | None = None  # None: used as it is
    trained_on: Part | None = None
    method: str = "sft"
    params: tuple[tuple[str, str], ...] = ()
    teacher: str = ""  # name of the model that teaches it
    pruned_from: str = ""  # name of the model whose blocks it starts from
    base: ModelConfig | None = None  # or that model itself, before any training
    starts_from: str = ""  # name of the model whose finished weights replace `start`
    imitates: str = ""  # name of the attacked model whose texts to public prompts it is trained on
    shadow: int = 0  # number of the shadow pipeline it belongs to, from 1; 0: none

    @property
    def is_trained(self) -> bool:
        """Whether it is trained in this run."""
        return self.train is not None

    @property
    def is_student(self) -> bool:
        """Whether it is trained on public records like the main student, unlike INIT."""
        return self.trained_on == "public" and self.name != INIT and not self.imitates


def outside_specs(
    specs: Sequence[ModelSpec], config: Config, attacks: Sequence[Attack]
) -> list[ModelSpec]:
    """List the audit.reference of a run that trains; ConfigError where none asks it."""
    if not config.audit.reference or "distill" not in config.stages:
        return []
    asked = {query.party for attack in attacks for query in attack.queries}
    answered = set() if any(spec.name == ALONE for spec in specs) else {"reference"}
    if not asked & {"outside", *answered}:
        raise ConfigError(
            "No attack of this run asks the model that is given as audit.reference.",
            f"audit.reference: {config.audit.reference}; audit.attacks: "
            f"{' '.join(config.audit.attacks)}",
            "Add reference_outside to audit.attacks (reference asks the student without a teacher, "
            "where there is one).",
        )
    start = ModelConfig(path=config.audit.reference, revision=config.audit.reference_revision)
    return [ModelSpec(name=OUTSIDE, start=start)]


def if_any(options: TrainConfig) -> TrainConfig | None:
    """Return the options; None where they ask for no training at all."""
    is_any = options.epochs > 0 or options.max_steps > 0 or options.max_trained_tokens > 0
    return options if is_any else None


def model_specs(config: Config, method: Method, params: object) -> list[ModelSpec]:
    """List every model that the config asks for, teachers before students.

    params: the method's, checked. ConfigError without a model, or for an untrained teacher.
    """
    student_train = if_any(config.student_train)
    if config.distill.minimal and ("distill" not in config.stages or student_train is None):
        raise ConfigError(
            "A student that is asked only for what is needed has to be trained, and no student is.",
            f"distill.minimal: true; stages: {' '.join(config.stages)}; student is trained: "
            f"{student_train is not None}",
            "Leave it out (--distill.minimal false), or train the student in this run.",
        )
    if "distill" not in config.stages:
        return given_specs(config)
    check_starts(config.teacher, config.student, if_any(config.teacher_train), student_train)
    is_taught = bool(method.needs_teacher(params)) or config.student.prune_teacher_to > 0
    teachers = teacher_specs(config, is_taught)
    if student_train is None:
        check_untrained("student", config.student)
        return [*teachers, ModelSpec(name="student", start=config.student)]
    return [*teachers, *student_specs(config, method, params, teachers)]


def teacher_specs(config: Config, is_taught: bool) -> list[ModelSpec]:
    """Specify the teacher and its counterfactual twin, as far as the run needs them.

    is_taught: whether the student learns from a teacher or is cut from one.
    """
    audits, train = "audit" in config.stages, if_any(config.teacher_train)
    if not (is_taught or audits):
        return []
    if train is None:
        check_untrained("teacher", config.teacher)
        return [ModelSpec(name="teacher", start=config.teacher)]
    teacher = ModelSpec(name="teacher", start=config.teacher, train=train, trained_on="private")
    asked = audits and is_taught and config.audit.counterfactual
    if not asked or lacks_counterfactual(config):
        return [teacher]
    return [teacher, replace(teacher, name=CLEAN_TEACHER, trained_on="counterfactual")]


def student_specs(
    config: Config, method: Method, params: object, teachers: Sequence[ModelSpec]
) -> list[ModelSpec]:
    """Specify every student of a run that trains one; teachers: those of the run."""
    pruned, with_teacher = config.student.prune_teacher_to > 0, method.needs_teacher(params)
    initial = [initialised(config)] if config.distill.init_epochs else []
    alone = ModelSpec(
        name=ALONE,
        start=config.student,
        train=config.student_train,
        trained_on="public",
        starts_from=INIT if initial else "",
    )

    def taught(name: str, teacher: str, settings: Mapping[str, str]) -> ModelSpec:
        return replace(
            alone,
            name=name,
            method=method.name,
            params=tuple(sorted(settings.items())),
            teacher=teacher if with_teacher else "",
            pruned_from=teacher if pruned else "",
        )

    found = [*initial, taught("student", "teacher", config.distill.params)]
    if any(spec.name == CLEAN_TEACHER for spec in teachers):
        found.append(taught(CLEAN, CLEAN_TEACHER, config.distill.params))
    if config.distill.minimal:
        found.append(taught(MINIMAL, "teacher", minimal_params(config, params)))
    asked = "audit" in config.stages and config.audit.no_teacher and (with_teacher or pruned)
    # one that is cut from a given teacher carries what that teacher saw
    if asked and not (pruned and not teachers[0].is_trained):
        found.append(replace(alone, base=config.teacher if pruned else None))
    return found


def minimal_params(config: Config, params: object) -> dict[str, str]:
    """Return the method's settings for the student of the needed part alone.

    params: the main student's, checked. ConfigError where the part's end is not set, or the method
    cannot stop there.
    """
    names = {entry.name for entry in fields(params)}  # pyright: ignore[reportArgumentType]
    is_asked = "stop_after" in names and "stop_after" not in config.distill.params
    if not config.data.needed_until or not is_asked:
        raise ConfigError(
            "No student can be asked only for what is needed.",
            f"data.needed_until: {config.data.needed_until!r}; distill.method: "
            f"{config.distill.method}; distill.params.stop_after: "
            f"{config.distill.params.get('stop_after', '')!r}",
            "Set data.needed_until to the text that ends the needed part, with --method seqkd "
            "without stop_after; or leave this student out (--distill.minimal false).",
        )
    return {**config.distill.params, "stop_after": config.data.needed_until}


def initialised(config: Config) -> ModelSpec:
    """Specify the start that all students share, fine-tuned alone on public records.

    ConfigError for negative epochs, without a validation, and where the student is an adapter or
    cut from its teacher.
    """
    epochs, start = config.distill.init_epochs, config.student
    if epochs < 0 or start.lora_rank or start.adapter or start.prune_teacher_to:
        raise ConfigError(
            "This student cannot be fine-tuned before it is distilled.",
            f"distill.init_epochs: {epochs:g}; student.lora_rank: {start.lora_rank}; "
            f"student.adapter: {start.adapter or 'none'}; student.prune_teacher_to: "
            f"{start.prune_teacher_to}",
            "Leave out init_epochs, and give a fine-tuned student.path where one is needed.",
        )
    if not config.student_train.validate_every:
        raise ConfigError(
            "A start that is fine-tuned first is that of the lowest validation loss, and nothing "
            "is validated.",
            f"distill.init_epochs: {epochs:g}; student_train.validate_every: 0",
            "Set student_train.validate_every, e.g. to 1 (epoch).",
        )
    train = replace(config.student_train, max_steps=0, max_trained_tokens=0, keep="best")
    params = (("epochs", f"{epochs:g}"),)
    return ModelSpec(
        name=INIT, start=start, train=train, trained_on="public", method="init", params=params
    )


def given_specs(config: Config) -> list[ModelSpec]:
    """The models of a run that trains nothing: the folders or hub ids of the config."""
    reference = ModelConfig(path=config.audit.reference, revision=config.audit.reference_revision)
    named = [("teacher", config.teacher), ("student", config.student), (OUTSIDE, reference)]
    found = [ModelSpec(name=name, start=start) for name, start in named if start.source]
    if not any(spec.name in ("teacher", "student") for spec in found):
        raise ConfigError(
            "There is no model to look at.",
            "teacher.path: none; student.path: none; stages: " + " ".join(config.stages),
            "Give --student FOLDER (and --teacher FOLDER), or add distill to the stages.",
        )
    return found


def needed_parts(config: Config, specs: Sequence[ModelSpec]) -> tuple[Part, ...]:
    """List the parts that the run cannot do without."""
    needed: list[Part] = [spec.trained_on for spec in specs if spec.trained_on is not None]
    if "evaluate" in config.stages:
        needed.append("test")
    if "audit" in config.stages:
        needed.extend(("private", "nonmembers"))
    return tuple(dict.fromkeys(needed))


def lacks_counterfactual(config: Config) -> bool:
    """Tell whether parts have files, and the counterfactual teacher's has none."""
    return bool(config.data.files) and "counterfactual" not in config.data.files


def missing_controls(config: Config, specs: Sequence[ModelSpec]) -> list[str]:
    """Say which controls the config asks for and the run cannot have, and why."""
    named = {spec.name: spec for spec in specs}
    if not {"audit", "distill"} <= set(config.stages) or "teacher" not in named:
        return []
    found: list[str] = []
    if config.audit.counterfactual and named["teacher"].is_trained and lacks_counterfactual(config):
        found.append(
            "no counterfactual teacher, no student of it: data.files names no counterfactual "
            "records"
        )
    if (
        config.audit.no_teacher
        and named["student"].is_trained
        and config.student.prune_teacher_to
        and ALONE not in named
    ):
        found.append(
            "no student without a teacher: one cut from a given teacher carries what that one saw"
        )
    return [f"a control is left out: {why}" for why in found]


def check_files(config: Config, specs: Sequence[ModelSpec]) -> None:
    """ConfigError where data.files names no file for a part that the run needs.

    With data.train_on, which moves records between parts, only the finished split knows.
    """
    if config.data.train_on:
        return
    missing = [spec for spec in needed_parts(config, specs) if spec not in config.data.files]
    if config.data.files and missing:
        raise ConfigError(
            f"No file is named for {', '.join(missing)}.",
            f"named: {', '.join(config.data.files)}",
            f"Give --data.files.{missing[0]} FILE; or one pool as --data.source, from which all "
            "models are drawn.",
        )


def trains_on_answers(spec: ModelSpec) -> bool:
    """Tell whether a model is trained on the records' own answers, not models' texts."""
    return needs_answers(METHODS[spec.method], dict(spec.params))


def reads_corpus(config: Config, spec: ModelSpec) -> bool:
    """Tell whether the loss on the plain-text corpus is added: to every student's."""
    return bool(config.lm.path) and spec.name.startswith("student")
