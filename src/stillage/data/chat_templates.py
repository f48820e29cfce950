"""The layouts as chat templates, and which layout a chat template means.

A template that we write renders what training read, byte for byte, for records with and without
input and for conversations; where the tokenizer puts BOS before a text by itself, the template
writes it. Every literal stands in an expression: Jinja drops a newline that ends a template or
follows a block.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from stillage.corpus.tokenizers import first_ids
from stillage.errors import ModelError

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

ALPACA_HEAD = (
    "Below is an instruction that describes a task. "
    "Write a response that appropriately completes the request.\n\n### Instruction:\n"
)
ALPACA_HEAD_INPUT = (
    "Below is an instruction that describes a task, paired with an input that provides further "
    "context. Write a response that appropriately completes the request.\n\n### Instruction:\n"
)
ALPACA_INPUT = "\n\n### Input:\n"
ALPACA_TAIL = "\n\n### Response:\n"
LAYOUTS: Mapping[str, tuple[str, str, str, str]] = {
    "alpaca": (ALPACA_HEAD, ALPACA_HEAD_INPUT, ALPACA_INPUT, ALPACA_TAIL),
    "raw": ("", "", "\n", ""),
}
"""Layout -> what stands before the user's words, the same where there is an input, what stands
before that, and what stands after all. Alpaca: Taori et al. 2023; raw adds nothing."""
AUTO = "auto"
BOS = "{{ bos_token }}"


def layout_as_chat(head: str, head_input: str, before_input: str, tail: str) -> str:
    """Write a layout as a chat template.

    A turn of several is named by its speaker; the input is that of the last turn. A conversation
    that ends with the assistant's turn, where no further one is asked for, ends with that answer
    and the end of text, as in training.
    """
    parts = {"head": head, "input": head_input, "before": before_input, "tail": tail}
    parts |= {"gap": "\n\n", "colon": ": "}
    text = {name: "{{ " + json.dumps(part) + " }}" for name, part in parts.items()}
    return (
        "{% set answered = messages[-1]['role'] == 'assistant' and not add_generation_prompt %}"
        "{% set turns = messages[:-1] if answered else messages %}"
        "{% if turns %}"
        f"{{% if turns[-1]['input'] %}}{text['input']}{{% else %}}{text['head']}{{% endif %}}"
        "{% for turn in turns %}"
        "{% if turns | length > 1 %}"
        f"{{{{ turn['role'] | capitalize }}}}{text['colon']}{{% endif %}}"
        "{{ turn['content'] if turn['instruction'] is undefined else turn['instruction'] }}"
        f"{{% if not loop.last %}}{text['gap']}{{% endif %}}"
        "{% endfor %}"
        f"{{% if turns[-1]['input'] %}}{text['before']}{{{{ turns[-1]['input'] }}}}{{% endif %}}"
        f"{text['tail']}{{% endif %}}"
        "{% if answered %}{{ messages[-1]['content'] }}{{ eos_token }}{% endif %}"
    )


AS_CHAT: Mapping[str, str] = {name: layout_as_chat(*parts) for name, parts in LAYOUTS.items()}
"""The layouts as chat templates, saved with a model trained on them for whoever loads it."""
WORDS = "{% for message in messages %}{{ message['content'] }}{% endfor %}"
EARLIER: Mapping[str, str] = {"alpaca": ALPACA_HEAD + WORDS + ALPACA_TAIL, "raw": WORDS}
"""How version 0.1 spelled them at first; Jinja rendered the first one without its newlines."""


def as_chat(layout: str, tokenizer: PreTrainedTokenizerBase) -> str:
    """The chat template of alpaca or raw, with BOS where the tokenizer adds one."""
    return (BOS if first_ids(tokenizer) == [tokenizer.bos_token_id] else "") + AS_CHAT[layout]


def own_layout(chat_template: object) -> str:
    """What a chat template means: alpaca or raw if ours, chat if not, alpaca if none.

    chat_template: a text; or named ones, of which the default counts.
    """
    text = chat_template.get("default") if isinstance(chat_template, Mapping) else chat_template
    if not text:
        return "alpaca"
    bare = str(text).removeprefix(BOS)
    return next((name for name in AS_CHAT if bare in (AS_CHAT[name], EARLIER[name])), "chat")


def chosen_template(template: str, tokenizer: PreTrainedTokenizerBase | None) -> str:
    """The template that is meant: auto is the tokenizer's own, else Alpaca."""
    if template != AUTO:
        return template
    return own_layout(None if tokenizer is None else tokenizer.chat_template)


def template_file(folder: Path) -> Path:
    """The file that holds the chat template of a tokenizer's folder."""
    alone = folder / "chat_template.jinja"
    return alone if alone.is_file() else folder / "tokenizer_config.json"


def layout_note(template: str, tokenizer: PreTrainedTokenizerBase, place: str) -> str:
    """Say which layout is used, and warn where the model's folder `place` has another."""
    used, own = chosen_template(template, tokenizer), own_layout(tokenizer.chat_template)
    if not tokenizer.chat_template:
        why = f"{place} has no chat template"
    elif used == own or used == "chat":
        why = f"as {place} says"
    else:
        why = f"warning: {place} says {'a chat template of its own' if own == 'chat' else own}"
    return f"layout of prompts: {used} ({why})"


def read_chat_template(folder: Path) -> str:
    """Read the chat template in a tokenizer's folder; "" where there is none.

    Reads text files alone, no library. ModelError for a file that is broken.
    """
    file = template_file(folder)
    try:
        text = file.read_text(encoding="utf-8") if file.is_file() else "{}"
        if file.suffix == ".jinja":
            return text
        own = json.loads(text).get("chat_template")
        if isinstance(own, list):
            own = next((one["template"] for one in own if one.get("name") == "default"), "")
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        what = f"The tokenizer's settings in {folder} cannot be read."
        raise ModelError(what, f"{type(error).__name__}: {error}", "Restore them.") from error
    return str(own or "")
