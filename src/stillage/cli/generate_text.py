"""`stillage generate MODEL --prompt TEXT`: let a model answer a prompt."""

from __future__ import annotations

import sys
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Literal

from stillage.cli.paths import split_at_flags
from stillage.errors import ConfigError, DataError
from stillage.run.config import GenerateConfig, ModelConfig
from stillage.run.parse import typed


@dataclass(frozen=True, kw_only=True)
class Ask:
    """What `stillage generate` takes besides the model."""

    prompt: str = ""
    """The text to answer."""
    file: str = ""
    """Or a text file with one prompt a line; - reads standard input."""
    input: str = ""
    """The input that belongs to the instruction, where the template has one."""
    template: Literal["auto", "alpaca", "raw", "chat"] = "auto"
    """Layout of the prompt in training: auto, alpaca, raw or chat. auto: as the model's folder
    says, its chat template where it has one, else alpaca."""
    revision: str = ""
    """Commit of a hub id: 40 hexadecimal digits."""
    seed: int = 1
    """Decides what is sampled."""
    generate: GenerateConfig = field(default_factory=GenerateConfig)


USAGE = """usage: stillage generate MODEL --prompt TEXT
MODEL: a folder (safetensors) or a hub id"""
SETTINGS = Ask


def main(verb: str, words: list[str]) -> int:
    """Print one answer per prompt."""
    models, flags = split_at_flags(words)
    if len(models) != 1:
        fix = f"stillage {verb} FOLDER --prompt TEXT"
        raise ConfigError("Which model?", f"given: {' '.join(words) or 'nothing'}", fix)
    (model,) = models
    ask = typed(Ask, flags, f"stillage {verb} MODEL")
    from stillage.cli.board import Board
    from stillage.data.chat_templates import layout_note
    from stillage.face.answering import answer_prompts, load_pair
    from stillage.run.progress import watched

    with Board() as board:
        prompts = read_prompts(ask)
        writer = load_pair(ModelConfig(path=model, revision=ask.revision))
        print(layout_note(ask.template, writer[1], model), file=sys.stderr)
        texts = answer_prompts(
            writer,
            prompts,
            ask.generate,
            template=ask.template,
            seed=ask.seed,
            further_input=ask.input,
            doing=watched(partial(board.show, "generate"), model),
        )
    for text in texts:
        print(text)
    if empty := sum(not text for text in texts):
        many = f"{empty} of {len(texts)} answers {'is' if empty == 1 else 'are'} empty"
        print(f"{many}: nothing was written before the end of the text", file=sys.stderr)
    return 0


def read_prompts(ask: Ask) -> list[str]:
    """Read the prompts of the command line.

    ConfigError for none or two ways at once, DataError for an unreadable file.
    """
    if bool(ask.prompt) == bool(ask.file):
        given = f"prompt: {ask.prompt!r}; file: {ask.file!r}"
        fix = "Use either --prompt TEXT or --file PATH."
        raise ConfigError("Give a prompt, or a file of prompts.", given, fix)
    if ask.prompt:
        return [ask.prompt]
    try:
        text = sys.stdin.read() if ask.file == "-" else Path(ask.file).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        what, fix = "The file of prompts cannot be read.", "Check the path."
        raise DataError(what, f"{ask.file}: {error}", fix) from error
    lines = [line for line in text.splitlines() if line.strip()]
    if not lines:
        raise DataError("The file of prompts is empty.", ask.file, "Write one prompt a line.")
    return lines
