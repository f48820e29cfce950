"""Let a model answer prompts."""

from __future__ import annotations

import logging
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from stillage.errors import ConfigError, DataError, did_you_mean
from stillage.face.memory import in_memory
from stillage.face.python_names import with_python_names
from stillage.run.config import GenerateConfig, ModelConfig
from stillage.run.progress import Doing, unheard

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase, PreTrainedTokenizerFast

    from stillage.face.memory import Model

LOG = logging.getLogger("stillage")
LAYOUTS = ("auto", "alpaca", "raw", "chat")


@with_python_names(template="data.template", max_new_tokens="generate.max_new_tokens")
def generate_texts(
    model: Model,
    prompts: str | Sequence[str],
    *,
    tokenizer: PreTrainedTokenizerBase | None = None,
    revision: str = "",
    max_new_tokens: int = 0,
    sampling_temperature: float = 0.0,
    top_p: float = 1.0,
    top_k: int = 0,
    template: str = "auto",
    seed: int = 1,
    batch_tokens: int = 16384,
) -> list[str]:
    """Return one answer to each prompt; a model in memory is used where it is.

    Args:
        tokenizer: of a model in memory that comes without one.
        revision: commit of a hub id.
        max_new_tokens: the longest answer; 0: 64, or half of the model's context.
        sampling_temperature: 0: the likeliest token each time.
        template: how prompts are laid out: auto (as the tokenizer says), alpaca, raw or chat.
        seed: decides what is sampled, of each prompt by itself.

    Raises ConfigError, DataError or ModelError, in three lines, for what you can mend.
    """
    from stillage.data.chat_templates import layout_note

    texts = [prompts] if isinstance(prompts, str) else list(prompts)
    wrong = next((text for text in texts if not isinstance(text, str)), None)
    if not texts or wrong is not None:
        given = "0 prompts" if wrong is None else type(wrong).__name__
        raise DataError("A prompt is a text.", f"given: {given}", "Give a text, or a list of them.")
    check_template_name(template)
    options = GenerateConfig(
        max_new_tokens=max_new_tokens,
        sampling_temperature=sampling_temperature,
        top_p=top_p,
        top_k=top_k,
        batch_tokens=batch_tokens,
    )
    if isinstance(model, (str, Path)):
        writer = load_pair(ModelConfig(path=str(model), revision=revision))
    else:
        writer = in_memory("model", model, tokenizer)
    LOG.info("%s", layout_note(template, writer[1], "the model"))
    return answer_prompts(writer, texts, options, template=template, seed=seed)


def load_pair(source: ModelConfig) -> tuple[PreTrainedModel, PreTrainedTokenizerFast]:
    """Load a model with its tokenizer."""
    from stillage.models.load import load_model, load_tokenizer

    tokenizer = load_tokenizer(source.path, source.revision)
    return load_model(source, vocab_size=len(tokenizer), seed=0), tokenizer


def answer_prompts(
    writer: tuple[PreTrainedModel, PreTrainedTokenizerFast],
    prompts: Sequence[str],
    options: GenerateConfig,
    *,
    template: str,
    seed: int,
    further_input: str = "",
    doing: Doing = unheard,
) -> list[str]:
    """Let a loaded model answer prompts, each with the same further input, as text."""
    from stillage.data.tokenise import encode_prompts
    from stillage.models.generate import configured, generate
    from stillage.models.limits import new_tokens, prompt_room, shortest_context, special_ids
    from stillage.models.prompts import Prompts, TextRules
    from stillage.types import Record

    records = [
        Record(id=str(number), prompt=text, input=further_input, response="")
        for number, text in enumerate(prompts)
    ]
    model, tokenizer = writer
    chosen = replace(options, max_new_tokens=new_tokens(model, options.max_new_tokens))
    room = prompt_room(model, chosen.max_new_tokens, sys.maxsize)
    within = 0 if options.max_new_tokens else shortest_context(model) or 0
    prompt_ids = encode_prompts(
        records, tokenizer, template=template, max_prompt_tokens=room, within=within
    )
    ids = generate(
        model,
        Prompts(prompt_ids, [record.id for record in records], seed),
        configured(chosen),
        TextRules(*special_ids(tokenizer)),
        batch_tokens=chosen.batch_tokens,
        progress=doing("answering {} prompts"),
    )
    return [str(tokenizer.decode(row.tolist(), skip_special_tokens=True)).strip() for row in ids]


def check_template_name(name: str) -> None:
    """Refuse a layout of prompts that does not exist. ConfigError."""
    if name not in LAYOUTS:
        fix = did_you_mean(name, LAYOUTS, "Choose one of these.")
        raise ConfigError(f"There is no layout {name!r}.", f"known: {', '.join(LAYOUTS)}", fix)
