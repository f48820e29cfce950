"""What readings of one record have in common, with real tokenizers of every kind, cut anywhere."""

from __future__ import annotations

from collections.abc import Callable
from itertools import combinations

import numpy as np
import pytest
from tokenizers import (
    AddedToken,
    Tokenizer,
    decoders,
    models,
    normalizers,
    pre_tokenizers,
    processors,
)
from transformers import PreTrainedTokenizerFast

from stillage.audit.queries import places_as_written
from stillage.data.bpe import train_bpe
from stillage.data.tokenise import tokenise
from stillage.functional.readings import in_common, moved, text_read, to_the_end, tokens_between
from stillage.types import END, Example, Record, Span, TokenStats

TEXTS = [
    "Ann Ødegård wrote to Łukasz: the badge is 4711.",
    "北京大学在哪里？我们明天去。",
    "naïve café — „so“ 🙂🙃, twice",
    "x",
    "",
    "Words  with   spaces\nand lines\n",
    "ΑΒΓΔ ΟΔΥΣΣΕΥΣ İstanbul ẞ",
]
RECORDS = [
    Record(id=str(k), prompt=p, response=text)
    for k, text in enumerate(TEXTS)
    for p in ("", "Who? ", "问")
]


def one_byte_each() -> PreTrainedTokenizerFast:
    backend = Tokenizer(
        models.BPE({p: k for k, p in enumerate(sorted(pre_tokenizers.ByteLevel.alphabet()))}, [])
    )
    backend.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)  # pyright: ignore[reportAttributeAccessIssue]
    backend.decoder = decoders.ByteLevel()  # pyright: ignore[reportAttributeAccessIssue]
    backend.add_special_tokens([AddedToken("<eos>", special=True, normalized=False)])
    return PreTrainedTokenizerFast(tokenizer_object=backend, eos_token="<eos>")


def as_llama() -> PreTrainedTokenizerFast:
    """BOS, a space before the text, bytes where there is no piece."""
    pieces = [
        "<unk>",
        "<s>",
        "</s>",
        *(f"<0x{b:02X}>" for b in range(256)),
        "▁",
        *"abcdefghijklmnopqrstuvwxyz.:?",
    ]
    model = models.BPE(
        {p: k for k, p in enumerate(pieces)},
        [],
        unk_token="<unk>",
        byte_fallback=True,
        fuse_unk=True,
    )
    backend = Tokenizer(model)
    backend.normalizer = normalizers.Sequence(
        [normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")]
    )  # pyright: ignore[reportAttributeAccessIssue]
    backend.add_special_tokens(
        [AddedToken(t, special=True, normalized=False) for t in ("<unk>", "<s>", "</s>")]
    )
    backend.post_processor = processors.TemplateProcessing(
        single="<s> $A", special_tokens=[("<s>", 1)]
    )  # pyright: ignore[reportAttributeAccessIssue]
    backend.decoder = decoders.Sequence(
        [decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse()]
    )  # pyright: ignore[reportAttributeAccessIssue]
    return PreTrainedTokenizerFast(
        tokenizer_object=backend, bos_token="<s>", eos_token="</s>", unk_token="<unk>"
    )


TOKENIZERS: dict[str, Callable[[], PreTrainedTokenizerFast]] = {
    "bytes": one_byte_each,
    "llama": as_llama,
    "bpe": lambda: train_bpe([*TEXTS, *TEXTS, "the badge is"] * 3, 400),
}


@pytest.fixture(scope="module")
def tokenizers() -> dict[str, PreTrainedTokenizerFast]:
    return {name: make() for name, make in TOKENIZERS.items()}


def read(example: Example) -> TokenStats:
    """Statistics in which a token's log-probability is its place in the example."""
    ids, places = example.ids_T[example.response_T], np.flatnonzero(example.response_T)
    return TokenStats(
        ids_T=ids,
        logp_T=-places.astype(np.float32),
        mean_T=places,
        var_T=places,
        rank_T=places,
        greedy_T=places > 0,
        span=example.span,
    )


def characters(tokenizer: PreTrainedTokenizerFast, stats: TokenStats) -> str:
    """What the tokens themselves spell, but for spaces at the ends and a part of a character in the last token."""
    return (
        str(tokenizer.decode(stats.ids_T.tolist(), skip_special_tokens=True))
        .rstrip("\ufffd")
        .strip()
    )


@pytest.mark.parametrize("limit", [7, 12, 20, 200])
@pytest.mark.parametrize("template", ["raw", "alpaca"])
def test_tokens_spell_the_characters_they_stand_for(
    limit: int, template: str, tokenizers: dict[str, PreTrainedTokenizerFast]
) -> None:
    if template == "alpaca":
        limit += 400
    found: dict[str, list[TokenStats]] = {}
    for name, tokenizer in tokenizers.items():
        examples = tokenise(RECORDS, tokenizer, template=template, max_tokens=limit).examples
        found[name] = [read(example) for example in examples]
        for record, stats in zip(RECORDS, found[name], strict=True):
            assert stats.span is not None and len(stats.span.bounds_N) == len(stats.ids_T) + 1
            assert (np.diff(stats.span.bounds_N.astype(np.int64)) >= 0).all()
            own = in_common([stats])
            if own is None:
                assert (
                    not record.response or limit < 20
                )  # nothing was read but its end, or a part of a character
                continue
            spelt, said = characters(tokenizer, own[0]), text_read(own[0].span, record.response)
            assert own[0].span is not None
            if (
                own[0].span.bounds_N[0] < 0 or not record.prompt
            ):  # begins in the prompt; or after a token that nothing predicts
                assert spelt.endswith(said.strip()[1:])
            else:
                assert spelt == said.strip()
            assert to_the_end(own[0]) == (stats.ids_T[-1] == tokenizer.eos_token_id)
    for a, b in combinations(tokenizers, 2):
        for record, *both in zip(RECORDS, found[a], found[b], strict=True):
            common = in_common(both)
            if common is None:
                continue
            said = {text_read(one.span, record.response) for one in common}
            assert len(said) == 1 and to_the_end(common[0]) == to_the_end(common[1])
            spelt = {
                characters(tokenizers[name], one) for name, one in zip((a, b), common, strict=True)
            }
            assert not record.prompt or spelt == {said.pop().strip()}


def test_a_prompt_that_lost_its_middle_says_which(
    tokenizers: dict[str, PreTrainedTokenizerFast],
) -> None:
    record = Record(id="r", prompt="0123456789" * 3, response="yes")
    spans = [
        tokenise([record], tokenizers["bytes"], template="raw", max_tokens=limit).examples[0].span
        for limit in (16, 16, 20, 99)
    ]
    assert [span.left_out for span in spans if span] == [(4, 26), (4, 26), (5, 25), (0, 0)]
    stats = [
        read(tokenise([record], tokenizers["bytes"], template="raw", max_tokens=n).examples[0])
        for n in (16, 20)
    ]
    assert in_common(stats) is None and in_common([stats[0], stats[0]]) == [stats[0], stats[0]]


def test_lower_case_is_laid_over_the_text_as_written() -> None:
    for text in TEXTS:
        places, low = places_as_written(text), text.lower()
        assert places[0] == 0 and places[-1] == len(text) and len(places) == len(low) + 1
        for k, place in enumerate(places.tolist()):
            assert place < 0 or len(text[:place].lower()) == k
    span = moved(Span(bounds_N=np.array([0, 1, 2, 3, END], np.int32)), places_as_written("aİ"))
    assert span.bounds_N.tolist() == [0, 1, 1, 2, END]


def test_a_text_of_unknown_span_is_whole() -> None:
    borders = np.array([0, 3, 5, END], np.int32)
    known = TokenStats(
        ids_T=np.arange(3),
        logp_T=np.zeros(3),
        mean_T=np.zeros(3),
        var_T=np.zeros(3),
        rank_T=np.zeros(3),
        greedy_T=np.zeros(3),
        span=Span(bounds_N=borders),
    )
    nobody = tokens_between(known, Span(bounds_N=borders), 0, END)
    unknown = TokenStats(
        **{name: getattr(nobody, name) for name in TokenStats.__slots__ if name != "span"}
    )
    assert in_common([known, unknown]) == [known, unknown] and in_common([unknown]) == [unknown]
    cut = tokens_between(known, Span(bounds_N=borders), 0, 3)
    assert in_common([cut, unknown]) is None and len(cut.ids_T) == 1
