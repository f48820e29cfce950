"""What is refused of a mosaic run before anything is made."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from stillage.corpus.sources import HUB_ID
from stillage.distill.methods import METHODS
from stillage.distill.settings import params_from
from stillage.errors import ConfigError, DataError, did_you_mean
from stillage.experiment.mosaic_settings import AS_RELEASED, MOSAIC, method_params
from stillage.models.outside import outside_folder
from stillage.models.source import check_place
from stillage.mosaic.asked import Asked, asked_experiments, conditions_of
from stillage.run.config import Config

if TYPE_CHECKING:
    from stillage.run.team import Team


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
    mosaic = config.mosaic
    if team is not None:
        raise ConfigError(
            "A mosaic run trains many small models side by side, not one on several processes.",
            f"processes: {team.size}",
            "Start it without torchrun, with --jobs.",
        )
    if not mosaic.books:
        raise ConfigError(
            "A mosaic run needs documents that hold the canaries.",
            "mosaic.books: none",
            "Give --mosaic.books a folder of texts, a file of rows or a hub id.",
        )
    if not HUB_ID.fullmatch(mosaic.books) and not outside_folder(mosaic.books):
        raise DataError("There are no documents.", f"not there: {mosaic.books}", "Check the path.")
    if (file := mosaic.canaries.file) and not Path(file).is_file():
        fix = "Write it with `stillage mosaic canaries`, or leave the setting out."
        raise DataError("There is no file of canaries.", f"mosaic.canaries.file: {file}", fix)
    asked = asked_experiments(config)
    check_students(config, asked)
    check_arms(config, asked)
    check_scores(config)
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
