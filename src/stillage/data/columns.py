"""From a row of any table to records: which column is prompt, which response.

Shapes, in the order they are looked for: instruction (+ input) + response, prompt + response,
messages, instances (self-instruct), text, and turns (questions without answers). Names given by the
user come first.
"""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from stillage.corpus.rows import Unusable, utf8_text
from stillage.types import Record

USUAL = {
    "prompt": ("prompt",),
    "instruction": ("instruction",),
    "input": ("input", "context"),
    "response": ("response", "completion", "output"),
    "messages": ("messages", "conversations"),
    "text": ("text",),
}
"""Fields of a record, and how their columns are usually called."""
SHAPES = {"prompt", "instruction", "messages", "text"}
"""Fields that decide where the question is: the user names one, or all are looked for."""
KNOWN_SHAPES = (
    "prompt + response (or completion), instruction + input + output (or response), messages, "
    "or text"
)
END_MARKERS = ("<|endoftext|>", "<|im_end|>", "<|eot_id|>")
"""Ends of a response that other tools write; taken off, counted, as the tokenizer adds its own."""
LENGTH = "length"
"""To slice by the words of the response, where the records have no column of this name."""
SPEAKERS = {"human": "user", "gpt": "assistant", "bot": "assistant", "model": "assistant"}


class UnknownColumns(Unusable):
    """This row has none of the known shapes."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RecordColumns:
    """What to take from a row."""

    named: Mapping[str, str] = field(default_factory=dict)  # field -> the user's column
    keep: tuple[str, ...] = ()  # columns to keep in `meta`
    need_response: bool = True  # False: questions without answers are records, too


@dataclass(frozen=True, slots=True, kw_only=True)
class Exchange:
    """A question and its answer as a row has them."""

    prompt: str = ""
    input: str = ""
    messages: tuple[tuple[str, str], ...] = ()
    response: object  # a text, or a list of references
    column: str  # where the response stands


def record_id(
    prompt: str, input: str, response: str, messages: Sequence[tuple[str, str]] = ()
) -> str:
    """Name a record: 16 hexadecimal digits of the sha256 of its content."""
    turns = [list(turn) for turn in messages]
    content = json.dumps([prompt, input, response, turns], ensure_ascii=False)
    return hashlib.sha256(content.encode()).hexdigest()[:16]


def to_records(
    row: Mapping[str, Any], wanted: RecordColumns, source: str, notes: Counter[str]
) -> list[Record]:
    """Make the records of one row, several for self-instruct instances.

    notes counts what was changed on the way. Raises Unusable, with the reason, for none.
    """
    meta = {name: _as_text(row[name]) for name in wanted.keep if row.get(name) is not None}
    exchanges = _exchanges(row, wanted, notes)
    records = []
    for number, one in enumerate(exchanges, start=1):
        response, references = _response(one, wanted.need_response, notes)
        record = Record(
            id=record_id(one.prompt, one.input, response, one.messages),
            prompt=one.prompt,
            input=one.input,
            response=response,
            messages=one.messages,
            source=source if len(exchanges) == 1 else f"{source}#{number}",
            meta=meta | references,
        )
        records.append(record)
    return records


def _exchanges(
    row: Mapping[str, Any], wanted: RecordColumns, notes: Counter[str]
) -> list[Exchange]:
    """The exchanges of a row, by the first shape that it has."""
    names = {name: _column(row, name, wanted.named) for name in USUAL}
    prompt = names["instruction"] or names["prompt"]
    if prompt and names["response"]:
        return [_pair(row, prompt, names["input"], names["response"])]
    if names["messages"]:
        return [_chat(row[names["messages"]], wanted.need_response, notes)]
    if names["instruction"] and isinstance(row.get("instances"), list):
        return _instances(row["instances"], row[names["instruction"]], names["instruction"])
    if names["text"]:
        return [Exchange(response=row[names["text"]], column=names["text"])]
    if prompt and not wanted.need_response:
        return [_pair(row, prompt, names["input"], "")]
    if isinstance(row.get("turns"), list) and row["turns"] and not wanted.need_response:
        return [_chat([{"role": "user", "content": row["turns"][0]}], False, notes)]
    raise UnknownColumns(f"no known columns; found: {', '.join(map(str, row)) or 'none'}")


def _column(row: Mapping[str, Any], name: str, named: Mapping[str, str]) -> str:
    """The row's column for a field: the user's, else a usual one, else ""."""
    if name in named:
        return named[name] if named[name] in row else ""
    if SHAPES & set(named) and name in SHAPES:
        return ""  # the user has said where the question is: do not look elsewhere
    return next((usual for usual in USUAL[name] if usual in row), "")


def _pair(row: Mapping[str, Any], prompt_column: str, context: str, response: str) -> Exchange:
    """A question and its answer, by their columns; "" for one that is not there."""
    prompt = utf8_text(row[prompt_column], prompt_column)
    if not prompt.strip():
        raise Unusable(f"empty {prompt_column}")
    return Exchange(
        prompt=prompt,
        input=utf8_text(row[context], context) if context else "",
        response=row[response] if response else None,
        column=response or "response",
    )


def _instances(instances: Sequence[object], prompt: object, column: str) -> list[Exchange]:
    """Self-instruct: one instruction, several inputs and outputs."""
    if not instances:
        raise Unusable("no instances")
    exchanges = []
    for number, instance in enumerate(instances, start=1):
        if not isinstance(instance, Mapping):
            raise Unusable(f"instance {number} is not an object")
        flat = {"output": None, **instance, column: prompt}
        exchanges.append(_pair(flat, column, "input" if "input" in instance else "", "output"))
    return exchanges


def _chat(value: object, need_response: bool, notes: Counter[str]) -> Exchange:
    """A conversation: the last answer is the response, what is before it the prompt."""
    if not isinstance(value, Sequence) or isinstance(value, str | bytes) or not value:
        raise Unusable("messages is not a list of turns")
    turns = [_turn(entry, number) for number, entry in enumerate(value, start=1)]
    answers = [index for index, (role, _) in enumerate(turns) if role == "assistant"]
    if not answers and need_response:
        raise Unusable("messages hold no assistant turn")
    last = answers[-1] if answers else len(turns)
    if last + 1 < len(turns):
        notes["turns after the last answer dropped"] += len(turns) - last - 1
    before = tuple(turns[:last])
    if not any(content.strip() for _, content in before):
        raise Unusable("messages hold nothing before the answer")
    return Exchange(
        prompt=next((content for role, content in reversed(before) if role == "user"), ""),
        messages=before,
        response=turns[last][1] if answers else None,
        column="messages",
    )


def _turn(entry: object, number: int) -> tuple[str, str]:
    """(role, content) of one turn, in the layouts role/content and from/value."""
    if not isinstance(entry, Mapping):
        raise Unusable(f"turn {number} of messages is not an object")
    role = entry.get("role", entry.get("from"))
    content = entry.get("content", entry.get("value"))
    if isinstance(content, Sequence) and not isinstance(content, str | bytes):  # a list of parts
        texts = [part.get("text") if isinstance(part, Mapping) else None for part in content]
        if not all(isinstance(text, str) for text in texts):
            raise Unusable(f"turn {number} of messages holds something other than text")
        content = "".join(map(str, texts))
    if not isinstance(role, str):
        raise Unusable(f"turn {number} of messages has no role")
    return SPEAKERS.get(role, role), utf8_text(content, "messages")


def _response(
    exchange: Exchange, is_needed: bool, notes: Counter[str]
) -> tuple[str, dict[str, str]]:
    """The response without end markers; of several the first, and all for `meta`."""
    value, column, more = exchange.response, exchange.column, dict[str, str]()
    if isinstance(value, list) and value:
        references = [_without_end(utf8_text(entry, column), notes) for entry in value]
        value, more = references[0], {"references": json.dumps(references, ensure_ascii=False)}
    response = _without_end(utf8_text(value, column), notes)
    if not response.strip() and is_needed:
        raise Unusable(f"empty response (column {column})")
    return response, more


def _without_end(text: str, notes: Counter[str]) -> str:
    """The text before the literal end markers at its end, counted."""
    while marker := next((end for end in END_MARKERS if text.rstrip().endswith(end)), ""):
        text = text.rstrip().removesuffix(marker)
        notes[f"literal {marker} at the end of a response taken off"] += 1
    return text


def _as_text(value: object) -> str:
    """A kept column as text."""
    if isinstance(value, str):
        return utf8_text(value, "slice_by")
    return json.dumps(value, ensure_ascii=False, default=str)
