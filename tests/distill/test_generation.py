"""Texts are written and scored the same in any batch and order, by one model or by two."""

from __future__ import annotations

from types import SimpleNamespace
from typing import TYPE_CHECKING

import numpy as np
import pytest
import torch

from stillage.distill.generation import (
    GenerationContext,
    TextWriter,
    generation_context,
    score_texts,
    write_texts,
)
from stillage.models.generate import Partner, generate
from stillage.models.prompts import Prompts, TextRules
from stillage.types import Decoding

if TYPE_CHECKING:
    from transformers import PreTrainedModel

EOS = 0


@pytest.fixture
def context(small: SimpleNamespace) -> GenerationContext:
    return generation_context(small.task(seed=3))


def sampler(model: PreTrainedModel, max_new_tokens: int) -> TextWriter:
    decoding = Decoding(max_new_tokens=max_new_tokens, sampling_temperature=1.0)
    return TextWriter(model=model, decoding=decoding)


def test_the_same_text_for_any_batch_and_order(
    small: SimpleNamespace, context: GenerationContext
) -> None:
    model, examples = small.model(seed=2), small.examples(9)
    writer = sampler(model, 7)
    names = [f"4 {example.record_id}" for example in examples]
    whole = write_texts(context, writer, examples, names)
    for row in (5, 0, 8):
        alone = write_texts(context, writer, [examples[row]], [names[row]])[0]
        assert np.array_equal(alone.ids_T, whole[row].ids_T)
    later = [f"5 {example.record_id}" for example in examples]
    others = write_texts(context, writer, examples, later)
    assert any(
        not np.array_equal(one.ids_T, other.ids_T) for one, other in zip(whole, others, strict=True)
    )
    for example, text in zip(examples, whole, strict=True):
        prompt = example.prompt_ids
        assert (
            np.array_equal(text.ids_T[: len(prompt)], prompt)
            and text.record_id == example.record_id
        )
        assert text.response_T.sum() == len(text.ids_T) - len(prompt) <= 7


def test_the_model_writes_in_eval_mode_and_is_left_in_train_mode(
    small: SimpleNamespace, context: GenerationContext
) -> None:
    model, examples = small.model(seed=2, dropout=0.5), small.examples(5)
    model.train()
    names = [example.record_id for example in examples]
    one, two = (write_texts(context, sampler(model, 6), examples, names) for _ in range(2))
    assert all(np.array_equal(a.ids_T, b.ids_T) for a, b in zip(one, two, strict=True))
    assert all(module.training for module in model.modules())


def test_a_student_that_stops_at_once_has_written_the_end_of_text(
    small: SimpleNamespace, context: GenerationContext
) -> None:
    student = small.model(seed=2)
    with torch.no_grad():  # whatever is read, the end of text follows: its row of the tied head is the final norm's bias
        student.transformer.ln_f.weight.zero_()
        student.transformer.ln_f.bias.fill_(1.0)
        student.get_input_embeddings().weight[EOS] = 5.0
    examples = small.examples(6)
    names = [example.record_id for example in examples]
    texts = write_texts(context, sampler(student, 8), examples, names)
    assert [text.ids_T[text.response_T].tolist() for text in texts] == [[EOS]] * 6


def test_scores_are_the_log_probabilities_of_the_written_tokens(
    small: SimpleNamespace, context: GenerationContext
) -> None:
    model, texts = small.model(seed=2), small.examples(7)
    for text, logp_T in zip(
        texts, score_texts(context, model, texts, batch_size=3, width=9), strict=True
    ):
        with torch.no_grad():
            logits = model(torch.from_numpy(text.ids_T.astype(np.int64))[None]).logits[0]
        kept = np.flatnonzero(text.response_T)
        oracle = torch.log_softmax(logits, -1)[kept - 1, text.ids_T[kept].astype(np.int64)]
        assert np.allclose(logp_T, oracle.numpy(), atol=1e-5)


def test_the_mixture_draws_from_both_in_proportion(small: SimpleNamespace) -> None:
    student, teacher, prompt = (
        small.model(seed=2),
        small.model(seed=1, width=48),
        small.examples(1)[0].prompt_ids,
    )
    with torch.no_grad():
        teacher.get_input_embeddings().weight.mul_(20)
        ids = torch.from_numpy(prompt.astype(np.int64))[None]
        q, p = (torch.softmax(model(ids).logits[0, -1], -1) for model in (student, teacher))
    draws = 4000
    for share in (0.0, 0.3, 1.0):
        found = generate(
            student,
            Prompts([prompt] * draws, [str(k) for k in range(draws)], 1),
            Decoding(max_new_tokens=1, sampling_temperature=1.0),
            TextRules(EOS, 1),
            partner=Partner(teacher, share) if share else None,
        )
        counts = np.bincount([int(ids[0]) for ids in found], minlength=small.VOCAB) / draws
        wanted = ((1 - share) * q + share * p).numpy()
        assert np.abs(counts - wanted).max() < 4 * np.sqrt(wanted.max() / draws)
