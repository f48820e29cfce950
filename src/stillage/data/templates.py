"""How a prompt is laid out: Alpaca, raw, or the tokenizer's chat template.

Where nobody says which, the chat template of the model's folder counts, or else Alpaca (`auto`).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from stillage.data.chat_templates import AUTO, LAYOUTS, chosen_template
from stillage.errors import ConfigError, DataError, ModelError
from stillage.types import Record

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase


@dataclass(frozen=True, slots=True, kw_only=True)
class Prompt:
    """A prompt's text; the user's words are text[body_start:body_end]."""

    text: str
    body_start: int
    body_end: int


def chat(record: Record, tokenizer: PreTrainedTokenizerBase | None) -> Prompt:
    """The tokenizer's chat template, up to where the assistant starts to speak.

    Raises ModelError when the tokenizer has none, DataError when the template refuses the turns.
    """
    if tokenizer is None or not tokenizer.chat_template:
        known = tokenizer is not None
        name = tokenizer.name_or_path or type(tokenizer).__name__ if known else "no tokenizer"
        fix = "Use --data.template alpaca or raw."
        raise ModelError("The tokenizer has no chat template.", name, fix)
    from jinja2 import TemplateError, TemplateSyntaxError

    from stillage.data.template_syntax import broken

    turns = chat_turns(record)
    try:
        text = tokenizer.apply_chat_template(turns, tokenize=False, add_generation_prompt=True)
    except TemplateSyntaxError as error:
        raise broken(tokenizer.name_or_path or "the tokenizer", error) from error
    except TemplateError as error:
        values = f"{record.source}: {error}"
        fix = "Mend the conversation, or use --data.template alpaca."
        raise DataError("The chat template refuses a record.", values, fix) from error
    assert isinstance(text, str)
    first, last = (turns[at]["content"].strip() for at in (0, -1))  # as templates do
    start, end = text.find(first), text.rfind(last)
    body_end = len(text) if end < 0 else end + len(last)
    return Prompt(text=text, body_start=max(start, 0), body_end=body_end)


def chat_turns(record: Record) -> list[dict[str, str]]:
    """The record as messages for a chat template.

    An input is joined to the content of the last turn, as most templates know nothing else;
    `instruction` and `input` also hold the two apart, for those that do (the ones we write).
    """
    messages = record.messages or (("user", record.prompt),)
    turns = [{"role": role, "content": content} for role, content in messages]
    if record.input:
        words = turns[-1]["content"]
        turns[-1] |= {
            "content": f"{words}\n\n{record.input}",
            "instruction": words,
            "input": record.input,
        }
    return turns


TEMPLATES = (*LAYOUTS, "chat")


def lay_out(
    record: Record, template: str, tokenizer: PreTrainedTokenizerBase | None = None
) -> Prompt:
    """Lay a record's prompt out; that of a record of text alone is empty.

    template: a name of TEMPLATES, or auto (`chosen_template`); any other is a ConfigError.
    """
    template = chosen_template(template, tokenizer)
    if template not in TEMPLATES:
        known = f"Choose from: {', '.join((AUTO, *TEMPLATES))}."
        raise ConfigError("The template is unknown.", f"asked: {template}", known)
    if not record.prompt and not record.input and not record.messages:
        return Prompt(text="", body_start=0, body_end=0)
    if template == "chat":
        return chat(record, tokenizer)
    head, head_input, before_input, tail = LAYOUTS[template]
    start = head_input if record.input else head
    body = transcript(record) + (before_input + record.input if record.input else "")
    end = len(start) + len(body)
    return Prompt(text=start + body + tail, body_start=len(start), body_end=end)


def render_prompt(
    record: Record, template: str, tokenizer: PreTrainedTokenizerBase | None = None
) -> str:
    """Render the text of a record's prompt under a template."""
    return lay_out(record, template, tokenizer).text


def transcript(record: Record) -> str:
    """The prompt's words; of a longer conversation every turn, named by its speaker."""
    if len(record.messages) < 2:
        return record.prompt or "".join(content for _, content in record.messages)
    return "\n\n".join(f"{role.capitalize()}: {content}" for role, content in record.messages)
