"""Who writes paraphrases: an instruct model here, or one behind an endpoint.

Both are asked with the same messages and settings, sampled as those say, and their answers are kept
alike as they come, so that work that was killed asks nothing twice.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from stillage.errors import ModelError
from stillage.models.kept_answers import keep_answer, kept_answer
from stillage.models.served import (
    CHAT,
    ask_all,
    chat_body,
    chat_lacks,
    endpoint_at,
    never,
    reply_text,
)

if TYPE_CHECKING:
    from pathlib import Path

    from transformers import PreTrainedModel, PreTrainedTokenizerFast

    from stillage.mosaic.kinds import Paraphrase
    from stillage.types import Decoding

AT_ONCE = {"cpu": 8, "endpoint": 32}
MOST_AT_ONCE = 64  # of an accelerator


@dataclass(frozen=True, slots=True, kw_only=True)
class Writer:
    """Answers messages, each from its own seed whatever it is asked together with."""

    name: str  # what its answers are kept under, and shown
    answer: Callable[[Sequence[str], Sequence[int], Decoding], list[str]]
    """(messages, a seed for each, how) -> the replies."""
    at_once: int  # requests between two looks at whether to stop: a batch of a local model


def is_address(writer: str) -> bool:
    """Tell whether a writer is behind an endpoint."""
    return writer.startswith(("http://", "https://"))


def writer_of(kind: Paraphrase, keep: Path, should_stop: Callable[[], bool] = never) -> Writer:
    """Open the writer of a kind; nothing is sent unless `kind.writer` is an address.

    keep: folder of its answers. Raises ConfigError for an address that cannot be asked, ModelError
    for a folder without instruct model.
    """
    if is_address(kind.writer):
        return endpoint_writer(kind, keep, should_stop)
    from stillage.models.load import load_on_device, load_tokenizer
    from stillage.run.config import ModelConfig

    tokenizer = load_tokenizer(kind.writer, kind.writer_revision)
    source = ModelConfig(path=kind.writer, revision=kind.writer_revision)
    if not tokenizer.chat_template:
        raise ModelError(
            "The writer of paraphrases is no instruct model: its tokenizer has no chat template.",
            f"writer: {kind.writer}",
            "Give an instruct model, e.g. the one of recipes/pretrained.",
        )
    return local_writer(load_on_device(source, tokenizer), tokenizer, keep)


def endpoint_writer(kind: Paraphrase, keep: Path, should_stop: Callable[[], bool]) -> Writer:
    """Write by the model behind an endpoint."""
    endpoint = endpoint_at(kind.writer, kind.writer_model)

    def answer(messages: Sequence[str], seeds: Sequence[int], decoding: Decoding) -> list[str]:
        pairs = zip(messages, seeds, strict=True)
        bodies = [chat_body(one_message(message), decoding, seed) for message, seed in pairs]
        found = ask_all(
            endpoint, CHAT, bodies, keep=keep, lacks=chat_lacks, should_stop=should_stop
        )
        return [reply_text(one) for one in found]

    name = f"{endpoint.model} at {endpoint.url}"
    return Writer(name=name, answer=answer, at_once=AT_ONCE["endpoint"])


def local_writer(model: PreTrainedModel, tokenizer: PreTrainedTokenizerFast, keep: Path) -> Writer:
    """Write by a model in memory, sampled by `models.generate`."""
    from stillage.corpus.tokenizers import tokenizer_hash
    from stillage.models.identity import model_hash

    name = f"model {model_hash(model)}, tokenizer {tokenizer_hash(tokenizer)}"

    def answer(messages: Sequence[str], seeds: Sequence[int], decoding: Decoding) -> list[str]:
        pairs = zip(messages, seeds, strict=True)
        asked = [
            {"url": name, "body": chat_body(one_message(message), decoding, seed)}
            for message, seed in pairs
        ]
        replies: list[dict[str, Any] | None] = [kept_answer(keep, one) for one in asked]
        rest = [row for row, reply in enumerate(replies) if reply is None]
        texts = write_answers(
            model,
            tokenizer,
            [messages[row] for row in rest],
            [seeds[row] for row in rest],
            decoding,
        )
        for row, text in zip(rest, texts, strict=True):
            reply = {"choices": [{"message": {"role": "assistant", "content": text}}]}
            keep_answer(keep, asked[row], reply)
            replies[row] = reply
        return [reply_text(reply) for reply in replies if reply is not None]

    return Writer(name=name, answer=answer, at_once=AT_ONCE.get(model.device.type, MOST_AT_ONCE))


def one_message(message: str) -> list[dict[str, str]]:
    """Make a conversation of one message; no system role, which some templates refuse."""
    return [{"role": "user", "content": message}]


def write_answers(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerFast,
    messages: Sequence[str],
    seeds: Sequence[int],
    decoding: Decoding,
) -> list[str]:
    """Answer each message in the model's own chat layout, sampled from its own seed."""
    import sys

    from stillage.data.tokenise import encode_prompts
    from stillage.models.generate import generate
    from stillage.models.limits import special_ids
    from stillage.models.prompts import Prompts, TextRules
    from stillage.types import Record

    if not messages:
        return []
    records = [Record(id="", prompt=message, response="") for message in messages]
    ids = encode_prompts(records, tokenizer, template="chat", max_prompt_tokens=sys.maxsize)
    _, pad_id = special_ids(tokenizer)
    rules = TextRules(ends_of(model, tokenizer), pad_id)
    written = generate(model, Prompts(ids, [str(seed) for seed in seeds]), decoding, rules)
    return [
        str(tokenizer.decode(row, skip_special_tokens=True, clean_up_tokenization_spaces=False))
        for row in (ids_T.tolist() for ids_T in written)
    ]


def ends_of(model: PreTrainedModel, tokenizer: PreTrainedTokenizerFast) -> list[int]:
    """Return the ids that end an answer.

    The tokenizer's, and those of the model's settings.
    """
    from stillage.corpus.tokenizers import end_id

    stated = getattr(model.generation_config, "eos_token_id", None)
    further = [stated] if isinstance(stated, int) else list(stated or [])
    return sorted({end_id(tokenizer), *further})
