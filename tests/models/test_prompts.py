"""What a model is asked to continue: refused, with its name, before any model runs."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from transformers import PreTrainedModel

from stillage.errors import DataError
from stillage.models.pair import check_examples
from stillage.models.prompts import Prompts, TextRules
from stillage.types import Example


def ids(*values: int) -> np.ndarray:
    return np.array(values, np.int32)


@pytest.mark.parametrize(
    ("prompt", "words"),
    [
        (ids(), "The prompt of r7 is empty"),
        (ids(1, 97), "ids 1 to 97; the model knows 0 to 96"),
        (ids(-1, 5), "ids -1 to 5; the model knows 0 to 96"),
        (ids(*range(64)), "prompt (with one token to write): 65 tokens; context of the model: 64"),
    ],
)
def test_a_prompt_that_cannot_be_continued_is_named(
    build: Callable[..., PreTrainedModel], prompt: np.ndarray, words: str
) -> None:
    with pytest.raises(DataError) as error:
        Prompts([ids(3), prompt], ["r6", "r7"]).check(build())
    assert words in str(error.value) and "r7" in str(error.value)


def test_prompts_that_fit_are_let_through(build: Callable[..., PreTrainedModel]) -> None:
    model = build()
    Prompts([ids(0), ids(96), ids(*range(63))], ["a", "b", "c"]).check(model)
    Prompts([], []).check(model)


def test_every_prompt_has_a_name() -> None:
    with pytest.raises(AssertionError):
        Prompts([ids(1)], [])


@pytest.mark.parametrize(("eos", "stops"), [(3, {3}), ([3, 5], {3, 5})])
def test_a_text_may_end_in_several_ways(eos: int | list[int], stops: set[int]) -> None:
    assert TextRules(eos, 0).stops == stops


@pytest.mark.parametrize("bad", [(2, 97), (-1, 4)])
def test_a_record_of_another_tokenizer_is_named(
    build: Callable[..., PreTrainedModel], bad: tuple[int, int]
) -> None:
    fine = Example(record_id="fine", ids_T=ids(0, 96), response_T=np.array([False, True]))
    odd = Example(record_id="odd", ids_T=ids(*bad), response_T=np.array([False, True]))
    empty = Example(record_id="empty", ids_T=ids(), response_T=np.zeros(0, bool))
    check_examples(build(), [fine, empty])
    with pytest.raises(DataError, match="Record odd has token ids"):
        check_examples(build(), [fine, odd])
