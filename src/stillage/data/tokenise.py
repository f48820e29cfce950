"""Records to token ids, prompt and response encoded as one text."""

from __future__ import annotations

import logging
from bisect import bisect_right
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, cast

import numpy as np

from stillage.corpus.token_blocks import all_trained
from stillage.corpus.tokenizers import end_id, first_ids
from stillage.data.chat_templates import AUTO, chosen_template
from stillage.data.templates import Prompt, lay_out
from stillage.errors import ConfigError
from stillage.run.config import DataConfig
from stillage.types import END, Array, Example, Record, Span

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

log = logging.getLogger("stillage")
BATCH = 1024  # texts per call of the tokenizer: bounds the memory of the offsets
LEAST = 4  # tokens that an example cannot do without: to read, to answer, and its end


@dataclass(frozen=True, slots=True, kw_only=True)
class Tokenised:
    """Examples in the order of the records, and how many were cut."""

    examples: list[Example]
    was_cut: Array  # bool[n]: which lost a part of their prompt or response
    cut_prompts: int  # lost the middle of their prompt
    cut_responses: int  # lost their end: the only ones without EOS, as their text did not end there
    prompt_limit: int  # tokens of the longest prompt that was cut
    # responses that spell a special token, which the chat template makes one (others: plain text)
    special_in_text: int

    def summary(self) -> str:
        """One line: how many examples and tokens, and what was cut."""
        tokens = sum(len(example.ids_T) for example in self.examples)
        trained = sum(int(example.response_T.sum()) for example in self.examples)
        held = f"{len(self.examples)} examples, {tokens} tokens, {trained} trained"
        return "; ".join([held, *self.remarks()])

    def remarks(self) -> list[str]:
        """What was cut, or is not what it seems."""
        counts = {
            f"prompts cut to {self.prompt_limit} tokens": self.cut_prompts,
            "responses cut at the end": self.cut_responses,
            "responses spell a special token": self.special_in_text,
        }
        return [f"{count} {kind}" for kind, count in counts.items() if count]


def tokenise(
    records: Sequence[Record],
    tokenizer: PreTrainedTokenizerBase,
    *,
    template: str = AUTO,
    max_tokens: int,
    max_prompt_tokens: int = 0,
    context_tokens: int | None = None,
    what: str | None = None,
) -> Tokenised:
    """Encode each record as [BOS] prompt response EOS, of at most max_tokens.

    Response and EOS are trained and scored, the first token never, since nothing predicts it.
    Prompt and response are encoded as one text, as a reader would see it, and parted by character
    offsets: a token that straddles the boundary belongs to the response. BOS comes first only where
    the tokenizer itself would add it. A prompt above its limit (`prompt_limit`) loses its middle,
    so that the template's head and tail survive; a response that does not fit loses its end, and
    then gets no EOS.

    Args:
        template: alpaca, raw, chat or auto (`chosen_template`).
        max_tokens, max_prompt_tokens, context_tokens: see `prompt_limit`.
        what: whose records these are, for the notice of what was cut; None: no notice.

    Raises ModelError without a fast tokenizer or EOS, ConfigError when the limits leave no room.
    """
    eos = end_id(tokenizer)
    limit = prompt_limit(max_tokens, max_prompt_tokens, context_tokens)
    longest = min(max_tokens, context_tokens or max_tokens)
    template = chosen_template(template, tokenizer)
    special = tokenizer.all_special_tokens if template == "chat" else []
    within = 0 if max_prompt_tokens else longest
    texts = list(_read_records(records, tokenizer, template, limit, within))
    cuts = [text.was_cut for text in texts]
    ends = [len(text.prompt_ids) + len(text.response_ids) + 1 > longest for text in texts]
    done = Tokenised(
        examples=[
            _example(record.id, text, [*text.prompt_ids, *text.response_ids, eos][:longest])
            for record, text in zip(records, texts, strict=True)
        ],
        was_cut=np.array(cuts, dtype=bool) | np.array(ends, dtype=bool),
        cut_prompts=sum(cuts),
        cut_responses=sum(ends),
        prompt_limit=max((len(one.prompt_ids) for one in texts if one.was_cut), default=0) or limit,
        special_in_text=sum(any(one in record.response for one in special) for record in records),
    )
    if what is not None and done.remarks():
        log.warning("%stokenised: %s", f"{what}: " if what else "", done.summary())
    return done


def make_examples(
    records: Sequence[Record],
    tokenizer: PreTrainedTokenizerBase,
    data: DataConfig,
    context_tokens: int | None = None,
    *,
    what: str = "",
) -> list[Example]:
    """Examples under the template and limits of a config; else as `tokenise`."""
    return tokenise(
        records,
        tokenizer,
        template=data.template,
        max_tokens=data.max_tokens,
        max_prompt_tokens=data.max_prompt_tokens,
        context_tokens=context_tokens,
        what=what,
    ).examples


def text_examples(
    texts: Sequence[str], names: Sequence[str], tokenizer: PreTrainedTokenizerBase
) -> list[Example]:
    """Encode each text alone, without BOS and EOS; all is scored but its first token.

    names: record ids. Needs a fast tokenizer.
    """
    examples = []
    for name, (ids, offsets) in zip(names, _encode(texts, tokenizer, False), strict=True):
        bounds_N = _bounds(offsets, 0)[1:-1]  # those of the scored tokens
        bounds_N[-1:] = END
        examples.append(
            replace(all_trained(name, np.array(ids, np.int32)), span=Span(bounds_N=bounds_N))
        )
    return examples


def encode_prompts(
    records: Sequence[Record],
    tokenizer: PreTrainedTokenizerBase,
    *,
    template: str = AUTO,
    max_prompt_tokens: int,
    within: int = 0,
) -> list[Array]:
    """The ids of each prompt alone, int32, to be continued; cut as in `tokenise`.

    Equal to the prompt part of `tokenise` wherever no token straddles the boundary to the response.
    An empty prompt becomes the one token that starts a text (BOS, or EOS where there is none).
    within: the tokens among which a limit that the template alone fills is raised, as
    `prompt_limit` says; 0: it is not, and such a prompt is a ConfigError.
    """
    template = chosen_template(template, tokenizer)
    bos = cast("int | None", tokenizer.bos_token_id)
    empty = [end_id(tokenizer) if bos is None else bos]
    prompts = [replace(record, response="") for record in records]
    texts = list(_read_records(prompts, tokenizer, template, max_prompt_tokens, within))
    if cut := [len(text.prompt_ids) for text in texts if text.was_cut]:
        log.warning("%d prompts cut to %d tokens: they lost their middle", len(cut), max(cut))
    return [np.array(text.prompt_ids or empty, dtype=np.int32) for text in texts]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Text:
    """A record as the tokenizer reads it, the prompt cut to its limit."""

    prompt_ids: list[int]  # BOS included
    was_cut: bool
    response_ids: list[int]  # without EOS
    span: Span  # of the whole response and EOS


def _read_records(
    records: Sequence[Record],
    tokenizer: PreTrainedTokenizerBase,
    template: str,
    limit: int,
    within: int,
) -> Iterator[_Text]:
    """Lay out and encode each record; limit and within: see `prompt_limit`."""
    chat, start = template == "chat", first_ids(tokenizer)
    for first in range(0, len(records), BATCH):
        batch = records[first : first + BATCH]
        prompts = [lay_out(record, template, tokenizer) for record in batch]
        texts = [one.text + record.response for one, record in zip(prompts, batch, strict=True)]
        for prompt, (ids, offsets) in zip(prompts, _encode(texts, tokenizer, chat), strict=True):
            ends = [end for _, end in offsets]
            boundary = bisect_right(ends, len(prompt.text))
            bos = [] if chat and prompt.text else start  # a chat template writes BOS
            before = bos + ids[:boundary]
            left, right = _hole(before, ends[:boundary], prompt, limit, within)
            ends = [0] * len(bos) + ends  # BOS has no characters
            left_out = (ends[left - 1] if left else 0, ends[right - 1]) if right > left else (0, 0)
            yield _Text(
                prompt_ids=before[:left] + before[right:],
                was_cut=right > left,
                response_ids=ids[boundary:],
                span=Span(
                    bounds_N=_bounds(offsets[boundary:], len(prompt.text)), left_out=left_out
                ),
            )


def prompt_limit(
    max_tokens: int, max_prompt_tokens: int = 0, context_tokens: int | None = None
) -> int:
    """How many tokens a prompt may have: max_prompt_tokens; 0: half of an example's.

    An example has at most max_tokens, and no more than context_tokens (the model's context). Where
    nobody stated the limit (0), a template that alone takes more than a third of an example raises
    it: a quarter of what it leaves is the user's. ConfigError where a response has no room.
    """
    longest = min(max_tokens, context_tokens or max_tokens)
    context = "" if context_tokens is None else f"; context of the model: {context_tokens}"
    values = f"data.max_prompt_tokens: {max_prompt_tokens}; data.max_tokens: {max_tokens}{context}"
    if longest < LEAST or max_prompt_tokens < 0:
        what = "There is no room for a prompt and a response."
        raise ConfigError(what, values, "Raise data.max_tokens.")
    if max_prompt_tokens >= longest:
        prompts = f"Prompts of {max_prompt_tokens} tokens leave no room for a response"
        fix = f"Leave out data.max_prompt_tokens ({longest // 2} is then the limit), "
        fix += f"or set it below {longest}."
        raise ConfigError(f"{prompts} in examples of {longest}.", values, fix)
    return max_prompt_tokens or longest // 2


Offsets = Sequence[tuple[int, int]]
"""Of each token its first character and the one after its last; both non-decreasing."""


def _encode(
    texts: Sequence[str], tokenizer: PreTrainedTokenizerBase, chat: bool
) -> list[tuple[list[int], Offsets]]:
    """(ids, offsets) of each text.

    Outside chat, a text that spells a special token is plain text: it does not end there.
    """
    if not texts:
        return []
    encoded = tokenizer(
        list(texts),
        add_special_tokens=False,
        return_offsets_mapping=True,
        return_attention_mask=False,
        split_special_tokens=not chat,
        verbose=False,
    )
    pairs = zip(encoded["input_ids"], encoded["offset_mapping"], strict=True)
    return [(list(ids), offsets) for ids, offsets in pairs]


def _bounds(offsets: Offsets, start: int) -> Array:
    """`Span.bounds_N` of a whole response that begins at character `start`."""
    if not offsets:
        return np.array([0, END], dtype=np.int32)
    first_T, end_T = np.array(offsets, dtype=np.int32).T - np.int32(start)
    # a character that the next token shares is not read yet
    done_T = np.minimum(end_T, np.append(first_T[1:], end_T[-1]))
    bounds = [np.minimum(first_T[:1], 0), np.maximum.accumulate(done_T), [END]]
    return np.concatenate(bounds).astype(np.int32)


def _hole(
    ids: list[int], ends: list[int], prompt: Prompt, limit: int, within: int
) -> tuple[int, int]:
    """Which of the prompt's ids [start, stop) go, from their middle; (n, n) for none.

    The template's own tokens survive. Where ids has more tokens than ends, they are BOS, at its
    start. The room beside the template is shared by both ends of the user's words.
    """
    head = len(ids) - len(ends) + bisect_right(ends, prompt.body_start)
    tail = len(ends) - bisect_right(ends, prompt.body_end)
    if len(ids) > limit and within - head - tail >= LEAST:
        limit = max(limit, head + tail + (within - head - tail) // 4)
    if len(ids) <= limit:
        return len(ids), len(ids)
    room = limit - head - tail
    if room < 0:
        whole = f" of {within} for prompt and response" if within else ""
        alone = f"its template alone: {head + tail} tokens"
        values = f"limit of a prompt: {limit} tokens{whole}; {alone}"
        fix = "Raise data.max_tokens and data.max_prompt_tokens, as far as the model's context "
        fix += "goes; or --data.template raw."
        raise ConfigError("The longest prompt is shorter than its template.", values, fix)
    left = head + (room + 1) // 2
    return left, len(ids) - (limit - left)


def _example(record_id: str, text: _Text, ids: list[int]) -> Example:
    """Make an example, trained from its response on and never on its first token."""
    boundary = len(text.prompt_ids)
    response_T = np.zeros(len(ids), dtype=bool)
    response_T[max(boundary, 1) :] = True
    first = int(not boundary)  # the first token of a text without a prompt is nobody's
    bounds_N = text.span.bounds_N[first : first + int(response_T.sum()) + 1]
    return Example(
        record_id=record_id,
        ids_T=np.array(ids, dtype=np.int32),
        response_T=response_T,
        span=Span(bounds_N=bounds_N, left_out=text.span.left_out),
    )
