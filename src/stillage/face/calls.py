"""Distil, audit or run a whole experiment from Python, as the command line does."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING

from stillage.errors import ConfigError
from stillage.face.config_source import config_settings, own_folder
from stillage.face.experiments import (
    Session,
    check_audit,
    check_points,
    do_experiment,
    plan_experiment,
    read_experiment,
)
from stillage.face.finished_run import Run
from stillage.face.memory import Inputs, name_list, new_or_continued
from stillage.face.python_names import with_python_names
from stillage.run.config import Config
from stillage.run.flags import Flat
from stillage.run.parse import from_yaml, to_plain, to_yaml

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

    from stillage.face.memory import Model, Records

    Settings = Mapping[str, object]
    """Settings by the names of a config: {"student_train": {"lr_peak": 1e-3}}, or with dots."""

LOG = logging.getLogger("stillage")
NONE: Mapping[str, object] = {}


@with_python_names(plugins="plugin")
def run_experiment(
    config: str | Path | Settings | Config,
    *,
    settings: Settings = NONE,
    out: str | Path | None = None,
    until: str = "",
    accept_changes: bool = False,
    plugins: Sequence[str | Path] = (),
) -> Run:
    """Run a whole experiment, or every point of a sweep; the same call continues it.

    Args:
        config: a YAML file, a run folder, a preset, a table of settings, or a Config.
        settings: settings on top of it.
        out: the run folder; without it that of the config, or as the command line names it.
        until: the last stage to do, e.g. "student"; empty: all.
        accept_changes: do finished stages again whose settings have changed.
        plugins: Python files with divergences, methods or attacks of your own.

    Raises ConfigError, DataError or ModelError, in three lines, for what you can mend.
    """
    base = str(config) if isinstance(config, (str, Path)) else flat_settings(config)
    flat = config_settings(base, flat_settings(settings))
    if out is not None:
        flat["out"] = [str(out)]
    elif "out" not in flat:
        flat["out"] = [str(own_folder("run", [base] if isinstance(base, str) else [], flat))]
    do_request(flat, plugins, until=until, accept_changes=accept_changes)
    return Run(flat["out"][0])


@with_python_names(
    data="data.files.public",
    validation="data.files.validation",
    params="distill.params",
    epochs="student_train.epochs",
    lr_peak="student_train.lr_peak",
    batch_size="student_train.batch_size",
    plugins="plugin",
)
def distill_student(
    *,
    teacher: Model | None,
    student: Model,
    data: Records,
    method: str = "kd",
    epochs: float = 3,
    params: Mapping[str, object] = NONE,
    validation: Records | None = None,
    tokenizer: PreTrainedTokenizerBase | None = None,
    lr_peak: float = 5e-4,
    batch_size: int = 16,
    seed: int = 1,
    out: str | Path | None = None,
    settings: Settings = NONE,
    plugins: Sequence[str | Path] = (),
) -> Run:
    """Train a student on records, by what its teacher says of them.

    The student that is given stays as it is: the trained one is `run.load_model()`, or the folder
    `run.model_folder()`.

    Args:
        teacher: the model to learn from; None for a method that needs none (sft).
        student: the model to train.
        data: the records to train on.
        method: a name of `stillage ls methods`, or of a plugin.
        params: settings of the method, e.g. {"divergence": "rkl"}.
        validation: records whose loss is watched.
        tokenizer: of models in memory that come without one.
        out: the run folder, where the same call continues; None: a temporary one.
        settings: further settings by their names in a config.
        plugins: Python files with divergences or methods of your own.

    Raises ConfigError, DataError or ModelError, in three lines, for what you can mend.
    """
    inputs = Inputs(out, tokenizer, "distill")
    given: dict[str, object] = {
        "seed": seed,
        "stages": ["distill"],
        "teacher_train": {"epochs": 0},
        "student_train": {"epochs": epochs, "lr_peak": lr_peak, "batch_size": batch_size},
        "student": inputs.model("student", student),
        "distill": {"method": method, "params": dict(params)},
        "data.files.public": inputs.records("data", data),
    }
    if validation is not None:
        given["data.files.validation"] = inputs.records("validation", validation)
    if teacher is not None:
        given["teacher"] = inputs.model("teacher", teacher)
    return run_inputs(inputs, given, settings, plugins, until="student")


@with_python_names(reference="audit.reference", extract="audit.extract", plugins="plugin")
def audit_models(
    student: Model | None = None,
    *,
    members: Records,
    nonmembers: Records,
    teacher: Model | None = None,
    attacks: Sequence[str] | None = None,
    reference: Model | None = None,
    tokenizer: PreTrainedTokenizerBase | None = None,
    extract: str = "",
    seed: int = 1,
    out: str | Path | None = None,
    settings: Settings = NONE,
    plugins: Sequence[str | Path] = (),
) -> Run:
    """Ask what models give away of the records that a teacher was trained on.

    Args:
        student: the model that was distilled; None: the teacher alone is audited.
        members: records that the teacher was trained on.
        nonmembers: records of the same kind that no audited model has seen.
        teacher: the model that was trained on the members.
        attacks: names of `stillage ls attacks`; None: the usual ones.
        reference: a model that saw no member.
        tokenizer: of models in memory that come without one.
        extract: the column whose value must be recited; empty: the first tokens.
        out: the run folder, where the same call continues; None: a temporary one.
        settings: further settings by their names in a config.
        plugins: Python files with attacks of your own.

    Raises ConfigError, DataError or ModelError, in three lines, for what you can mend.
    """
    inputs = Inputs(out, tokenizer, "audit")
    given: dict[str, object] = {"seed": seed, "stages": ["audit"]}
    if extract:
        given["audit.extract"] = extract
    if attacks is not None:
        given["attacks"] = name_list(attacks)
    if reference is not None:
        given["audit.reference"] = inputs.model("reference", reference)
    given["members"] = inputs.records("members", members)
    given["nonmembers"] = inputs.records("nonmembers", nonmembers)
    for name, model in (("student", student), ("teacher", teacher)):
        if model is not None:
            given[name] = inputs.model(name, model)
    return run_inputs(inputs, given, settings, plugins)


def run_inputs(
    inputs: Inputs,
    given: Settings,
    settings: Settings,
    plugins: Sequence[str | Path],
    until: str = "",
) -> Run:
    """Run what arguments and further settings ask for, in the folder of the inputs."""
    flat = with_more({**given, "out": str(inputs.run)}, settings)
    do_request(flat, plugins, until=until, inputs=inputs)
    return Run(inputs.run, temporary=inputs.temporary)


def flat_settings(given: Settings | Config) -> Flat:
    """Flatten settings as those of YAML. ConfigError for an unknown or old name."""
    import yaml

    if isinstance(given, Config):
        return from_yaml(to_yaml(given), "the config")
    if not isinstance(given, Mapping):
        raise ConfigError(
            "Settings are a table of names and values.",
            f"given: {type(given).__name__}",
            'Give e.g. {"student": {"layers": 2}}.',
        )
    try:
        return from_yaml(yaml.safe_dump(to_plain(dict(given))), "the settings given")
    except yaml.YAMLError as error:
        raise ConfigError(
            "A setting is neither text, a number, a switch nor a list.",
            " ".join(str(error).split())[:200],
            "Give plain values; models and records have arguments of their own.",
        ) from error


def with_more(given: Settings, more: Settings) -> Flat:
    """Add settings to those of arguments. ConfigError for one that both name."""
    flat, added = flat_settings(given), flat_settings(more)
    if twice := [path for path in added if path in flat]:
        raise ConfigError(
            "A setting is given as an argument already.",
            f"in settings: {', '.join(twice)}",
            "Leave it out of settings, and use the argument.",
        )
    return flat | added


def do_request(
    flat: Flat,
    plugins: Sequence[str | Path],
    *,
    until: str = "",
    accept_changes: bool = False,
    inputs: Inputs | None = None,
) -> None:
    """Check everything, write what is in memory, run; the log hears of it."""
    from stillage.experiment.folders import check_whole
    from stillage.plugins.plugin import plugged
    from stillage.run.lock import check_free
    from stillage.run.stop import Stop

    config, grid = read_experiment(flat)
    check_is_folder(config.out)
    with ExitStack() as held:
        loaded = held.enter_context(plugged([Path(path) for path in name_list(plugins)]))
        held.enter_context(new_or_continued(config.out))
        session = Session(
            stop=Stop(), say=LOG.info, progress=lambda name, facts: None, plugins=loaded
        )
        asked = plan_experiment(config, grid, "run", session)
        if inputs is not None:
            for context in asked.contexts.values():
                check_whole(context)
                check_free(context.run)
            inputs.write()
        failed, _ = do_experiment(asked, session, until=until, accept_changes=accept_changes)
    check_audit(asked.configs)
    check_points(failed, len(grid))


def check_is_folder(out: Path) -> None:
    """ConfigError where the place of a run, or one above it, is a file."""
    for place in (out, *out.parents):
        if place.exists() and not place.is_dir():
            fix = "Give a folder, new or of an earlier run, with out=."
            raise ConfigError("A run needs a folder, and there is a file.", f"file: {place}", fix)
