"""Models and records that Python hands over, made into the files that a run reads."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

from stillage.errors import ConfigError, DataError, ModelError
from stillage.experiment.folders import INPUTS
from stillage.run.folder import atomic, remove, sha256_text, write_text
from stillage.run.lock import locked
from stillage.run.stages import MANIFEST

if TYPE_CHECKING:
    from datasets import Dataset
    from transformers import PreTrainedModel, PreTrainedTokenizerBase, PreTrainedTokenizerFast

    Model = str | Path | PreTrainedModel | tuple[PreTrainedModel, PreTrainedTokenizerBase]
    """A folder, a hub id, or a model in memory, by itself or with its tokenizer."""
    Records = str | Path | Sequence[Mapping[str, Any]] | Dataset
    """A file, a folder, a hub id, or rows in memory, with the columns that a file would have."""

ROW = 'e.g. {"prompt": "...", "response": "..."}'


class Inputs:
    """What a run is given, and where it will find what is in memory now.

    Models in memory are copied to <run folder>/inputs once all settings have been checked. So they
    are read as any folder is, and say the same. Each is named by its content: another model or
    other records are another setting, and nothing that a run reads is ever written over.
    """

    def __init__(
        self,
        out: str | Path | None,
        tokenizer: PreTrainedTokenizerBase | None = None,
        name: str = "run",
    ) -> None:
        """out: the run folder; None: a temporary one of this name, kept as long as `temporary` is.

        tokenizer: of models in memory that come without one.
        """
        self.temporary = TemporaryDirectory(prefix="stillage-") if out is None else None
        self.run = Path(self.temporary.name, name) if self.temporary else Path(out or name)
        self.folder = self.run / INPUTS
        self.tokenizer = tokenizer
        self.pending: list[Callable[[], None]] = []

    def model(self, name: str, model: Model) -> str:
        """Name the folder or hub id of a model. ModelError for what is none."""
        if isinstance(model, (str, Path)):
            return str(model)
        from stillage.corpus.tokenizers import tokenizer_hash
        from stillage.models.identity import model_hash

        loaded, tokenizer = in_memory(name, model, self.tokenizer)
        key = sha256_text(f"{model_hash(loaded)} {tokenizer_hash(tokenizer)}")[:8]
        folder = self.folder / f"{name}-{key}"
        self.pending.append(partial(save_pair, loaded, tokenizer, folder))
        return str(folder)

    def records(self, name: str, records: Records) -> str:
        """Name the file, folder or hub id of records. DataError for what are none."""
        if isinstance(records, (str, Path)):
            return str(records)
        lines = json_lines(name, records)
        path = self.folder / f"{name}-{sha256_text(lines)[:8]}.jsonl"
        if not path.is_file():  # its name says what it holds
            self.pending.append(partial(write_text, path, lines))
        return str(path)

    def write(self) -> None:
        """Copy what is in memory."""
        for write in self.pending:
            write()


@contextmanager
def new_or_continued(run: Path) -> Iterator[None]:
    """Leave nothing of a new run folder behind in which no stage was finished."""
    is_new = not run.exists()
    try:
        yield
    except BaseException:
        if is_new and run.exists():
            with suppress(ConfigError), locked(run):  # another call may be at work there by now
                if not any(run.glob(f"**/{MANIFEST}")):
                    remove(run)
        raise


def name_list(names: str | Path | Iterable[Any]) -> list[Any]:
    """Return names as a list; one by itself is a list of one."""
    return [names] if isinstance(names, (str, Path, int)) else list(names)


def json_lines(name: str, records: object) -> str:
    """Write rows as JSON, one a line. DataError for no rows, or other things."""
    rows = list(records) if isinstance(records, Iterable) else []
    if not rows:
        given = "0 rows" if isinstance(records, Iterable) else type(records).__name__
        fix = f"Give a list of dictionaries ({ROW}), a datasets.Dataset, or a file."
        raise DataError(f"There are no {name} records.", f"given: {given}", fix)
    lines: list[str] = []
    for place, row in enumerate(rows):
        if not isinstance(row, Mapping):
            fix = f"Give dictionaries, {ROW}; of a pandas.DataFrame frame.to_dict('records')."
            given = f"{name}[{place}]: {type(row).__name__}"
            raise DataError(f"A record of {name} is not a dictionary.", given, fix)
        try:
            lines.append(json.dumps(dict(row)))
        except (TypeError, ValueError) as error:
            fix = "Leave out or convert the columns that are neither text, numbers nor lists."
            values = f"{name}[{place}]: {error}"
            raise DataError(f"A record of {name} is not plain data.", values, fix) from error
    return "\n".join(lines) + "\n"


def in_memory(
    name: str, model: object, tokenizer: PreTrainedTokenizerBase | None
) -> tuple[PreTrainedModel, PreTrainedTokenizerFast]:
    """Return a model in memory with its tokenizer.

    That is its own, the given one, or that of the folder that it was loaded from. ModelError for
    what is no model of transformers, has no weights, or has no usable tokenizer.
    """
    from transformers import PreTrainedModel

    from stillage.models.load import checked_tokenizer, load_tokenizer

    if isinstance(model, tuple) and len(model) == 2:
        model, tokenizer = model
    if not isinstance(model, PreTrainedModel):
        raise ModelError(
            f"The {name} is no model that can be read.",
            f"given: {type(model).__name__}",
            "Give a folder, a model of transformers, or (model, tokenizer); "
            "of a PEFT model model.merge_and_unload().",
        )
    if any(weight.device.type == "meta" for weight in model.parameters()):
        raise ModelError(
            f"The weights of the {name} are not in memory.",
            "device: meta",
            "Load it with its weights, e.g. from_pretrained(FOLDER) without a device_map.",
        )
    loaded_from = Path(model.name_or_path or "-")
    if tokenizer is None and (loaded_from / "tokenizer.json").is_file():
        return model, load_tokenizer(str(loaded_from))
    if tokenizer is None:
        raise ModelError(
            f"The {name} has no tokenizer.",
            f"given: {type(model).__name__} in memory, tokenizer: none",
            "Give (model, tokenizer), or tokenizer=.",
        )
    return model, checked_tokenizer(tokenizer, f"the {name}")


def save_pair(model: PreTrainedModel, tokenizer: PreTrainedTokenizerFast, folder: Path) -> None:
    """Save a model that is the user's, and its tokenizer, without a change to either."""
    from stillage.models.quiet import quiet

    if folder.is_dir():
        return
    try:
        with atomic(folder) as temporary, quiet():
            model.save_pretrained(temporary)
            tokenizer.save_pretrained(temporary)
    except ValueError as error:  # transformers refuses settings that contradict each other
        raise ModelError(
            f"The model in memory cannot be saved for the run: {folder.name}.",
            " ".join(str(error).split())[:300],
            "Mend its generation_config, or save it yourself and give the folder.",
        ) from error
