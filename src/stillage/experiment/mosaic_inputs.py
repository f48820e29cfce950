"""What the stages of a mosaic run read: names, settings, models and texts of earlier ones."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from stillage.experiment.mosaic_models import names_of
from stillage.mosaic.condition import Arm, Condition
from stillage.mosaic.kinds import Kind, Replacement
from stillage.mosaic.names import kind_name, text_words
from stillage.rng import derive
from stillage.run.config import Config, ModelConfig, TrainConfig
from stillage.run.folder import read_table
from stillage.run.progress import Done, watched

if TYPE_CHECKING:
    import pyarrow as pa
    from transformers import PreTrainedTokenizerFast

    from stillage.experiment.context import Context
    from stillage.models.masked import Masked
    from stillage.mosaic.reading import Reader
    from stillage.types import Array

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


def recites(condition: Condition) -> bool:
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
    """Return the audit's attacks that score canaries; none: the five scores as released."""
    attacks = config.mosaic.attacks
    return () if attacks == (AS_RELEASED,) else attacks


def asks_for(config: Config, transform: str) -> bool:
    """Tell whether an attack of the run asks for a transform, e.g. neighbours."""
    from stillage.audit.attacks import ATTACKS

    named = (ATTACKS[name] for name in attacks_of_scores(config) if name in ATTACKS)
    return any(query.transform == transform for attack in named for query in attack.queries)


def progress_of(context: Context, stage: str, what: str) -> Done:
    """Return what a loop of a stage tells of its progress."""
    return watched(lambda facts: context.progress(stage, facts), stage)(what)


def tokenizer_in(context: Context) -> PreTrainedTokenizerFast:
    """Load the tokenizer of the run."""
    from stillage.models.load import load_tokenizer

    return load_tokenizer(str(context.run / TOKENIZER))


def texts_in(context: Context, *, hosts: bool | None = None) -> list[str]:
    """Read the documents: those that hold canaries, the others, or (None) all."""
    table = read_table(context.run / BOOKS / BOOKS_FILE)
    rows = zip(table["text"].to_pylist(), table["is_host"].to_pylist(), strict=True)
    return [text for text, is_host in rows if hosts is None or is_host == hosts]


def canaries_in(context: Context, arm: Arm) -> pa.Table:
    """Read the canaries of an arm."""
    return read_table(context.run / canaries_name(arm) / CANARIES_FILE)


def start_of(context: Context, arm: Arm) -> ModelConfig:
    """Say where the model of an arm starts: from its base, where it has one."""
    models = names_of(context.config)
    start, base = models.untrained(arm), models.base(arm)
    return ModelConfig(path=str(context.run / base / "model"), dtype=start.dtype) if base else start


def student_start(context: Context) -> ModelConfig:
    """Say where students start."""
    models = names_of(context.config)
    start, base = models.untrained_student(), models.student_base()
    return ModelConfig(path=str(context.run / base / "model"), dtype=start.dtype) if base else start


def reader_of(context: Context, start: ModelConfig, *, own_tokenizer: bool = False) -> Reader:
    """Load a model on the best device, with the run's tokenizer or its own."""
    from stillage.models.load import load_on_device, load_tokenizer
    from stillage.mosaic.reading import Reader

    own = own_tokenizer and start.source
    tokenizer = load_tokenizer(start.source, start.revision) if own else tokenizer_in(context)
    seed = derive(context.config.mosaic.pretrain_seed, "weights", "mosaic")
    return Reader(model=load_on_device(start, tokenizer, seed), tokenizer=tokenizer)


def encoded(context: Context, texts: Sequence[str]) -> list[Array]:
    """Encode documents without special tokens, ids [T] each."""
    import numpy as np

    from stillage.models.quiet import quiet

    tokenizer = tokenizer_in(context)
    with quiet():  # of its warning that a document is longer than the context
        found = tokenizer(list(texts), add_special_tokens=False)["input_ids"]
    return [np.asarray(ids, np.int32) for ids in found]


def masked_in(context: Context) -> Masked:
    """Load the masked model of the run."""
    from stillage.models.limits import device_name
    from stillage.models.masked import load_masked

    mosaic = context.config.mosaic
    if mosaic.masked_model:
        return load_masked(mosaic.masked_model, mosaic.masked_revision, device_name())
    (folder,) = (context.run / MASKED).glob("masked-*")
    return load_masked(str(folder), device=device_name())


def needs_masked(kind: Kind) -> bool:
    """Tell whether a masked model takes part in making near-copies of this kind."""
    return isinstance(kind, Replacement) and kind.candidates != "random"


def asks_another(config: Config) -> bool:
    """Tell whether an attack of the run asks another model than the target."""
    from stillage.audit.attacks import ATTACKS

    named = (ATTACKS[name] for name in attacks_of_scores(config) if name in ATTACKS)
    return any(query.party not in ("target", "record") for one in named for query in one.queries)
