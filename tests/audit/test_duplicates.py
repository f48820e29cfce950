"""Nonmembers that are members, and audited records that the students were trained on."""

from __future__ import annotations

import numpy as np
import pytest

from stillage.audit.duplicates import check_overlap, check_training_overlap, trained_on
from stillage.corpus.near_copies import near_across
from stillage.rng import generator

WORDS = [
    f"{a}{b}{c}"
    for a in ("bar", "cor", "den", "fel", "gor")
    for b in "aeiou"
    for c in ("n", "t", "sk", "m")
]


def texts(rng: np.random.Generator, n: int, words: int = 12) -> list[str]:
    return [" ".join(rng.choice(WORDS, words)) for _ in range(n)]


def ids(side: str, n: int) -> list[str]:
    return [f"{side}{i}" for i in range(n)]


def test_duplicated_records_are_found_by_id() -> None:
    rng = generator(0, "overlap")
    inside, outside = texts(rng, 30), texts(rng, 30)
    a, b = ids("a", 30), ids("b", 30)
    assert check_overlap(a, b, near_across(inside, outside)).passed
    shared = check_overlap(a, [*b[:-1], "a0"], near_across(inside, [*outside[:-1], inside[0]]))
    assert (
        not shared.passed
        and shared.fault == "contaminated"
        and shared.values["in both, ids"] == ["a0"]
    )
    repeated = check_overlap([*a[:-1], "a0"], b, near_across(inside, outside))
    assert not repeated.passed and repeated.values["repeated within a side"] == 1


def test_reworded_nonmembers_are_found_as_near_duplicates_and_shared_instructions_are_not() -> None:
    rng = generator(1, "near")
    inside, outside = texts(rng, 40, 30), texts(rng, 40, 30)
    for i in range(5):
        words = inside[i].split()
        words[3] = "changed"
        outside[i] = " ".join(words)
    a, b = ids("a", 40), ids("b", 40)
    found = check_overlap(a, b, near_across(inside, outside))
    assert not found.passed and found.values["nonmembers near a member"] == 5
    task = "You are given a short passage of text. Answer the question about it in one word, without any explanation. "
    template = check_overlap(
        a,
        b,
        near_across([task + t for t in texts(rng, 40)], [task + t for t in texts(rng, 40)]),
    )
    assert (
        template.passed and template.values["5-grams ignored as boilerplate"] == 15
    )  # ends before the records' words


@pytest.mark.parametrize("copies", [1, 10, 12, 150])
def test_copies_dealt_at_random_contaminate_whatever_their_number(copies: int) -> None:
    """A family of more copies than make wording common must not lose all its grams."""
    rng = generator(copies, "dealt")
    kinds = texts(rng, 30, 40)
    pool = [kinds[k] for k in rng.permutation(np.repeat(np.arange(30), copies))]
    half = len(pool) // 2
    check = check_overlap(
        ids("a", half), ids("b", len(pool) - half), near_across(pool[:half], pool[half:])
    )
    assert check.passed is (copies == 1), check.detail
    assert check.values["nonmembers near a member"] == (
        len(pool) - half if copies > 10 else check.values["nonmembers near a member"]
    )


@pytest.mark.parametrize(
    ("asked", "own"),
    [
        ("说说这座城市的历史和那里的博物馆吧", True),
        ("说说历史", False),
        ("tell me of it all", True),
        ("tell me it", False),
    ],
)
def test_a_prompt_is_a_records_own_by_its_amount_of_text_in_any_script(
    asked: str, own: bool
) -> None:
    rng = generator(5, "prompts")
    prompts = [*(f"{text} ?" for text in texts(rng, 20)), asked]
    public = [*(f"{text} ?" for text in texts(rng, 20)), f" {asked.upper()}\u200b "]
    same, near = trained_on(
        prompts,
        [f"{p} {t}" for p, t in zip(prompts, texts(rng, 21, 30), strict=True)],
        public,
        public,
    )
    assert same.tolist() == [False] * 20 + [own] and not near[:20].any()
    check = check_training_overlap(*trained_on(prompts, prompts, public, texts(rng, 21, 30)))
    assert check.passed is not own and check.values["same prompt"] == int(own)
