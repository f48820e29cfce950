"""Does a pair of models share its tokens, and do the texts fit?"""

from __future__ import annotations

from collections.abc import Callable

import pytest
from transformers import PreTrainedModel, PreTrainedTokenizerFast

from stillage.errors import DataError, ModelError
from stillage.models.limits import context_of
from stillage.models.pair import check_context, check_same_tokenizer

Make = Callable[..., PreTrainedTokenizerFast]


def test_equal_tokenizers_pass_silently(
    make_tokenizer: Make, caplog: pytest.LogCaptureFixture
) -> None:
    check_same_tokenizer(make_tokenizer(40), make_tokenizer(40))
    assert not caplog.text


def test_moved_ids_are_named(make_tokenizer: Make) -> None:
    with pytest.raises(ModelError) as refused:
        check_same_tokenizer(make_tokenizer(40), make_tokenizer(40, swap=True))
    assert "2 tokens have other ids, e.g. 'w1': teacher 4, student 3" in refused.value.values
    assert "teacher: trained here (40 tokens" in refused.value.values
    assert "shared tokenizer: sft." in refused.value.fix


def test_other_words_of_one_number_are_refused(make_tokenizer: Make) -> None:
    with pytest.raises(ModelError, match="in one vocabulary only"):
        check_same_tokenizer(make_tokenizer(40), make_tokenizer(40, pad="<PAD>"))


def test_extra_tokens_at_the_end_pass_with_a_notice(
    make_tokenizer: Make, caplog: pytest.LogCaptureFixture
) -> None:
    for pair in ((48, 40), (40, 48)):
        caplog.clear()
        with caplog.at_level("WARNING", "stillage"):
            check_same_tokenizer(make_tokenizer(pair[0]), make_tokenizer(pair[1]))
        assert f"teacher {pair[0]} tokens, student {pair[1]}" in caplog.text


def test_other_end_of_text_is_refused(make_tokenizer: Make) -> None:
    student = make_tokenizer(40)
    student.eos_token = "w0"
    with pytest.raises(ModelError, match="end of text: teacher 0, student 3"):
        check_same_tokenizer(make_tokenizer(40), student)


def test_other_rules_are_refused(make_tokenizer: Make) -> None:
    from tokenizers.pre_tokenizers import WhitespaceSplit

    student = make_tokenizer(40)
    student.backend_tokenizer.pre_tokenizer = WhitespaceSplit()
    with pytest.raises(ModelError, match="cut differently"):
        check_same_tokenizer(make_tokenizer(40), student)


@pytest.mark.parametrize(
    ("family", "context"),
    [("gpt2", 32), ("opt", 32), ("llama", 32), ("gpt_neox", 32), ("mpt", 32), ("bloom", None)],
)
def test_context(family: str, context: int | None, build: Callable[..., PreTrainedModel]) -> None:
    model = build(family, context=32)
    assert context_of(model) == context
    check_context(model, 32)
    if context:
        with pytest.raises(
            DataError, match=r"longer than the model's context: record r7[\s\S]*33 tokens[\s\S]*32"
        ):
            check_context(model, 33, name="r7")
    else:
        check_context(model, 10**6)
