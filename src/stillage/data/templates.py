"""How a prompt is laid out around the user's words: Alpaca, raw, or the tokenizer's own chat template.

One rule where nobody says which: the chat template of the model's folder where it has one, else Alpaca (`auto`).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from stillage.data.chat_templates import (
    ALPACA_HEAD,
    ALPACA_HEAD_INPUT,
    ALPACA_INPUT,
    ALPACA_TAIL,
    AUTO,
    RAW_INPUT,
    chosen,
)
from stillage.errors import ConfigError, DataError, ModelError
from stillage.types import Record

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase


@dataclass(frozen=True, slots=True, kw_only=True)
class Prompt:
    """A prompt's text; the user's words are text[body_start:body_end], the rest is the template's head and tail."""

    text: str
    body_start: int
    body_end: int


def alpaca(record: Record, tokenizer: PreTrainedTokenizerBase | None = None) -> Prompt:
    """The Alpaca layout, with its second wording where the record has an input (Taori et al. 2023)."""
    head = ALPACA_HEAD_INPUT if record.input else ALPACA_HEAD
    body = transcript(record) + (ALPACA_INPUT + record.input if record.input else "")
    return _around(head, body, ALPACA_TAIL)


def raw(record: Record, tokenizer: PreTrainedTokenizerBase | None = None) -> Prompt:
    """The prompt as it is, followed by the input on its own line; nothing is added, not even a space."""
    return _around("", transcript(record) + (RAW_INPUT + record.input if record.input else ""), "")


def chat(record: Record, tokenizer: PreTrainedTokenizerBase | None = None) -> Prompt:
    """The tokenizer's chat template, up to where the assistant starts to speak.

    Raises ModelError when the tokenizer has none, DataError when the template refuses the record's turns.
    """
    if tokenizer is None or not tokenizer.chat_template:
        name = (
            "no tokenizer"
            if tokenizer is None
            else tokenizer.name_or_path or type(tokenizer).__name__
        )
        raise ModelError(
            "The tokenizer has no chat template.", name, "Use --data.template alpaca or raw."
        )
    from jinja2 import TemplateError, TemplateSyntaxError

    from stillage.data.template_syntax import broken

    turns = chat_turns(record)
    try:
        text = tokenizer.apply_chat_template(turns, tokenize=False, add_generation_prompt=True)
    except TemplateSyntaxError as error:
        raise broken(tokenizer.name_or_path or "the tokenizer", error) from error
    except TemplateError as error:
        fix = "Mend the conversation, or use --data.template alpaca."
        raise DataError(
            "The chat template refuses a record.", f"{record.source}: {error}", fix
        ) from error
    assert isinstance(text, str)
    first, last = (
        turns[0]["content"].strip(),
        turns[-1]["content"].strip(),
    )  # templates strip contents
    start, end = text.find(first), text.rfind(last)
    return Prompt(
        text=text, body_start=max(start, 0), body_end=len(text) if end < 0 else end + len(last)
    )


def chat_turns(record: Record) -> list[dict[str, str]]:
    """The record as messages for a chat template.

    An input is joined to the content of the last turn, as most templates know nothing else; `instruction` and `input` also
    hold the two apart, for those that do (the ones we write).
    """
    turns = [
        {"role": role, "content": content}
        for role, content in record.messages or (("user", record.prompt),)
    ]
    if record.input:
        words = turns[-1]["content"]
        turns[-1] |= {
            "content": f"{words}\n\n{record.input}",
            "instruction": words,
            "input": record.input,
        }
    return turns


TEMPLATES: dict[str, Callable[[Record, PreTrainedTokenizerBase | None], Prompt]] = {
    "alpaca": alpaca,
    "raw": raw,
    "chat": chat,
}


def lay_out(
    record: Record, template: str, tokenizer: PreTrainedTokenizerBase | None = None
) -> Prompt:
    """A record's prompt under a template; a record that is text alone has an empty prompt under every template.

    template: a name of TEMPLATES, or auto (`chosen`). Raises ConfigError for an unknown template.
    """
    template = chosen(template, tokenizer)
    if template not in TEMPLATES:
        known = f"Choose from: {', '.join((AUTO, *TEMPLATES))}."
        raise ConfigError("The template is unknown.", f"asked: {template}", known)
    if not record.prompt and not record.input and not record.messages:
        return Prompt(text="", body_start=0, body_end=0)
    return TEMPLATES[template](record, tokenizer)


def render(record: Record, template: str, tokenizer: PreTrainedTokenizerBase | None = None) -> str:
    """The text of a record's prompt under a template."""
    return lay_out(record, template, tokenizer).text


def transcript(record: Record) -> str:
    """The prompt's words; of a longer conversation every turn, named by its speaker, for templates without turns."""
    if len(record.messages) < 2:
        return record.prompt or "".join(content for _, content in record.messages)
    return "\n\n".join(f"{role.capitalize()}: {content}" for role, content in record.messages)


def _around(head: str, body: str, tail: str) -> Prompt:
    """A prompt from its three parts."""
    return Prompt(text=head + body + tail, body_start=len(head), body_end=len(head) + len(body))
