"""Texts that a model writes from nothing, each judged as a canary by itself.

Text number k is decided by (seed, k) and the settings alone: neither by the batch it was written
in nor by how many others are written.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, Any, cast

import numpy as np

from stillage.corpus.tokenizers import end_id, first_ids, largest_id, rules_hash
from stillage.errors import ModelError
from stillage.models.decoder import embedding_rows, plain
from stillage.models.generate import check_decoding, generate
from stillage.models.identity import model_hash
from stillage.models.limits import context_of, special_ids
from stillage.models.prompts import Prompts, TextRules
from stillage.models.query import token_stats
from stillage.mosaic.token_texts import decode_ids
from stillage.types import Array, Decoding, Example

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerFast

    from stillage.run.mosaic_config import CanaryConfig
    from stillage.run.progress import Done

UNREADABLE = "\ufffd"
"""What bytes that are no UTF-8 decode to: the end of a character that was cut, or noise."""
ENDED, SPECIAL, SHORT = "end of text", "special token", "too short"
BROKEN, CHANGED = "broken character", "changed by the round trip"
DOUBLINGS = 3
"""How often a text that is too short in the target's tokens is written again, twice as long."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CanaryWriter:
    """Who writes canaries, from what, how, and whose tokens count."""

    model: PreTrainedModel
    own: PreTrainedTokenizerFast  # the model's tokenizer
    target: PreTrainedTokenizerFast
    prompt: Array  # int32
    prompt_kind: str
    decoding: Decoding
    length: int  # tokens of the target
    seed: int

    @property
    def known_ids(self) -> int:
        """The ids that can be written: rows behind those of the tokenizer have no text."""
        return min(largest_id(self.own.backend_tokenizer) + 1, embedding_rows(self.model))

    @property
    def budgets(self) -> list[int]:
        """Tokens to write at first, and in each further attempt, within the context."""
        context, first = context_of(self.model), self.decoding.max_new_tokens
        room = first << DOUBLINGS if context is None else context - len(self.prompt)
        return sorted({min(room, first << doubling) for doubling in range(DOUBLINGS + 1)})

    def about(self) -> dict[str, Any]:
        """Say who writes and how, for the file of canaries: nothing is left to defaults."""
        sampling = asdict(self.decoding) | {"max_new_tokens": self.budgets}
        generator = {
            "model": model_hash(self.model),
            "tokenizer": rules_hash(self.own),
            "dtype": str(plain(self.model).dtype).removeprefix("torch."),
            "prompt": self.prompt_kind,
            "prompt_ids": self.prompt.tolist(),
            "known_ids": self.known_ids,
        }
        return {"generator": generator, "sampling": sampling}


@dataclass(frozen=True, slots=True, kw_only=True)
class WrittenText:
    """A text, and why it cannot be a canary; the rest is empty then."""

    number: int
    reason: str = ""
    text: str = ""
    ids: tuple[int, ...] = ()  # of the target's tokenizer, exactly as many as asked for
    written: tuple[int, ...] = ()  # the generator's tokens that reach to the end of the text


def canary_writer(
    generator: PreTrainedModel,
    generator_tokenizer: PreTrainedTokenizerFast,
    tokenizer: PreTrainedTokenizerFast,
    options: CanaryConfig,
    seed: int,
) -> CanaryWriter:
    """Make the writer that the settings mean.

    ConfigError for sampling without meaning, ModelError where a canary cannot fit the context or
    the tokenizer isn't the generator's.
    """
    decoding = Decoding(
        max_new_tokens=options.length + max(8, options.length // 4),
        sampling_temperature=options.sampling_temperature,
        top_p=options.top_p,
        top_k=options.top_k,
        no_repeat_ngram=0,
    )
    check_decoding(decoding)
    prompt, kind = opening(generator_tokenizer)
    if max(prompt) >= embedding_rows(generator):
        values = f"it begins with id {max(prompt)}; the model has {embedding_rows(generator)} rows"
        fix = "Give the tokenizer that came with the generator."
        raise ModelError("The tokenizer is not the generator's.", values, fix)
    context = context_of(generator)
    is_own = rules_hash(generator_tokenizer) == rules_hash(tokenizer)
    least = len(prompt) + (options.length if is_own else 1)
    if context is not None and context < least:
        values = f"length: {options.length}; {len(prompt)} tokens before; context: {context} tokens"
        fix = "Lower the length, or take a generator with a longer context."
        raise ModelError("A canary does not fit into its generator's context.", values, fix)
    return CanaryWriter(
        model=generator,
        own=generator_tokenizer,
        target=tokenizer,
        prompt=np.asarray(prompt, np.int32),
        prompt_kind=kind,
        decoding=decoding,
        length=options.length,
        seed=seed,
    )


def opening(tokenizer: PreTrainedTokenizerFast) -> tuple[list[int], str]:
    """Return what stands before a text that begins, and which of three it is.

    No model writes before it has read something. What the tokenizer itself puts there; else its
    BOS; else its EOS, behind which documents begin in training. Also returns which of them it is,
    in words.
    """
    if own := first_ids(tokenizer):
        return own, "what the tokenizer puts before a text"
    if tokenizer.bos_token_id is not None:
        return [cast("int", tokenizer.bos_token_id)], "the beginning-of-text token"
    return [end_id(tokenizer)], "the end-of-text token, as there is none for the beginning"


def write_candidates(
    writer: CanaryWriter, numbers: Sequence[int], progress: Done | None = None
) -> list[WrittenText]:
    """Write the texts of these numbers and judge each; in their order.

    A text that is too short in the target's tokens, and has not ended, is written again with twice
    the tokens (it begins with the same ones), as far as the context goes.
    """
    judged: dict[int, WrittenText] = {}
    left = list(numbers)
    eos, pad = special_ids(writer.own)
    rules = TextRules(eos, pad, known_ids=writer.known_ids)
    for budget in writer.budgets:
        texts = generate(
            writer.model,
            Prompts(
                [writer.prompt] * len(left),
                [f"canary text {number}" for number in left],
                writer.seed,
            ),
            replace(writer.decoding, max_new_tokens=budget),
            rules,
            progress=progress if budget == writer.budgets[0] else None,
        )
        judged |= {
            number: judge_text(writer, number, text.tolist())
            for number, text in zip(left, texts, strict=True)
        }
        left = [number for number in left if judged[number].reason == SHORT]
        if not left:
            break
    return [judged[number] for number in numbers]


def judge_text(writer: CanaryWriter, number: int, written: Sequence[int]) -> WrittenText:
    """Cut a written text to the target's tokens, and say why it can be no canary."""
    if end_id(writer.own) in written:
        return WrittenText(number=number, reason=ENDED)
    if not set(written).isdisjoint(writer.own.all_special_ids):
        return WrittenText(number=number, reason=SPECIAL)
    whole = decode_ids(writer.own, written)
    encoded = writer.target(whole, add_special_tokens=False, return_offsets_mapping=True)
    ids = encoded["input_ids"][: writer.length]
    if len(ids) < writer.length:
        return WrittenText(number=number, reason=SHORT)
    text = decode_ids(writer.target, ids)
    if reason := fault(writer.target, ids, text):
        return WrittenText(number=number, reason=reason)
    end = encoded["offset_mapping"][writer.length - 1][1]
    return WrittenText(
        number=number,
        text=text,
        ids=tuple(ids),
        written=tuple(written[: tokens_until(writer.own, written, end)]),
    )


def fault(tokenizer: PreTrainedTokenizerFast, ids: Sequence[int], text: str) -> str:
    """Why these ids, which decode to the text, can be no canary; empty where they can."""
    if not set(ids).isdisjoint(tokenizer.all_special_ids):
        return SPECIAL
    if UNREADABLE in text:
        return BROKEN
    if tokenizer(text, add_special_tokens=False)["input_ids"] != list(ids):
        return CHANGED
    return ""


def tokens_until(tokenizer: PreTrainedTokenizerFast, ids: Sequence[int], end: int) -> int:
    """The fewest first tokens whose text has `end` characters, by bisection."""
    low, high = 0, len(ids)
    while low < high:
        middle = (low + high) // 2
        if len(decode_ids(tokenizer, ids[:middle])) >= end:
            high = middle
        else:
            low = middle + 1
    return low


def perplexities(writer: CanaryWriter, candidates: Iterable[WrittenText]) -> list[float]:
    """Measure the perplexity of each text under the generator.

    exp(-mean log q) of what it wrote, at temperature 1, untruncated.
    """
    start = len(writer.prompt)
    examples = []
    for candidate in candidates:
        ids_T = np.concatenate([writer.prompt, np.asarray(candidate.written, np.int32)])
        examples.append(
            Example(
                record_id=f"canary text {candidate.number}",
                ids_T=ids_T,
                response_T=np.arange(len(ids_T)) >= start,
            )
        )
    stats = token_stats(writer.model, examples)
    return [float(np.exp(-np.mean(one.logp_T, dtype=np.float64))) for one in stats]
