"""Checks that a teacher, a student, a tokenizer and the data fit each other."""

from __future__ import annotations

import json
import logging
from typing import TYPE_CHECKING

from stillage.corpus.tokenizers import tokenizer_hash
from stillage.errors import DataError, ModelError
from stillage.models.decoder import embedding_rows
from stillage.models.limits import context_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from transformers import PreTrainedModel, PreTrainedTokenizerFast

    from stillage.types import Array, Example

log = logging.getLogger("stillage")


def check_same_tokenizer(
    teacher: PreTrainedTokenizerFast, student: PreTrainedTokenizerFast
) -> None:
    """Require that both tokenizers cut texts alike, and one id means one token.

    And end with the same token. Extra tokens at the end of one vocabulary are allowed, with a
    notice. Raises ModelError naming both values.
    """
    if teacher is student or tokenizer_hash(teacher) == tokenizer_hash(student):
        return
    ours, theirs = student.get_vocab(), teacher.get_vocab()
    shared, alone = ours.keys() & theirs.keys(), ours.keys() ^ theirs.keys()
    moved = [token for token in shared if ours[token] != theirs[token]]
    common = min(len(ours), len(theirs))
    extra = [token for token in alone if ours.get(token, theirs.get(token, 0)) < common]
    if moved:
        token = min(moved, key=ours.__getitem__)
        clash = (
            f"{len(moved)} tokens have other ids, e.g. {token!r}: "
            f"teacher {theirs[token]}, student {ours[token]}"
        )
    elif extra:
        clash = f"{len(extra)} tokens are in one vocabulary only, e.g. {min(extra)!r}"
    elif teacher.eos_token_id != student.eos_token_id:
        clash = f"end of text: teacher {teacher.eos_token_id}, student {student.eos_token_id}"
    elif rules(teacher) != rules(student):
        clash = "same tokens, but texts are cut differently"
    else:
        if len(ours) != len(theirs):
            notice = "vocabularies differ at their end: teacher %d tokens, student %d"
            log.warning(notice, len(theirs), len(ours))
        return
    raise ModelError(
        "Teacher and student have different tokenizers, "
        "and this method compares their tokens one by one.",
        f"teacher: {describe(teacher)}; student: {describe(student)}; {clash}",
        "Take a student of the teacher's family or one from scratch; "
        "or a method that needs no shared tokenizer: sft.",
    )


def rules(tokenizer: PreTrainedTokenizerFast) -> list[object]:
    """Return how a tokenizer cuts texts, apart from its vocabulary."""
    content = json.loads(tokenizer.backend_tokenizer.to_str())
    model = content["model"]
    return [content["normalizer"], content["pre_tokenizer"], model["type"], model.get("merges")]


def describe(tokenizer: PreTrainedTokenizerFast) -> str:
    """Describe a tokenizer in a few words, for an error."""
    name, hashed = tokenizer.name_or_path or "trained here", tokenizer_hash(tokenizer)
    return f"{name} ({len(tokenizer)} tokens, {hashed[:8]})"


def check_context(
    model: PreTrainedModel, longest: int, *, what: str = "prompt", name: str = ""
) -> None:
    """Raise DataError, with both lengths, unless the longest text fits the context."""
    context = context_of(model)
    if context is not None and longest > context:
        raise DataError(
            f"A {what} is longer than the model's context" + (f": record {name}." if name else "."),
            f"{what}: {longest} tokens; context of the model: {context}",
            "Cut the records (data.max_tokens, data.max_prompt_tokens), "
            "or use a model with a longer context.",
        )


def check_examples(model: PreTrainedModel, examples: Sequence[Example]) -> None:
    """Raise DataError unless the model can read every example."""
    rows = embedding_rows(model)
    for example in examples:
        assert len(example.ids_T) == len(example.response_T)
        assert not example.response_T[:1].any(), "nothing predicts the first token"
        check_context(model, len(example.ids_T), what="record", name=example.record_id)
        if len(example.ids_T):
            check_ids(example.ids_T, rows, f"Record {example.record_id}", "records")


def check_ids(ids_T: Array, rows: int, whose: str, what: str) -> None:
    """Raise DataError unless a model of so many ids knows these."""
    if not 0 <= int(ids_T.min()) <= int(ids_T.max()) < rows:
        raise DataError(
            f"{whose} has token ids that the model does not know.",
            f"ids {ids_T.min()} to {ids_T.max()}; the model knows 0 to {rows - 1}",
            f"Tokenise the {what} with the model's own tokenizer.",
        )
