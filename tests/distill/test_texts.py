"""Written texts as examples and as tensors."""

from __future__ import annotations

from types import SimpleNamespace
from typing import TYPE_CHECKING

import numpy as np
import torch

from stillage.distill.texts import from_tensors, to_tensors, with_extras, with_response
from stillage.models.padding import collate
from stillage.types import Example

if TYPE_CHECKING:
    pass

EOS = 0


def test_labels_of_a_written_text_are_its_tokens_shifted_once_and_the_end_is_trained() -> None:
    example = Example(
        record_id="a",
        ids_T=np.array([5, 6, 7, 8], np.int32),
        response_T=np.array([False, False, True, True]),
    )
    text = with_response(example, np.array([9, 4, EOS], np.int32))
    batch = collate([text], torch.device("cpu"))
    assert batch.positions_T.tolist() == [1, 2, 3] and batch.labels_T.tolist() == [9, 4, EOS]


def test_texts_survive_as_tensors(small: SimpleNamespace) -> None:
    texts = [with_response(example, example.ids_T[-3:]) for example in small.examples(5)]
    texts = [
        with_extras(text, {"logq": np.arange(3, dtype=np.float32) + k})
        for k, text in enumerate(texts)
    ]
    for kept in (texts, texts[:1], []):
        back = from_tensors({**to_tensors(kept, "a"), **to_tensors([], "b")}, "a")
        assert [text.record_id for text in back] == [text.record_id for text in kept]
        for one, two in zip(back, kept, strict=True):
            assert np.array_equal(one.ids_T, two.ids_T) and np.array_equal(
                one.response_T, two.response_T
            )
            assert np.array_equal(one.extras["logq"], two.extras["logq"])
