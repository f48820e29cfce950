"""What is refused of a mosaic run before anything is made."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from stillage.distill.methods import METHODS
from stillage.distill.settings import params_from
from stillage.errors import ConfigError, DataError, ModelError, did_you_mean
from stillage.experiment.mosaic_documents import check_documents
from stillage.experiment.mosaic_lengths import check_contexts, check_near_copies
from stillage.experiment.mosaic_settings import AS_RELEASED, MOSAIC, method_params
from stillage.models.served import check_endpoint_address
from stillage.models.source import check_place, read_model_config
from stillage.mosaic.asked import Asked, asked_experiments, conditions_of
from stillage.mosaic.kinds import Paraphrase
from stillage.mosaic.writer import is_address
from stillage.run.config import Config

if TYPE_CHECKING:
    from stillage.run.team import Team

HOST_AND_PORT = re.compile(r"[\w.-]+:\d+(/.*)?")
FILLS_GAPS = ("MaskedLM", "ForPreTraining", "WithLMHead")
"""What stands in the name of an architecture with a masked model's head."""


def is_mosaic(config: Config) -> bool:
    """Tell whether a config asks for a mosaic run, which does nothing else.

    ConfigError where it asks for other stages too.
    """
    if MOSAIC not in config.stages:
        return False
    if config.stages != (MOSAIC,):
        raise ConfigError(
            "A mosaic run trains and audits models of its own.",
            f"stages: {' '.join(config.stages)}",
            "Write stages: [mosaic] alone.",
        )
    return True


def check_mosaic(config: Config, team: Team | None = None) -> list[Asked]:
    """Check what can be said without torch; list the experiments.

    It is called before anything is made.
    """
    if team is not None:
        raise ConfigError(
            "A mosaic run trains many small models side by side, not one on several processes.",
            f"processes: {team.size}",
            "Start it without torchrun, with --jobs.",
        )
    if (file := config.mosaic.canaries.file) and not Path(file).is_file():
        fix = "Write it with `stillage mosaic canaries`, or leave the setting out."
        raise DataError("There is no file of canaries.", f"mosaic.canaries.file: {file}", fix)
    asked = asked_experiments(config)
    check_students(config, asked)
    check_arms(config, asked)
    check_documents(config)
    check_scores(config)
    check_near_copies(config, asked)
    check_contexts(config, asked)
    check_masked(config.mosaic.masked_model)
    for kind in dict.fromkeys(condition.kind for condition in conditions_of(asked)):
        if isinstance(kind, Paraphrase):
            check_writer(kind)
    return asked


def check_students(config: Config, asked: Sequence[Asked]) -> None:
    """Refuse settings of unknown methods, and wrong ones of those asked for."""
    for path in config.mosaic.student_params:
        name, _, setting = path.partition(".")
        if name not in METHODS or not setting:
            raise ConfigError(
                "There is no method with such a setting.",
                f"mosaic.student_params.{path}",
                did_you_mean(name, METHODS, "Write mosaic.student_params.METHOD.SETTING."),
            )
    for name in dict.fromkeys(one.method for one in conditions_of(asked) if one.method):
        params_from(METHODS[name], dict(method_params(config, name)))


def check_arms(config: Config, asked: Sequence[Asked]) -> None:
    """Refuse a student without a start; check the places of given models."""
    for name, start in (("teacher", config.teacher), ("student", config.student)):
        if start.path:
            check_place(start.path, start.revision)
        elif not start.source and not start.config and start.width % start.heads:
            raise ConfigError(
                "A model's width is no multiple of its heads.",
                f"{name}.width: {start.width}; {name}.heads: {start.heads}",
                "Choose heads that divide the width.",
            )
    for condition in conditions_of(asked):
        if condition.arm.path:
            check_place(condition.arm.path, config.teacher.revision)


def check_masked(folder: str) -> None:
    """Refuse a local folder that says it is no masked language model."""
    if not Path(folder or "gone").is_dir():
        return
    named = read_model_config(Path(folder) / "config.json").get("architectures") or []
    if named and not any(mark in str(one) for one in named for mark in FILLS_GAPS):
        raise ModelError(
            f"{folder} is not a masked language model.",
            f"architectures: {', '.join(map(str, named))}",
            "Give one that fills gaps in a text (BERT, RoBERTa, ModernBERT, ...).",
        )


def check_writer(kind: Paraphrase) -> None:
    """Refuse a writer of paraphrases that can be nobody, by its name alone."""
    writer = kind.writer
    if is_address(writer):
        check_endpoint_address(writer)
        if not kind.writer_model:
            raise ConfigError(
                "Which model behind the endpoint writes the paraphrases?",
                f"mosaic.writer: {writer}; mosaic.writer_model: none",
                "Name the model: --mosaic.writer-model.",
            )
    elif HOST_AND_PORT.fullmatch(writer) and not Path(writer).exists():
        raise ConfigError(
            "The writer is neither a folder nor an address.",
            f"mosaic.writer: {writer}",
            f"Write http://{writer}, or check the path.",
        )
    else:
        check_place(writer, kind.writer_revision)


def check_scores(config: Config) -> None:
    """Refuse attacks that cannot score canaries; without torch."""
    from stillage.mosaic.scoring import check_attacks

    attacks = config.mosaic.attacks
    if AS_RELEASED in attacks and attacks != (AS_RELEASED,):
        raise ConfigError(
            "The scores as released stand alone: their zlib and min-k are others than ours.",
            f"mosaic.attacks: {' '.join(attacks)}",
            "Write mosaic.attacks: [as_released], or name attacks of the audit.",
        )
    if attacks != (AS_RELEASED,):
        check_attacks(attacks, ("reference", "outside", "initial"))
