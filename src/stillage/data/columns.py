"""From a row of somebody's table to records: which columns are the prompt and the response, in the usual shapes.

Shapes, in the order they are looked for: instruction (+ input) + response, prompt + response, messages, instances
(self-instruct), text, and turns (questions without answers). Names given by the user come first.
"""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from stillage.types import Record

FIELDS = ("prompt", "instruction", "input", "response", "messages", "text")
USUAL = {
    "instruction": ("instruction",),
    "prompt": ("prompt",),
    "input": ("input", "context"),
    "response": ("response", "completion", "output"),
    "messages": ("messages", "conversations"),
    "text": ("text",),
}
NEEDED = "prompt + response (or completion), instruction + input + output (or response), messages, or text"
END_MARKERS = ("<|endoftext|>", "<|im_end|>", "<|eot_id|>")
"""Written at the end of a response by other tools; taken off and counted: the tokenizer's own end is added later."""
LENGTH = "length"
"""To slice by the words of the response, where the records have no column of this name."""
SPEAKERS = {"human": "user", "gpt": "assistant", "bot": "assistant", "model": "assistant"}


class Rejected(Exception):
    """This row is no record, for the reason given; caught by the reader, which counts it."""


class UnknownColumns(Rejected):
    """This row has none of the known shapes."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Wish:
    """What to take from a row: the user's names of columns, columns to keep, whether a response must be there."""

    columns: Mapping[str, str] = field(default_factory=dict)
    keep: tuple[str, ...] = ()
    need_response: bool = True


def record_id(
    prompt: str, input: str, response: str, messages: Sequence[tuple[str, str]] = ()
) -> str:
    """The name of a record: 16 hexadecimal digits of the sha256 of its content, the same in every file and run."""
    content = json.dumps(
        [prompt, input, response, [list(turn) for turn in messages]], ensure_ascii=False
    )
    return hashlib.sha256(content.encode()).hexdigest()[:16]


def to_records(
    row: Mapping[str, Any], wish: Wish, source: str, notes: Counter[str]
) -> list[Record]:
    """The records of one row (several for self-instruct instances); notes counts what was changed on the way.

    Raises Rejected, with the reason, when the row is not a usable record.
    """
    meta = {name: _plain(row[name]) for name in wish.keep if row.get(name) is not None}
    names = {name: _column(row, name, wish) for name in FIELDS}
    prompt = names["instruction"] or names["prompt"]
    if prompt and names["response"]:
        return [_pair(row, names, prompt, source, meta, wish, notes)]
    if names["messages"]:
        return [_chat(row[names["messages"]], source, meta, wish, notes)]
    if names["instruction"] and isinstance(row.get("instances"), list):
        return _instances(row, names["instruction"], source, meta, wish, notes)
    if names["text"]:
        response, more = _response(row[names["text"]], names["text"], wish, notes)
        return [_record("", "", response, (), source, meta | more)]
    if prompt and not wish.need_response:
        return [_pair(row, names, prompt, source, meta, wish, notes)]
    if isinstance(row.get("turns"), list) and row["turns"] and not wish.need_response:
        return [_chat([{"role": "user", "content": row["turns"][0]}], source, meta, wish, notes)]
    raise UnknownColumns(f"no known columns; found: {', '.join(map(str, row)) or 'none'}")


def _column(row: Mapping[str, Any], name: str, wish: Wish) -> str:
    """The row's column for a field: the user's name, else a usual name that is there, else ""."""
    if name in wish.columns:
        return wish.columns[name] if wish.columns[name] in row else ""
    shape_chosen = {"prompt", "instruction", "messages", "text"} & set(wish.columns)
    if shape_chosen and name in ("prompt", "instruction", "messages", "text"):
        return ""  # the user has said where the question is: do not look elsewhere
    return next((usual for usual in USUAL[name] if usual in row), "")


def _pair(
    row: Mapping[str, Any],
    names: Mapping[str, str],
    prompt_column: str,
    source: str,
    meta: dict[str, str],
    wish: Wish,
    notes: Counter[str],
) -> Record:
    """A question and its answer."""
    prompt = _text(row[prompt_column], prompt_column)
    if not prompt.strip():
        raise Rejected(f"empty {prompt_column}")
    context = _text(row[names["input"]], names["input"]) if names["input"] else ""
    answer = row[names["response"]] if names["response"] else None
    response, more = _response(answer, names["response"] or "response", wish, notes)
    return _record(prompt, context, response, (), source, meta | more)


def _instances(
    row: Mapping[str, Any],
    column: str,
    source: str,
    meta: dict[str, str],
    wish: Wish,
    notes: Counter[str],
) -> list[Record]:
    """Self-instruct: one instruction, several inputs and outputs."""
    if not row["instances"]:
        raise Rejected("no instances")
    records = []
    for number, instance in enumerate(row["instances"], start=1):
        if not isinstance(instance, Mapping):
            raise Rejected(f"instance {number} is not an object")
        names = {"input": "input" if "input" in instance else "", "response": "output"}
        flat = {
            column: row[column],
            "input": instance.get("input"),
            "output": instance.get("output"),
        }
        place = source if len(row["instances"]) == 1 else f"{source}#{number}"
        records.append(_pair(flat, names, column, place, meta, wish, notes))
    return records


def _chat(
    value: object, source: str, meta: dict[str, str], wish: Wish, notes: Counter[str]
) -> Record:
    """A conversation: the last answer is the response, the turns before it are the prompt."""
    if not isinstance(value, Sequence) or isinstance(value, str | bytes) or not value:
        raise Rejected("messages is not a list of turns")
    turns = [_turn(entry, number) for number, entry in enumerate(value, start=1)]
    answers = [index for index, (role, _) in enumerate(turns) if role == "assistant"]
    if not answers and wish.need_response:
        raise Rejected("messages hold no assistant turn")
    last = answers[-1] if answers else len(turns)
    if last + 1 < len(turns):
        notes["turns after the last answer dropped"] += len(turns) - last - 1
    response, more = _response(turns[last][1] if answers else None, "messages", wish, notes)
    before = tuple(turns[:last])
    if not any(content.strip() for _, content in before):
        raise Rejected("messages hold nothing before the answer")
    prompt = next((content for role, content in reversed(before) if role == "user"), "")
    return _record(prompt, "", response, before, source, meta | more)


def _turn(entry: object, number: int) -> tuple[str, str]:
    """(role, content) of one turn, in the layouts role/content and from/value."""
    if not isinstance(entry, Mapping):
        raise Rejected(f"turn {number} of messages is not an object")
    role = entry.get("role", entry.get("from"))
    content = entry.get("content", entry.get("value"))
    if isinstance(content, Sequence) and not isinstance(content, str | bytes):  # a list of parts
        if not all(
            isinstance(part, Mapping) and isinstance(part.get("text"), str) for part in content
        ):
            raise Rejected(f"turn {number} of messages holds something other than text")
        content = "".join(part["text"] for part in content)
    if not isinstance(role, str):
        raise Rejected(f"turn {number} of messages has no role")
    return SPEAKERS.get(role, role), _text(content, "messages")


def _response(
    value: object, column: str, wish: Wish, notes: Counter[str]
) -> tuple[str, dict[str, str]]:
    """The response without a literal end marker; of a list of references the first, all of them in meta."""
    more: dict[str, str] = {}
    if isinstance(value, list) and value:
        references = [_strip_end(_text(entry, column), notes) for entry in value]
        value, more = references[0], {"references": json.dumps(references, ensure_ascii=False)}
    response = _strip_end(_text(value, column), notes)
    if not response.strip() and wish.need_response:
        raise Rejected(f"empty response (column {column})")
    return response, more


def _strip_end(text: str, notes: Counter[str]) -> str:
    """The text before the literal end markers at its end, counted."""
    while marker := next((end for end in END_MARKERS if text.rstrip().endswith(end)), ""):
        text = text.rstrip().removesuffix(marker)
        notes[f"literal {marker} at the end of a response taken off"] += 1
    return text


def _text(value: object, column: str) -> str:
    """A text that UTF-8 can hold; nothing is converted by guess."""
    if value is None:
        return ""
    if not isinstance(value, str):
        raise Rejected(f"column {column} holds {type(value).__name__}, not text")
    try:
        value.encode("utf-8")
    except UnicodeEncodeError as error:
        raise Rejected(
            f"column {column} holds half a surrogate pair at character {error.start + 1}"
        ) from error
    return value


def _plain(value: object) -> str:
    """A kept column as text."""
    return (
        _text(value, "slice_by")
        if isinstance(value, str)
        else json.dumps(value, ensure_ascii=False, default=str)
    )


def _record(
    prompt: str,
    context: str,
    response: str,
    messages: tuple[tuple[str, str], ...],
    source: str,
    meta: Mapping[str, str],
) -> Record:
    """A record with its id."""
    name = record_id(prompt, context, response, messages)
    return replace(
        Record(id=name, prompt=prompt, response=response, source=source),
        input=context,
        messages=messages,
        meta=meta,
    )
