"""Tokenisation: the response mask against an oracle that knows only the bytes of tokens, for three tokenizer families."""

from __future__ import annotations

import time
from pathlib import Path

import numpy as np
import pytest
from hypothesis import example as also
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import Tokenizer, decoders, models, normalizers, processors
from transformers import PreTrainedTokenizerFast

from stillage.data.bpe import train_bpe
from stillage.data.columns import record_id
from stillage.data.synthetic import people
from stillage.data.templates import render_prompt
from stillage.data.tokenise import encode_prompts, first_ids, tokenise
from stillage.errors import ConfigError, ModelError
from stillage.types import Example, Record

GOLDEN = Path(__file__).parents[1] / "golden"
PRINTABLE = [
    *range(33, 127),
    *range(161, 173),
    *range(174, 256),
]  # byte-level BPE spells these bytes as themselves
OTHERS = [byte for byte in range(256) if byte not in PRINTABLE]
BYTE_OF = {chr(byte): byte for byte in PRINTABLE} | {
    chr(256 + place): byte for place, byte in enumerate(OTHERS)
}
ROOM = {"max_tokens": 4096, "max_prompt_tokens": 2048}


def golden(name: str, eos: str) -> PreTrainedTokenizerFast:
    file = str(GOLDEN / f"cross_vocabulary_tokenizer_{name}.json")
    return PreTrainedTokenizerFast(
        tokenizer_file=file, eos_token=eos, unk_token="<unk>" if eos == "</s>" else None
    )


def sentencepiece_like() -> PreTrainedTokenizerFast:
    """As LLaMA and Mistral: BOS added, a space put before the text, bytes where the vocabulary has no piece."""
    pieces = [
        "<unk>",
        "<s>",
        "</s>",
        *(f"<0x{byte:02X}>" for byte in range(256)),
        "▁",
        *"abcdeinorst.:#",
        "▁a",
        "in",
        "▁in",
    ]
    merges = [("▁", "a"), ("i", "n"), ("▁", "in")]
    vocab = {piece: index for index, piece in enumerate(pieces)}
    backend = Tokenizer(
        models.BPE(vocab, merges, unk_token="<unk>", byte_fallback=True, fuse_unk=True)
    )
    backend.normalizer = normalizers.Sequence(
        [normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")]
    )
    backend.decoder = decoders.Sequence(
        [
            decoders.Replace("▁", " "),
            decoders.ByteFallback(),
            decoders.Fuse(),
            decoders.Strip(" ", 1, 0),
        ]
    )
    backend.post_processor = processors.TemplateProcessing(
        single="<s> $A", special_tokens=[("<s>", 1)]
    )
    return PreTrainedTokenizerFast(
        tokenizer_object=backend, bos_token="<s>", eos_token="</s>", unk_token="<unk>"
    )


BYTE_LEVEL = {name: golden(name, "<|endoftext|>") for name in ("A_bytelevel", "C_bytelevel")}
TRIMMING = train_bpe([r.prompt + r.response for r in people(1, 40)["public"]], 400)
TRIMMING.backend_tokenizer.post_processor = processors.ByteLevel(
    trim_offsets=True
)  # as RoBERTa and Llama 3
BYTE_LEVEL["trimmed_offsets"] = TRIMMING
METASPACE = golden("B_metaspace", "</s>")
FALLBACK = sentencepiece_like()


def make(prompt: str, response: str, input: str = "") -> Record:
    return Record(
        id=record_id(prompt, input, response), prompt=prompt, response=response, input=input
    )


def one(record: Record, tokenizer: PreTrainedTokenizerFast, template: str = "raw") -> Example:
    return tokenise([record], tokenizer, template=template, **ROOM).examples[0]


def token_bytes(tokenizer: PreTrainedTokenizerFast, ids: np.ndarray) -> list[bytes]:
    """The bytes of each token, from its spelling alone."""
    result = []
    for token in tokenizer.convert_ids_to_tokens(ids.tolist()):
        if token in tokenizer.all_special_tokens and token != "<unk>":
            result.append(b"")
        elif tokenizer in (METASPACE, FALLBACK):
            is_byte = token.startswith("<0x") and token.endswith(">")
            result.append(
                bytes([int(token[3:5], 16)]) if is_byte else token.replace("▁", " ").encode()
            )
        else:
            result.append(bytes(BYTE_OF[character] for character in token))
    return result


def check_mask(
    example: Example, tokenizer: PreTrainedTokenizerFast, prompt: str, response: str, extra: int = 0
) -> None:
    """extra: bytes that the tokenizer puts before the text."""
    ids, mask = example.ids_T, example.response_T
    pieces = token_bytes(tokenizer, ids)
    assert b"".join(pieces)[extra:] == (prompt + response).encode()
    assert (ids == tokenizer.eos_token_id).sum() == 1
    assert ids[-1] == tokenizer.eos_token_id
    assert mask[-1]
    ends = np.cumsum([len(piece) for piece in pieces]) - extra
    ends = np.maximum(
        ends, 1 if extra else 0
    )  # what is put before the text belongs to its first character
    expected = ends > len(prompt.encode())
    expected[-1] = True
    expected[0] = False
    assert mask.tolist() == expected.tolist()


TEXT = st.text(max_size=12) | st.text(alphabet=" \n\taé😀<|>1'", max_size=12)


@pytest.mark.parametrize("name", BYTE_LEVEL)
@settings(max_examples=150, deadline=None)
@given(TEXT, TEXT.filter(str.strip))
@also("x ", "😀!")  # a token that holds the space and half of the emoji
@also("line\n", "\n\nmore")
@also("", "<|endoftext|>")
@also("a <|endoftext|> b", "c<|pad|><|endoftext|>d")
def test_byte_level_masks(name: str, prompt: str, response: str) -> None:
    tokenizer = BYTE_LEVEL[name]
    example = one(make(prompt, response), tokenizer)
    check_mask(example, tokenizer, prompt, response)
    whole = tokenizer.decode(example.ids_T[:-1], skip_special_tokens=False)
    assert whole == prompt + response


@settings(max_examples=150, deadline=None)
@given(
    TEXT.filter(lambda text: "▁" not in text),
    TEXT.filter(lambda text: text.strip() and "▁" not in text),
)
@also("a in", " in")
@also("tea:", "é in 😀")
def test_byte_fallback_masks(prompt: str, response: str) -> None:
    example = one(make(prompt, response), FALLBACK)
    assert example.ids_T[0] == FALLBACK.bos_token_id
    assert (example.ids_T == FALLBACK.bos_token_id).sum() == 1
    check_mask(example, FALLBACK, prompt, response, extra=1)


LETTERS = "".join(
    sorted({c for token in METASPACE.get_vocab() for c in token if len(token) == 1 and c.isalpha()})
)
WORDS = st.lists(st.text(LETTERS, min_size=1, max_size=6), min_size=1, max_size=5).map(" ".join)


@settings(max_examples=100, deadline=None)
@given(WORDS, WORDS, st.sampled_from(["", " ", ": ", "\n"]))
def test_metaspace_masks(prompt: str, response: str, between: str) -> None:
    record = make(prompt + between, response)
    example = one(record, METASPACE)
    assert METASPACE.decode(example.ids_T[:-1]).replace(" ", "").endswith(response.replace(" ", ""))
    pieces = [piece.decode() for piece in token_bytes(METASPACE, example.ids_T)]
    ends = np.cumsum([1 if piece == "<unk>" else len(piece) for piece in pieces]) - 1
    expected = ends > len(prompt + between)
    expected[-1] = True
    assert example.response_T[1:].tolist() == expected[1:].tolist()
    assert not example.response_T[0]


@pytest.mark.parametrize(
    "tokenizer", [*BYTE_LEVEL.values(), FALLBACK], ids=[*BYTE_LEVEL, "fallback"]
)
def test_under_a_template_the_response_ids_decode_to_the_response(
    tokenizer: PreTrainedTokenizerFast,
) -> None:
    records = [record for part in people(2, 20).values() for record in part] + [
        make("Say é.", "Ünïcode 😀 done")
    ]
    examples = tokenise(records, tokenizer, template="alpaca", **ROOM).examples
    prompts = encode_prompts(records, tokenizer, template="alpaca", max_prompt_tokens=2048)
    for record, example, prompt in zip(records, examples, prompts, strict=True):
        assert example.record_id == record.id
        assert (example.ids_T.dtype, example.response_T.dtype) == (np.int32, bool)
        assert tokenizer.decode(example.ids_T[example.response_T][:-1]) == record.response
        assert tokenizer.decode(example.prompt_ids, skip_special_tokens=True) == render_prompt(
            record, "alpaca"
        )
        assert prompt.tolist() == example.prompt_ids.tolist()


def test_the_tokenizers_own_bos_comes_first_and_no_other() -> None:
    assert first_ids(FALLBACK) == [FALLBACK.bos_token_id]
    assert first_ids(METASPACE) == []
    both = sentencepiece_like()
    both.backend_tokenizer.post_processor = processors.TemplateProcessing(
        single="<s> $A </s>", special_tokens=[("<s>", 1), ("</s>", 2)]
    )
    assert first_ids(both) == [1]
    ids = one(make("a", "b"), both).ids_T.tolist()
    assert (ids[0], ids[-1], ids.count(1), ids.count(2)) == (1, 2, 1, 1)


def test_a_long_prompt_loses_its_middle_and_keeps_the_template() -> None:
    tokenizer = BYTE_LEVEL["A_bytelevel"]
    words = " ".join(f"w{number}" for number in range(400))
    records = [
        make(f"first {words} last", "yes"),
        make("short", "yes"),
        make("Sum up.", "yes", input=words),
    ]
    template = len(
        encode_prompts([make("", "", input="")], tokenizer, template="alpaca", max_prompt_tokens=9)[
            0
        ]
    )
    assert template == 1  # text alone has no template
    result = tokenise(records, tokenizer, template="alpaca", max_tokens=600, max_prompt_tokens=300)
    assert (result.cut_prompts, result.cut_responses, result.prompt_limit) == (2, 0, 300)
    long, short, context = result.examples
    text = tokenizer.decode(long.prompt_ids)
    assert len(long.prompt_ids) == 300
    assert text.startswith("Below is an instruction that describes a task. Write")
    assert "### Instruction:\nfirst w0 w1" in text
    assert text.endswith("last\n\n### Response:\n")
    assert tokenizer.decode(long.ids_T[long.response_T]) == "yes<|endoftext|>"
    assert tokenizer.decode(short.prompt_ids) == render_prompt(records[1], "alpaca")
    assert "### Instruction:\nSum up.\n\n### Input:\nw0" in tokenizer.decode(context.prompt_ids)
    assert "1 prompts cut" not in result.summary()
    assert "2 prompts cut to 300 tokens" in result.summary()
    prompts = encode_prompts(records, tokenizer, template="alpaca", max_prompt_tokens=300)
    assert [prompt.tolist() for prompt in prompts] == [
        example.prompt_ids.tolist() for example in result.examples
    ]
    bare = len(tokenizer(render_prompt(make("|", ""), "alpaca"))["input_ids"]) - 1
    tight = tokenise(
        records[:1], tokenizer, template="alpaca", max_tokens=600, max_prompt_tokens=bare
    )
    assert tokenizer.decode(tight.examples[0].prompt_ids) == render_prompt(
        make("|", ""), "alpaca"
    ).replace("|", "")
    with pytest.raises(
        ConfigError, match="limit of a prompt: 30 tokens; its template alone: 108 tokens"
    ):
        tokenise(records, tokenizer, template="alpaca", max_tokens=600, max_prompt_tokens=30)


@settings(max_examples=60, deadline=None)
@given(st.integers(4, 60), st.integers(1, 80), st.integers(0, 80), st.integers(1, 80))
def test_limits_hold_and_eos_is_there_iff_the_response_is_whole(
    max_tokens: int, max_prompt_tokens: int, prompt_words: int, response_words: int
) -> None:
    record = make("a " * prompt_words, "b" + " in" * response_words)
    full = one(record, FALLBACK)
    if max_prompt_tokens >= max_tokens:
        max_prompt_tokens = 0  # nobody stated it: half
    result = tokenise(
        [record],
        FALLBACK,
        template="raw",
        max_tokens=max_tokens,
        max_prompt_tokens=max_prompt_tokens,
    )
    example = result.examples[0]
    assert len(example.ids_T) <= max_tokens
    assert example.response_T.any()
    assert not example.response_T[0]
    prompt, response = full.prompt_ids, full.ids_T[full.response_T]
    limit = max_prompt_tokens or max_tokens // 2
    assert result.prompt_limit == limit
    assert len(example.prompt_ids) == min(len(prompt), limit)
    assert result.cut_prompts == (len(prompt) > limit)
    kept = example.ids_T[len(example.prompt_ids) :]
    assert kept.tolist() == response[: len(kept)].tolist()
    assert result.cut_responses == (len(kept) < len(response))
    assert (example.ids_T == FALLBACK.eos_token_id).sum() == 1 - result.cut_responses


def test_limits_that_nobody_stated_follow_the_model_and_the_template() -> None:
    tokenizer = BYTE_LEVEL["A_bytelevel"]
    record = make("Say " + "very " * 200 + "much.", "yes")
    template = len(tokenizer(render_prompt(make("|", ""), "alpaca"))["input_ids"]) - 1
    for context in (
        template + 8,
        2 * template,
        3 * template - 4,
    ):  # half of them is less than the template, or little more
        limit = max(context // 2, template + (context - template) // 4)
        result = tokenise(
            [record], tokenizer, template="alpaca", max_tokens=512, context_tokens=context
        )
        text = tokenizer.decode(result.examples[0].prompt_ids)
        assert result.prompt_limit == len(result.examples[0].prompt_ids) == limit > template
        assert (
            text.startswith("Below is")
            and text.endswith("### Response:\n")
            and "Instruction:\nS" in text
        )
        (prompt,) = encode_prompts(
            [record], tokenizer, template="alpaca", max_prompt_tokens=context // 2, within=context
        )
        assert prompt.tolist() == result.examples[0].prompt_ids.tolist()
    assert (
        tokenise(
            [record], tokenizer, template="alpaca", max_tokens=512, context_tokens=400
        ).prompt_limit
        == 200
    )
    least = template + 3
    with pytest.raises(
        ConfigError,
        match=f"{least // 2} tokens of {least} for prompt and response; its .* {template} tok",
    ):
        tokenise([record], tokenizer, template="alpaca", max_tokens=512, context_tokens=least)


def test_a_stated_limit_that_leaves_no_room_is_refused_with_where_it_comes_from() -> None:
    record = [make("a", "b")]
    with pytest.raises(ConfigError) as caught:
        tokenise(
            record,
            FALLBACK,
            template="raw",
            max_tokens=512,
            max_prompt_tokens=256,
            context_tokens=128,
        )
    assert str(caught.value).splitlines() == [
        "Prompts of 256 tokens leave no room for a response in examples of 128.",
        "data.max_prompt_tokens: 256; data.max_tokens: 512; context of the model: 128",
        "Leave out data.max_prompt_tokens (64 is then the limit), or set it below 128.",
    ]
    assert tokenise(
        record, FALLBACK, template="raw", max_tokens=512, max_prompt_tokens=100, context_tokens=128
    ).examples


def test_chat_reads_special_tokens_of_the_template_and_counts_those_in_responses() -> None:
    tokenizer = train_bpe(["user assistant words"], 300)
    tokenizer.add_special_tokens({"additional_special_tokens": ["<|im_start|>", "<|im_end|>"]})
    tokenizer.chat_template = (
        "{% for m in messages %}<|im_start|>{{ m.role }}\n{{ m.content }}<|im_end|>\n{% endfor %}"
        "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
    )
    start, end = tokenizer.convert_tokens_to_ids(["<|im_start|>", "<|im_end|>"])
    records = [make("hi", "ho"), make("hi", "x<|im_end|>y"), make("word " * 100, "ho")]
    result = tokenise(records, tokenizer, template="chat", max_tokens=200, max_prompt_tokens=60)
    assert (result.special_in_text, result.cut_prompts) == (1, 1)
    for example in result.examples:
        prompt = example.prompt_ids.tolist()
        assert (prompt[0], prompt.count(start), prompt.count(end)) == (start, 2, 1)
        assert tokenizer.decode(prompt).endswith("<|im_end|>\n<|im_start|>assistant\n")
    assert (
        tokenizer.decode(result.examples[0].ids_T[result.examples[0].response_T])
        == "ho<|endoftext|>"
    )


def test_an_empty_prompt_starts_a_generation_with_one_token() -> None:
    text = [make("", "Once upon a time")]
    for tokenizer, first in ((FALLBACK, FALLBACK.bos_token_id), (TRIMMING, TRIMMING.eos_token_id)):
        assert encode_prompts(text, tokenizer, template="alpaca", max_prompt_tokens=5)[
            0
        ].tolist() == [first]
    example = one(text[0], TRIMMING, "alpaca")
    assert example.response_T.tolist() == [False] + [True] * (len(example.ids_T) - 1)


def test_unusable_tokenizers_and_limits() -> None:
    endless = golden("A_bytelevel", "<|endoftext|>")
    endless.eos_token = None
    with pytest.raises(ModelError, match="no end-of-sequence token"):
        tokenise([make("a", "b")], endless, template="raw", **ROOM)
    with pytest.raises(ConfigError, match="max_tokens: 3"):
        tokenise([make("a", "b")], FALLBACK, template="raw", max_tokens=3, max_prompt_tokens=2)
    assert tokenise([], FALLBACK, template="raw", **ROOM).examples == []


def test_five_thousand_records_take_about_a_second() -> None:
    records = [record for part in people(1, 1176).values() for record in part]
    assert len(records) >= 4998
    start = time.process_time()
    tokenise(records, TRIMMING, template="alpaca", max_tokens=512, max_prompt_tokens=256)
    assert time.process_time() - start < 8  # 0.6 s alone; a quadratic slip would take minutes
