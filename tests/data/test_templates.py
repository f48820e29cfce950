"""Templates: the published wording, and the place of the user's words in it."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from transformers import PreTrainedTokenizerFast

from stillage.data.bpe import train_bpe
from stillage.data.templates import TEMPLATES, lay_out, render_prompt
from stillage.errors import ConfigError, DataError, ModelError
from stillage.types import Record

CHATML = (
    "{% for m in messages %}{% if m.role == 'tool' %}{{ raise_exception('no tools') }}{% endif %}"
    "<|im_start|>{{ m.role }}\n{{ m.content | trim }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)


def record(prompt: str, input: str = "", messages: tuple[tuple[str, str], ...] = ()) -> Record:
    return Record(id="0", prompt=prompt, input=input, response="r", messages=messages, source="f:1")


@pytest.fixture(scope="module")
def chatty() -> PreTrainedTokenizerFast:
    tokenizer = train_bpe(["some words"], 300)
    tokenizer.chat_template = CHATML
    return tokenizer


def test_alpaca_is_worded_as_published() -> None:
    assert render_prompt(record("Sort."), "alpaca") == (
        "Below is an instruction that describes a task. Write a response that appropriately completes the request.\n\n"
        "### Instruction:\nSort.\n\n### Response:\n"
    )
    assert render_prompt(record("Sort.", "3 1"), "alpaca") == (
        "Below is an instruction that describes a task, paired with an input that provides further context. "
        "Write a response that appropriately completes the request.\n\n"
        "### Instruction:\nSort.\n\n### Input:\n3 1\n\n### Response:\n"
    )


def test_raw_adds_nothing() -> None:
    assert render_prompt(record("Q: why? A:"), "raw") == "Q: why? A:"
    assert render_prompt(record("Sort.", "3 1"), "raw") == "Sort.\n3 1"


def test_chat_uses_the_tokenizers_template(chatty: PreTrainedTokenizerFast) -> None:
    assert render_prompt(record("Sort.", "3 1"), "chat", chatty) == (
        "<|im_start|>user\nSort.\n\n3 1<|im_end|>\n<|im_start|>assistant\n"
    )
    turns = (("system", "Be brief."), ("user", "One?"), ("assistant", "1"), ("user", " Two? "))
    prompt = lay_out(record("Two?", messages=turns), "chat", chatty)
    assert prompt.text.endswith("<|im_start|>user\nTwo?<|im_end|>\n<|im_start|>assistant\n")
    assert prompt.text[: prompt.body_start] == "<|im_start|>system\n"
    assert prompt.text[prompt.body_end :] == "<|im_end|>\n<|im_start|>assistant\n"


def test_a_conversation_keeps_its_turns_under_templates_without_turns() -> None:
    single = record("One?", messages=(("user", "One?"),))
    assert render_prompt(single, "raw") == "One?"
    several = record("Two?", messages=(("user", "One?"), ("assistant", "1"), ("user", "Two?")))
    assert render_prompt(several, "raw") == "User: One?\n\nAssistant: 1\n\nUser: Two?"
    assert "User: One?\n\nAssistant: 1\n\nUser: Two?\n\n### Response:\n" in render_prompt(
        several, "alpaca"
    )


def test_errors_name_the_values(chatty: PreTrainedTokenizerFast) -> None:
    with pytest.raises(ConfigError, match="asked: alpacca"):
        render_prompt(record("p"), "alpacca")
    with pytest.raises(ModelError, match="no chat template"):
        render_prompt(record("p"), "chat", train_bpe(["a"], 300))
    with pytest.raises(ModelError):
        render_prompt(record("p"), "chat")
    with pytest.raises(DataError, match="f:1: no tools"):
        render_prompt(record("p", messages=(("tool", "x"),)), "chat", chatty)


@given(st.text(min_size=1), st.text())
def test_the_body_is_the_users_words(prompt: str, input: str) -> None:
    for template in ("alpaca", "raw"):
        laid = lay_out(record(prompt, input), template)
        body = laid.text[laid.body_start : laid.body_end]
        assert body.startswith(prompt)
        assert body.endswith(input)
        plain = lay_out(record("x" * len(prompt), "y" * len(input)), template)
        assert laid.text[: laid.body_start] == plain.text[: plain.body_start]
        assert laid.text[laid.body_end :] == plain.text[plain.body_end :]


def test_text_alone_is_laid_out_bare() -> None:
    assert {render_prompt(record(""), template) for template in TEMPLATES} == {""}
