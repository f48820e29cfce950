"""Do a teacher, a student, a tokenizer and the data fit each other? Asked before any work is done."""

from __future__ import annotations

import json
import logging
from typing import TYPE_CHECKING

from stillage.corpus.tokenizers import tokenizer_hash
from stillage.errors import DataError, ModelError
from stillage.models.decoder import embedding_rows

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from transformers import PreTrainedConfig, PreTrainedModel, PreTrainedTokenizerFast

    from stillage.types import Example

log = logging.getLogger("stillage")
# model_type -> the field, where it is not max_position_embeddings
CONTEXT: Mapping[str, str] = {"mpt": "max_seq_len"}


def check_same_tokenizer(
    teacher: PreTrainedTokenizerFast,
    student: PreTrainedTokenizerFast,
    *,
    others: Sequence[str] = ("sft",),
) -> None:
    """Require that one id means one token in both vocabularies, and that texts are cut alike and end with the same token.

    Extra tokens at the end of one vocabulary are allowed, with a notice. others: methods that need no shared tokenizer.
    Raises ModelError naming both values.
    """
    if teacher is student or tokenizer_hash(teacher) == tokenizer_hash(student):
        return
    ours, theirs = student.get_vocab(), teacher.get_vocab()
    moved = sorted(
        (token for token in ours.keys() & theirs.keys() if ours[token] != theirs[token]),
        key=ours.__getitem__,
    )
    common = min(len(ours), len(theirs))
    extra = [
        token
        for token in ours.keys() ^ theirs.keys()
        if ours.get(token, theirs.get(token, 0)) < common
    ]
    if moved:
        token = moved[0]
        clash = f"{len(moved)} tokens have other ids, e.g. {token!r}: teacher {theirs[token]}, student {ours[token]}"
    elif extra:
        clash = f"{len(extra)} tokens are in one vocabulary only, e.g. {min(extra)!r}"
    elif teacher.eos_token_id != student.eos_token_id:
        clash = f"end of text: teacher {teacher.eos_token_id}, student {student.eos_token_id}"
    elif rules(teacher) != rules(student):
        clash = "same tokens, but texts are cut differently"
    else:
        if len(ours) != len(theirs):
            log.warning(
                "vocabularies differ at their end: teacher %d tokens, student %d",
                len(theirs),
                len(ours),
            )
        return
    raise ModelError(
        "Teacher and student have different tokenizers, and this method compares their tokens one by one.",
        f"teacher: {describe(teacher)}; student: {describe(student)}; {clash}",
        f"Take a student of the teacher's family or one from scratch; or a method that needs no shared tokenizer: "
        f"{', '.join(others)}.",
    )


def rules(tokenizer: PreTrainedTokenizerFast) -> list[object]:
    """How a tokenizer cuts texts, apart from its vocabulary."""
    content = json.loads(tokenizer.backend_tokenizer.to_str())
    return [
        content["normalizer"],
        content["pre_tokenizer"],
        content["model"]["type"],
        content["model"].get("merges"),
    ]


def describe(tokenizer: PreTrainedTokenizerFast) -> str:
    """A tokenizer in a few words, for an error."""
    return f"{tokenizer.name_or_path or 'trained here'} ({len(tokenizer)} tokens, {tokenizer_hash(tokenizer)[:8]})"


def context_of(model: PreTrainedModel) -> int | None:
    """The longest sequence a model can read, in tokens; None where there is no limit (ALiBi, recurrent models)."""
    return context_in(model.config)


def context_in(config: PreTrainedConfig) -> int | None:
    """The longest sequence that a model with this config can read, in tokens; None without a limit."""
    text = config.get_text_config()
    value = getattr(text, CONTEXT.get(text.model_type, "max_position_embeddings"), None)
    return int(value) if isinstance(value, int) and value > 0 else None


def check_context(
    model: PreTrainedModel, longest: int, *, what: str = "prompt", name: str = ""
) -> None:
    """Require that the longest text fits the model's context, in tokens. Raises DataError naming both lengths."""
    context = context_of(model)
    if context is not None and longest > context:
        raise DataError(
            f"A {what} is longer than the model's context" + (f": record {name}." if name else "."),
            f"{what}: {longest} tokens; context of the model: {context}",
            "Cut the records (data.max_tokens, data.max_prompt_tokens), or use a model with a longer context.",
        )


def check_examples(model: PreTrainedModel, examples: Sequence[Example]) -> None:
    """Raise DataError unless the model can read every example."""
    rows = embedding_rows(model)
    for example in examples:
        assert len(example.ids_T) == len(example.response_T)
        assert not example.response_T[:1].any(), "nothing predicts the first token"
        check_context(model, len(example.ids_T), what="record", name=example.record_id)
        if (
            len(example.ids_T)
            and not 0 <= int(example.ids_T.min()) <= int(example.ids_T.max()) < rows
        ):
            raise DataError(
                f"Record {example.record_id} has token ids that the model does not know.",
                f"ids {example.ids_T.min()} to {example.ids_T.max()}; the model knows 0 to {rows - 1}",
                "Tokenise the records with the model's own tokenizer.",
            )
