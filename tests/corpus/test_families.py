"""Families of near-copies: those of brute force, of any size, in any script; and no template makes one."""

from __future__ import annotations

import unicodedata
from collections import Counter
from itertools import combinations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stillage.corpus.families import CONTAINMENT, JACCARD, LEAST_SHARED, SHORT_WHOLE, families
from stillage.corpus.grams import cut_grams, grams
from stillage.corpus.near_copies import common_limit
from stillage.rng import generator

WORDS = st.lists(st.sampled_from("abcdefgh"), max_size=14).map(" ".join)
VOCABULARY = [f"w{k}" for k in range(4000)]
SCRIPTS = {
    "latin": [chr(c) for c in range(ord("a"), ord("z") + 1)],
    "russian": [chr(c) for c in range(0x430, 0x44A)],
    "arabic": [chr(c) for c in range(0x628, 0x63B)],
    "chinese": [chr(c) for c in range(0x4E00, 0x5200)],
    "thai": [chr(c) for c in range(0xE01, 0xE2E)],
}


def near(one: str, two: str) -> bool:
    """The definition, from the sets themselves."""
    a, b = grams(one), grams(two)
    both = len(a & b)
    few = min(len(a), len(b))
    contained = both >= LEAST_SHARED and both >= CONTAINMENT * few
    contained |= both == few and few >= SHORT_WHOLE
    return one == two or (both > 0 and (both >= JACCARD * len(a | b) or contained))


def components(texts: list[str]) -> list[list[int]]:
    """Families by brute force over all pairs, where no gram is a template's."""
    group = list(range(len(texts)))
    for i, j in combinations(range(len(texts)), 2):
        if group[i] != group[j] and near(texts[i], texts[j]):
            group = [group[i] if one == group[j] else one for one in group]
    return sorted([i for i, one in enumerate(group) if one == name] for name in set(group))


def found(texts: list[str]) -> list[list[int]]:
    numbers = families(texts, common_limit(len(texts))).number_N.tolist()
    assert list(dict.fromkeys(numbers)) == list(
        range(len(set(numbers)))
    )  # numbered by their first texts
    groups: dict[int, list[int]] = {}
    for place, number in enumerate(numbers):
        groups.setdefault(number, []).append(place)
    return sorted(groups.values())


def source(rng: np.random.Generator, words: int = 60) -> list[str]:
    return rng.choice(VOCABULARY, words).tolist()


def edited(words: list[str], rng: np.random.Generator, changes: int = 1) -> str:
    """The text with some words changed for new ones, at random places."""
    changed = list(words)
    for place in rng.choice(len(words), changes, replace=False):
        changed[place] = f"new{rng.integers(10**9)}"
    return " ".join(changed)


def written(script: str, words: int, rng: np.random.Generator) -> str:
    """Random text of about six characters a word, with the spaces of the script."""
    between = "" if script in ("chinese", "thai") else " "
    return between.join("".join(rng.choice(SCRIPTS[script], 6)) for _ in range(words))


@settings(max_examples=150, deadline=None)
@given(st.lists(WORDS, max_size=10))
def test_few_texts_have_the_families_of_brute_force(texts: list[str]) -> None:
    assert found(texts) == components(texts)


@settings(max_examples=12, deadline=None)
@given(
    st.lists(st.sampled_from([1, 2, 11, 12, 60]), min_size=2, max_size=3),
    st.integers(0, 4),
    st.integers(0, 99),
)
def test_families_of_any_size_are_those_of_brute_force(
    sizes: list[int], changes: int, seed: int
) -> None:
    rng = generator(seed, "families")
    texts = [
        edited(words, rng, changes)
        for size in sizes
        for words in [source(rng)]
        for _ in range(size)
    ]
    rng.shuffle(texts)
    assert found(texts) == components(texts)


@pytest.mark.parametrize("copies", [2, 10, 11, 12, 150])
def test_exact_copies_are_one_family_whatever_their_number(copies: int) -> None:
    rng = generator(copies, "copies")
    texts = [" ".join(source(rng)) for _ in range(20)] * copies
    numbers = families(texts, common_limit(len(texts))).number_N
    assert numbers.tolist() == list(range(20)) * copies


def test_a_template_is_no_family_and_leaves_the_families_that_use_it() -> None:
    rng = generator(1, "template")
    prompt = source(rng, 120)
    alone = [" ".join([*prompt, *source(rng, 30)]) for _ in range(40)]
    kin = [
        " ".join([*prompt, edited(words, rng)])
        for words in [source(rng, 40) for _ in range(12)]
        for _ in range(30)
    ]
    told = families([*alone, *kin], common_limit(400))
    assert np.unique(told.number_N[:40]).size == 40
    assert sorted(Counter(told.number_N[40:].tolist()).values()) == [30] * 12
    assert told.n_template == 116  # the prompt's own, and none of what stands beside it
    task = source(rng, 60)  # one of many tasks, with short inputs
    tasks = [" ".join([*task, *source(rng, 9)]) for _ in range(110)] + [
        " ".join(source(rng)) for _ in range(2500)
    ]
    assert np.unique(families(tasks, common_limit(len(tasks))).number_N).size == len(tasks)
    slots = [
        f"what is the capital of {a} ? it is {b}"
        for a, b in rng.choice(VOCABULARY, (60, 2), replace=False).tolist()
    ]
    assert np.unique(families(slots, 10).number_N).size == 60


def test_copies_of_which_a_few_have_much_of_their_own_hide_nobody() -> None:
    rng = generator(2, "mixed")
    words = source(rng)
    texts = [edited(words, rng) for _ in range(100)] + [
        " ".join([*words, *source(rng, 40)]) for _ in range(12)
    ]
    assert np.unique(families(texts, common_limit(112)).number_N).size == 1


@pytest.mark.parametrize("script", SCRIPTS)
def test_one_form_and_a_changed_character_in_any_script(script: str) -> None:
    rng = generator(3, script)
    texts = [written(script, 20, rng) for _ in range(40)]
    assert np.unique(families(texts, 10).number_N).size == 40
    changed = list(texts[0])
    place = next(
        i for i in range(50, len(changed)) if changed[i] != " "
    )  # in the middle of about 130 characters
    changed[place] = next(one for one in SCRIPTS[script] if one != changed[place])
    faces = [
        "".join(changed),
        texts[0].upper(),
        texts[0].replace(texts[0][7:9], texts[0][7:9] + "\u200b", 1),
        f"  {texts[0]} ",
        unicodedata.normalize("NFD", texts[0]),
        texts[0][: len(texts[0]) // 2],
    ]
    numbers = families([*texts, *faces], 10).number_N
    assert numbers.tolist() == [*range(40), *[0] * len(faces)]


def test_partial_copies_are_found_and_other_texts_are_not() -> None:
    rng = generator(4, "partial")
    sources = [source(rng) for _ in range(30)]
    half = [" ".join(words[:30]) for words in sources]
    inside = [" ".join([*source(rng, 80), *words, *source(rng, 80)]) for words in sources]
    tenth = [
        " ".join("new" if i % 10 == 4 else word for i, word in enumerate(words))
        for words in sources
    ]
    for copies in (half, inside, tenth):
        texts = [*map(" ".join, sources), *copies]
        assert families(texts, common_limit(60)).number_N.tolist() == [*range(30), *range(30)]


@pytest.mark.parametrize(("held", "words", "own"), [(11, 60, 60), (30, 60, 300), (100, 15, 15)])
def test_a_text_that_many_others_quote_whole_is_no_template(
    held: int, words: int, own: int
) -> None:
    rng = generator(held, "quoted")
    texts = [source(rng, words) for _ in range(5)]
    quoters = [
        " ".join([*source(rng, own - own // (2 + i)), *text, *source(rng, own // (2 + i))])
        for i, text in enumerate(texts)
        for _ in range(held)
    ]
    copies = [edited(text, rng) for text in texts]
    others = [" ".join(source(rng)) for _ in range(25 * held)]
    pool = [*map(" ".join, texts), *quoters, *copies, *others]
    numbers = families(pool, common_limit(len(pool))).number_N
    assert numbers[5 : 5 + 5 * held].tolist() == np.repeat(np.arange(5), held).tolist()
    assert np.unique(numbers).size == 5 + len(others)
    if words == 60:
        assert numbers[5 + 5 * held :][:5].tolist() == [*range(5)]


def test_a_text_at_the_start_of_a_dozen_others_is_quoted_too() -> None:
    rng = generator(8, "first")
    text = source(rng)
    pool = [" ".join(text), *(" ".join([*text, *source(rng)]) for _ in range(12))]
    pool += [" ".join(source(rng)) for _ in range(300)]
    assert np.unique(families(pool, common_limit(len(pool))).number_N).size == 301


@pytest.mark.parametrize("shape", ["before", "short after", "slots", "everywhere"])
def test_the_wording_of_a_task_alone_as_a_record_glues_no_task_together(shape: str) -> None:
    rng = generator(7, "alone", shape)
    wording = source(rng, 9 if shape == "short after" else 60)
    filled = {
        "before": lambda: [*wording, *source(rng, 30)],
        "short after": lambda: [*source(rng, 30), *wording],
        "slots": lambda: [
            *wording[:20],
            *source(rng, 15),
            *wording[20:40],
            *source(rng, 15),
            *wording[40:],
        ],
        "everywhere": lambda: [*source(rng, 30), *wording],
    }[shape]
    others = [" ".join(source(rng)) for _ in range(0 if shape == "everywhere" else 900)]
    pool = [" ".join(wording), *(" ".join(filled()) for _ in range(100)), *others]
    assert np.unique(families(pool, common_limit(len(pool))).number_N).size == len(pool)


@pytest.mark.parametrize(("words", "seen"), [(4, False), (5, False), (6, True), (7, True)])
def test_short_texts_are_found_where_all_their_words_are(words: int, seen: bool) -> None:
    rng = generator(words, "short")
    texts = [source(rng, words) for _ in range(40)]
    inside = [" ".join([*source(rng, 10), *text, *source(rng, 10)]) for text in texts]
    numbers = families([*map(" ".join, texts), *inside], 10).number_N
    assert (numbers[:40] == numbers[40:]).all() == seen
    assert np.unique(numbers).size == (40 if seen else 80)


def test_grams_are_numbered_as_sets_of_words_and_own_words_are_counted() -> None:
    texts = ["a b c d e f g", "A b, c d e", "x y", "", "a b c d e a b c d e"]
    told = cut_grams(texts)
    assert told.matrix.getnnz(axis=1).tolist() == [len(grams(text)) for text in texts]
    assert (told.matrix @ told.matrix.T)[0, 1] == 1 and (told.matrix @ told.matrix.T)[0, 4] == 1
    shared = told.matrix.getnnz(axis=0) > 1
    own, longest = told.own_words(shared)
    assert own.tolist() == [2, 0, 2, 0, 0] and longest.tolist() == [2, 0, 2, 0, 0]
    assert families([], 10).number_N.size == 0 and families(["", "-"], 10).number_N.tolist() == [
        0,
        1,
    ]
