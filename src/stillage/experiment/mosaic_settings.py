"""What the settings of a mosaic run mean.

Names of its stages and files, and who is asked what.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from stillage.mosaic.condition import Arm, Condition
from stillage.mosaic.kinds import Kind, Replacement
from stillage.mosaic.names import kind_name, text_words
from stillage.run.config import Config, TrainConfig
from stillage.types import Party

MOSAIC, BOOKS, TOKENIZER, MASKED = "mosaic", "books", "tokenizer", "masked"
BOOKS_FILE, CANARIES_FILE = "books.parquet", "canaries.parquet"
VARIATIONS_FILE, LEDGER_FILE, POINTS_FILE = "variations.parquet", "ledger.parquet", "points.parquet"
AS_RELEASED = "as_released"


def canaries_name(arm: Arm) -> str:
    """Name the stage that writes the canaries of an arm."""
    return "_".join(["canaries", *text_words(arm)])


def variations_name(kind: Kind, arm: Arm) -> str:
    """Name the stage that makes the near-copies of a kind."""
    return "_".join(["variations", kind_name(kind), *text_words(arm)])


def options_of(config: Config, arm: Arm) -> TrainConfig:
    """Return how the model of an arm is trained."""
    options = config.teacher_train
    return replace(options, lr_peak=arm.lr_peak) if arm.lr_peak else options


def temperature_of(config: Config, arm: Arm) -> float:
    """Return the temperature at which the canaries of an arm are sampled."""
    return arm.sampling_temperature or config.mosaic.canaries.sampling_temperature


def file_of_canaries(config: Config, arm: Arm) -> str:
    """Name the file of an arm's canaries; empty where they are sampled, or of a scan."""
    return "" if arm.scan or arm.sampling_temperature else config.mosaic.canaries.file


def asks_recital(condition: Condition) -> bool:
    """Tell whether a condition's model is also asked to continue the canaries."""
    is_plain = condition.kind is None or isinstance(condition.kind, Replacement)
    return is_plain and condition.arm.is_usual and not condition.method


def method_params(config: Config, method: str) -> Mapping[str, str]:
    """Return the settings of a student's method: mosaic.student_params.METHOD.SETTING."""
    given = config.mosaic.student_params.items()
    return {
        path.removeprefix(f"{method}."): value
        for path, value in given
        if path.startswith(f"{method}.")
    }


def attacks_of_scores(config: Config) -> tuple[str, ...]:
    """Return the audit's attacks that score canaries.

    Empty: the five scores as released.
    """
    attacks = config.mosaic.attacks
    return () if attacks == (AS_RELEASED,) else attacks


def asks_for(config: Config, transform: str) -> bool:
    """Tell whether an attack of the run asks for a transform, e.g. neighbours."""
    from stillage.audit.attacks import ATTACKS

    named = (ATTACKS[name] for name in attacks_of_scores(config) if name in ATTACKS)
    return any(query.transform == transform for attack in named for query in attack.queries)


def needs_masked(kind: Kind) -> bool:
    """Tell whether a masked model takes part in making near-copies of this kind."""
    return isinstance(kind, Replacement) and kind.candidates != "random"


def other_parties(config: Config) -> frozenset[Party]:
    """Name the other models that attacks of the run, or the scores as released, ask."""
    from stillage.audit.attacks import ATTACKS

    if not attacks_of_scores(config):
        return frozenset[Party](("reference",))
    named = (ATTACKS[name] for name in attacks_of_scores(config) if name in ATTACKS)
    asked = frozenset[Party](query.party for one in named for query in one.queries)
    return asked - {"target", "record"}


def canary_length(config: Config) -> int:
    """Return the tokens of a canary: those of their file, where one is given."""
    options = config.mosaic.canaries
    if not options.file:
        return options.length
    from stillage.mosaic.canaries import read_canaries

    return len(read_canaries(Path(options.file))["ids"][0])
