"""Replaced tokens: exactly so many, where and by what they should be, neighbours untouched."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Literal, cast

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from safetensors.numpy import load_file
from transformers import BertConfig, BertForMaskedLM, PreTrainedTokenizerFast

from stillage.data.bpe import train_bpe
from stillage.errors import ConfigError, DataError
from stillage.models.masked import Masked, Substitutes, best, masked
from stillage.models.masked_train import with_mask
from stillage.mosaic import replacement
from stillage.mosaic.kinds import Replacement
from stillage.mosaic.replacement import put, replacements
from stillage.mosaic.replacement_candidates import (
    Candidate,
    CandidateSource,
    candidates_at,
    only_change,
)
from stillage.mosaic.token_texts import cuts, decode_ids, encode_texts, ordinary_ids, round_trips

GOLDEN = Path(__file__).parents[1] / "golden" / "near_duplicate_generation.json"
CASES = {case["name"]: case for case in json.loads(GOLDEN.read_text())["cases"]}
WORDS = ("amber", "birch", "cedar", "delta", "ember", "flint", "grove", "heron", "iris", "jade")
TEXT = " ".join(f"The {WORDS[k % 10]} stood near the {WORDS[3 * k % 7]} tree." for k in range(40))


@pytest.fixture(scope="module")
def tokenizer() -> PreTrainedTokenizerFast:
    return train_bpe([TEXT], 320)


@pytest.fixture(scope="module")
def canaries(tokenizer: PreTrainedTokenizerFast) -> list[list[int]]:
    ids = encode_texts(tokenizer, [TEXT])[0]
    return [ids[start : start + 24] for start in (0, 30, 61)]


def random_masked(tokenizer: PreTrainedTokenizerFast, context: int = 64) -> Masked:
    config = BertConfig(
        vocab_size=len(tokenizer),
        hidden_size=16,
        num_hidden_layers=1,
        num_attention_heads=2,
        intermediate_size=16,
        max_position_embeddings=context,
        pad_token_id=0,
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return masked(BertForMaskedLM(config).eval(), tokenizer, "k")


@pytest.fixture(scope="module")
def own(tokenizer: PreTrainedTokenizerFast) -> Masked:
    """Reads the ids of the trained model's tokenizer."""
    return random_masked(with_mask(tokenizer))


@pytest.fixture(scope="module")
def foreign() -> Masked:
    """Has other ids, and pieces of other sizes."""
    return random_masked(with_mask(train_bpe([TEXT.upper(), TEXT], 400)))


def source(
    canaries: Sequence[Sequence[int]],
    tokenizer: PreTrainedTokenizerFast,
    masked: Masked | None = None,
    seed: int = 1,
) -> CandidateSource:
    return CandidateSource(ids_by_canary=canaries, tokenizer=tokenizer, masked=masked, seed=seed)


def changed(one: Sequence[int], other: Sequence[int]) -> list[int]:
    return [k for k, (a, b) in enumerate(zip(one, other, strict=True)) if a != b]


KINDS = st.builds(
    Replacement,
    replaced=st.integers(1, 24),
    candidates=st.sampled_from(["masked", "vocabulary", "random"]),
    top_k=st.integers(1, 12),
    places=st.sampled_from(["different", "same"]),
    spread=st.booleans(),
)


@settings(
    max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(KINDS, st.integers(0, 99))
def test_exactly_so_many_tokens_differ(
    tokenizer: PreTrainedTokenizerFast,
    canaries: list[list[int]],
    own: Masked,
    kind: Replacement,
    seed: int,
) -> None:
    ordinary = set(ordinary_ids(tokenizer).tolist())
    near = replacements(source(canaries, tokenizer, own, seed), kind, count=3)
    for ids, of_canary in zip(canaries, near, strict=True):
        where = [changed(ids, variation) for variation in of_canary]
        assert all(len(places) == kind.replaced for places in where)
        assert all(ordinary.issuperset(variation) for variation in of_canary)
        if kind.places == "same":
            assert where[0] == where[1] == where[2]
        if kind.spread:
            parts = np.array_split(np.arange(len(ids)), kind.replaced)
            assert [place in part for place, part in zip(where[0], parts, strict=True)] == [
                True
            ] * kind.replaced


def test_near_copies_depend_on_nothing_but_seed_number_and_ids(
    tokenizer: PreTrainedTokenizerFast, canaries: list[list[int]], own: Masked
) -> None:
    kind = Replacement(replaced=6)
    all_of_them = replacements(source(canaries, tokenizer, own), kind, count=4)
    assert replacements(source(canaries[:1], tokenizer, own), kind, count=2) == [all_of_them[0][:2]]
    assert replacements(source(canaries, tokenizer, own, 2), kind, count=4) != all_of_them
    assert len({tuple(ids) for of_canary in all_of_them for ids in of_canary}) == 12


def test_places_of_fewer_are_among_those_of_more(
    tokenizer: PreTrainedTokenizerFast, canaries: list[list[int]]
) -> None:
    few, many = (
        replacements(
            source(canaries, tokenizer), Replacement(replaced=r, candidates="random"), count=2
        )
        for r in (3, 9)
    )
    for ids, one, other in zip(canaries, few, many, strict=True):
        for a, b in zip(one, other, strict=True):
            assert set(changed(ids, a)) < set(changed(ids, b))


def test_every_place_is_as_likely(tokenizer: PreTrainedTokenizerFast) -> None:
    ids = [[300, 301, 302, 303, 304]]
    kind = Replacement(replaced=2, candidates="random")
    near = replacements(source(ids, tokenizer), kind, count=300)[0]
    counts = np.bincount([place for one in near for place in changed(ids[0], one)], minlength=5)
    assert (abs(counts - 120) < 43).all()  # 5 standard deviations


def test_a_text_that_encodes_to_its_ids_goes_on_doing_so(
    tokenizer: PreTrainedTokenizerFast,
    canaries: list[list[int]],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    kind = Replacement(replaced=12, candidates="random")
    preferred = replacements(source(canaries, tokenizer), kind, count=4)
    kept = [round_trips(tokenizer, ids) for of_canary in preferred for ids in of_canary]
    monkeypatch.setattr(replacement, "MOST_TRIES", 1)
    first = replacements(source(canaries, tokenizer), kind, count=4)
    plain = [round_trips(tokenizer, ids) for of_canary in first for ids in of_canary]
    assert sum(kept) >= 10 > 4 >= sum(plain)


def test_candidates_of_a_masked_model_with_the_same_ids_are_its_top_tokens(
    tokenizer: PreTrainedTokenizerFast, canaries: list[list[int]], own: Masked
) -> None:
    places = [(0, 0), (1, 7), (2, 23)]
    found = candidates_at(
        source(canaries, tokenizer, own), Replacement(replaced=1, top_k=5), places
    )
    ordinary = set(ordinary_ids(tokenizer).tolist())
    for (canary, place), candidates in zip(places, found, strict=True):
        ids = np.array(canaries[canary])
        stands, ids[place] = ids[place], own.tokenizer.mask_token_id
        with torch.no_grad():
            logits = own.model(input_ids=torch.from_numpy(ids)[None]).logits[0, place].numpy()
        order = [k for k in np.argsort(-logits).tolist() if k in ordinary and k != stands]
        same = {decode_ids(tokenizer, [k]) for k in [stands]}
        order = [k for k in order if decode_ids(tokenizer, [k]) not in same]
        assert [token for (token,) in candidates] == order[:5]


def test_a_canary_beyond_the_context_is_read_around_the_place(
    tokenizer: PreTrainedTokenizerFast, canaries: list[list[int]]
) -> None:
    short = random_masked(with_mask(tokenizer), context=8)
    found = candidates_at(
        source(canaries, tokenizer, short), Replacement(replaced=1), [(0, 0), (0, 12), (0, 23)]
    )
    assert [len(candidates) for candidates in found] == [10, 10, 10]


@pytest.mark.parametrize("candidates", ["masked", "vocabulary"])
@pytest.mark.parametrize("single", [True, False])
def test_tokens_of_another_tokenizer_are_read_in_their_place(
    tokenizer: PreTrainedTokenizerFast,
    canaries: list[list[int]],
    foreign: Masked,
    candidates: Literal["masked", "vocabulary"],
    single: bool,
) -> None:
    kind = Replacement(replaced=1, candidates=candidates, top_k=40, single_token_only=single)
    given = source(canaries, tokenizer, foreign)
    places = [(canary, place) for canary in range(3) for place in range(0, 24, 5)]
    found = candidates_at(given, kind, places)
    sizes = {len(candidate) for of_place in found for candidate in of_place}
    assert sizes == {1} if single else {1, 2, 3} <= sizes
    for (canary, place), of_place in zip(places, found, strict=True):
        ids = canaries[canary]
        assert (ids[place],) not in of_place and len(set(of_place)) == len(of_place)
        for candidate in of_place:
            whole = put(ids, {place: candidate})
            assert round_trips(tokenizer, whole)
            assert only_change(ids, whole, place) == candidate


def test_what_a_tokenizer_does_not_know_is_no_candidate(foreign: Masked) -> None:
    """A text that it reads as <unk> is one token, but a special one."""
    file = GOLDEN.with_name("cross_vocabulary_tokenizer_B_metaspace.json")
    target = PreTrainedTokenizerFast(tokenizer_file=str(file), unk_token="<unk>")
    ids = encode_texts(target, ["the quick brown fox and the teacher"])[0]
    kind = Replacement(replaced=1, candidates="vocabulary", single_token_only=False)
    found = candidates_at(source([ids], target, foreign), kind, [(0, 0), (0, 3), (0, 9)])
    tokens = {token for of_place in found for candidate in of_place for token in candidate}
    assert tokens and target.unk_token_id not in tokens


def test_several_tokens_leave_every_neighbour_as_it_is(
    tokenizer: PreTrainedTokenizerFast, canaries: list[list[int]], foreign: Masked
) -> None:
    kind = Replacement(replaced=9, top_k=40, single_token_only=False)
    near = replacements(source(canaries, tokenizer, foreign), kind, count=4)
    single = Replacement(replaced=9, top_k=40)
    for ids, of_canary in zip(canaries, near, strict=True):
        assert any(len(variation) > len(ids) for variation in of_canary)
    for ids, of_canary in zip(
        canaries, replacements(source(canaries, tokenizer, foreign), single, count=4), strict=True
    ):
        assert [len(changed(ids, variation)) for variation in of_canary] == [9] * 4


def toy(token: int) -> Candidate:
    """What the published toy tokenizer makes of a token where some are several."""
    if token % 7:
        return (token,)
    return (token, token + 1000) if token % 2 else (token, token + 1000, token + 2000)


@pytest.mark.parametrize("places", ["uniform", "random"])
def test_several_tokens_are_put_in_as_published_and_without_its_fault(places: str) -> None:
    """Published: of unsorted places, one right of a longer candidate moves those left of it."""
    single, several = (
        CASES[f"replace_tokens/random_candidates_multi{multi}_{places}_sameFalse"]
        for multi in (False, True)
    )
    ids = single["options"]["tokens"]
    ours = []
    for variation in single["expected"]["variations"]:
        drawn = {place: toy(variation[place]) for place in changed(ids, variation)}
        ours.append(put(ids, drawn))
        kept = [token for place, token in enumerate(ids) if place not in drawn]
        rest = list(ours[-1])
        for place in sorted(drawn):
            start = rest.index(drawn[place][0])
            assert tuple(rest[start : start + len(drawn[place])]) == drawn[place]
            del rest[start : start + len(drawn[place])]
        assert rest == kept
    published = several["expected"]["variations"]
    assert (ours == published) == (places == "uniform")


def test_the_published_top_tokens_are_proposed() -> None:
    case = CASES["replace_tokens/masked_lm_top_k"]
    logits = load_file(GOLDEN.with_suffix(".safetensors"))[case["inputs"][0]]
    ids = case["options"]["tokens"]
    size = logits.shape[-1]
    model = cast(
        "Masked",
        SimpleNamespace(
            form_V=np.ones(size, np.int8), surface_V=tuple(f"w{k} " for k in range(size))
        ),
    )
    at_gap = torch.from_numpy(np.stack([logits[k, k] for k in range(len(ids))]))
    found = best(model, at_gap, np.array(ids), Substitutes(5, same_form=False))
    for ours, published in zip(found, case["expected"]["candidates"], strict=True):
        assert len(ours) == 5  # published: 4 where the token itself is among the first 5
        assert ours[: len(published)].tolist() == published


def test_places_without_candidates_are_not_drawn(
    tokenizer: PreTrainedTokenizerFast,
    canaries: list[list[int]],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def few(
        source: CandidateSource, kind: Replacement, places: Sequence[tuple[int, int]]
    ) -> list[list[Candidate]]:
        return [[(300,), (301,)] if place in (2, 5, 11, 17) else [] for _, place in places]

    monkeypatch.setattr(replacement, "candidates_at", few)
    monkeypatch.setattr(replacement, "round_trips", lambda *_: False)
    given = source([[9] * 24, [8] * 24], tokenizer)
    near = replacements(given, Replacement(replaced=4), count=2)
    assert all(changed([9] * 24, ids) == [2, 5, 11, 17] for ids in near[0])
    with pytest.raises(DataError, match=r"canary 0: 24 tokens, replaced: 5; no candidate at 20"):
        replacements(given, Replacement(replaced=5), count=2)
    spread = replacements(given, Replacement(replaced=2, spread=True), count=2)
    assert all(len(set(changed([8] * 24, ids)) & {2, 5, 11}) == 1 for ids in spread[1])
    with pytest.raises(DataError, match="Too few places in a segment"):
        replacements(given, Replacement(replaced=8, spread=True), count=2)


@pytest.mark.parametrize("kind", [Replacement(replaced=r) for r in (0, 25, -1)])
def test_what_cannot_be_replaced(
    tokenizer: PreTrainedTokenizerFast, canaries: list[list[int]], own: Masked, kind: Replacement
) -> None:
    with pytest.raises(ConfigError, match="cannot be replaced"):
        replacements(source(canaries, tokenizer, own), kind, count=1)


def test_refusals(
    tokenizer: PreTrainedTokenizerFast, canaries: list[list[int]], own: Masked, foreign: Masked
) -> None:
    with pytest.raises(ConfigError, match="proposes nothing"):
        replacements(source(canaries, tokenizer, own), Replacement(replaced=1, top_k=0), count=1)
    with pytest.raises(ConfigError, match="none was given"):
        replacements(source(canaries, tokenizer), Replacement(replaced=1), count=1)
    letters = [
        encode_texts(tokenizer, [letter])[0][0] for letter in " heron"
    ]  # a word is one token
    split = [[*canaries[0][:5], *letters]]
    assert not round_trips(tokenizer, split[0])
    with pytest.raises(DataError, match="does not give a canary back"):
        replacements(source(split, tokenizer, foreign), Replacement(replaced=1), count=1)
    near = replacements(
        source(split, tokenizer), Replacement(replaced=1, candidates="random"), count=2
    )
    assert [len(changed(split[0], ids)) for ids in near[0]] == [1, 1]


def test_cuts_are_the_borders_of_tokens(tokenizer: PreTrainedTokenizerFast) -> None:
    text = "The birch é 樹 stood."
    ids = encode_texts(tokenizer, [text])[0]
    found, ends = cuts(tokenizer, ids, "canary 0")
    assert found == text and ends[0] == 0 and ends[-1] == len(text)
    pieces = [decode_ids(tokenizer, [token]) for token in ids]
    for k, piece in enumerate(pieces):
        if "\ufffd" in piece:
            assert -1 in ends[k : k + 2]
        else:
            assert text[ends[k] : ends[k + 1]] == piece
    given = CandidateSource(ids_by_canary=[ids], tokenizer=tokenizer, masked=None, seed=1)
    inside = next(k for k, piece in enumerate(pieces) if "\ufffd" in piece)
    assert given.around((0, inside)) is None
