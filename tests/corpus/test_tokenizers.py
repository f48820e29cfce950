"""What a tokenizer is: a hash of how it cuts texts, one of all it decides, BOS and EOS."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from tokenizers import Tokenizer, models, pre_tokenizers, processors
from transformers import PreTrainedTokenizerFast

from stillage.corpus.tokenizers import end_id, first_ids, rules_hash, tokenizer_hash
from stillage.errors import ModelError

WORDS = {"<s>": 0, "</s>": 1, "<unk>": 2, "a": 3, "b": 4}


def made(
    words: dict[str, int] = WORDS, *, bos: bool = False, **named: str
) -> PreTrainedTokenizerFast:
    inner = Tokenizer(models.WordLevel(words, unk_token="<unk>"))
    inner.pre_tokenizer = pre_tokenizers.Whitespace()
    if bos:
        inner.post_processor = processors.TemplateProcessing(
            single="<s> $A </s>", special_tokens=[("<s>", 0), ("</s>", 1)]
        )
    return PreTrainedTokenizerFast(
        tokenizer_object=inner, unk_token="<unk>", **{"eos_token": "</s>", **named}
    )


def test_the_rules_are_how_texts_are_cut_and_nothing_else() -> None:
    tokenizer = made()
    before = rules_hash(tokenizer)
    tokenizer(["a b a", "b"], truncation=True, max_length=1, padding=False)
    tokenizer.chat_template = "{{ messages }}"
    assert rules_hash(tokenizer) == before == rules_hash(made())
    assert rules_hash(made({**WORDS, "a": 4, "b": 3})) != before
    assert rules_hash(made(bos=True)) != before


@pytest.mark.parametrize(
    "change",
    [
        lambda one: setattr(one, "chat_template", "{{ messages }}"),
        lambda one: setattr(one, "pad_token", "b"),
        lambda one: setattr(one, "bos_token", "<s>"),
        lambda one: one.add_special_tokens({"additional_special_tokens": ["a"]}),
    ],
)
def test_all_that_a_tokenizer_decides_is_in_its_hash(
    change: Callable[[PreTrainedTokenizerFast], object],
) -> None:
    tokenizer = made()
    before = tokenizer_hash(tokenizer)
    change(tokenizer)
    assert tokenizer_hash(tokenizer) != before == tokenizer_hash(made())


def test_a_hash_may_leave_the_chat_template_out() -> None:
    bare, dressed = made(), made()
    dressed.chat_template = "{{ messages }}"
    hashes = [tokenizer_hash(one, chat_template=False) for one in (bare, dressed)]
    assert hashes[0] == hashes[1] == tokenizer_hash(bare)


def test_the_first_ids_are_those_the_tokenizer_writes_itself() -> None:
    assert first_ids(made()) == [] and first_ids(made(bos_token="<s>")) == []
    assert first_ids(made(bos=True)) == [0], "what it puts behind a text does not count"


def test_a_model_cannot_learn_to_stop_without_an_end() -> None:
    assert end_id(made()) == 1
    tokenizer = made()
    tokenizer.eos_token = None
    with pytest.raises(ModelError, match="no end-of-sequence token") as caught:
        end_id(tokenizer)
    assert "tokenizer_config.json" in caught.value.fix
