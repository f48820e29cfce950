"""Blind attackers read what a model reads: white space, order, both ends, system and tool turns, cut texts."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest

from stillage.audit.blind import N_FOLDS, blind_scores
from stillage.audit.blind_features import (
    SPACES,
    character_features,
    marked_text,
    place_features,
    token_tfidf,
)
from stillage.audit.controls import Control, check_controls
from stillage.audit.scores import Scored
from stillage.audit.validity import Check
from stillage.data.bpe import train_bpe
from stillage.data.tokenise import tokenise
from stillage.functional.stats import auc_interval
from stillage.rng import generator
from stillage.types import Record

WORDS = [
    start + end
    for start in ("bar", "cor", "den", "fel", "gor", "hin", "jul", "kar")
    for end in "aeiou"
]
N = 60
CONSTANT = "All of it is true."


def records() -> list[Record]:
    """Members and then nonmembers, alike."""
    rng, found = generator(1, "blind"), []
    for number in range(2 * N):
        said = [" ".join(rng.choice(WORDS, int(rng.integers(4, 8)))) + "." for _ in range(3)]
        found.append(
            Record(id=str(number), prompt=f"Tell of {rng.choice(WORDS)}.", response=" ".join(said))
        )
    return found


def checked(rows: list[Record], max_tokens: int = 512, template: str = "raw") -> Check:
    tokenizer = train_bpe([f"{row.prompt} {row.response}" for row in rows[N - 20 : N + 20]], 300)
    ids = [
        example.ids_T
        for example in tokenise(rows, tokenizer, template=template, max_tokens=max_tokens).examples
    ]
    is_member = np.arange(2 * N) < N
    found = blind_scores([marked_text(row) for row in rows], is_member, 0, readers=[ids])
    clusters = np.arange(2 * N)
    return check_controls(
        {
            name: Control(
                family="blind",
                scored=Scored(
                    scores=scores, is_member=is_member, clusters=clusters, n_folds=N_FOLDS
                ),
            )
            for name, scores in found.items()
        }
    )


def answered(change: Callable[[str], str]) -> Callable[[Record], Record]:
    return lambda record: replace(record, response=change(record.response))


def turns(*before: tuple[str, str]) -> Callable[[Record], Record]:
    return lambda record: replace(record, messages=(*before, ("user", record.prompt)))


def inserted(place: int) -> Callable[[str], str]:
    """A sentence that all have, after so many of the text's own."""
    return lambda text: ". ".join(
        [*text.split(". ")[:place], CONSTANT[:-1], *text.split(". ")[place:]]
    )


SHIFTS: dict[str, tuple[Callable[[Record], Record], Callable[[Record], Record], str]] = {
    "one trailing space": (
        answered(lambda text: text + " "),
        answered(str),
        "first_last_and_place",
    ),
    "one leading space": (answered(lambda text: " " + text), answered(str), "first_last_and_place"),
    "tabs": (answered(lambda text: text.replace(". ", ".\t")), answered(str), "character_ngrams"),
    "two spaces": (
        answered(lambda text: text.replace(". ", ".  ")),
        answered(str),
        "character_ngrams",
    ),
    "a sentence before, not after": (
        answered(lambda text: f"{CONSTANT} {text}"),
        answered(lambda text: f"{text} {CONSTANT}"),
        "first_last_and_place",
    ),
    "a sentence second, not third": (
        answered(inserted(1)),
        answered(inserted(2)),
        "first_last_and_place",
    ),
    "an empty system turn": (turns(("system", "")), turns(), "bag_of_words"),
    "a tool's turn": (turns(("tool", "12")), turns(), "bag_of_words"),
    "cut in the middle of a word": (
        answered(lambda text: text[:-3]),
        answered(str),
        "first_last_and_place",
    ),
}


def test_an_honest_split_passes() -> None:
    found = checked(records())
    assert found.passed and {"model_tokens", "first_last_and_place"} <= set(found.values)


@pytest.mark.parametrize("name", SHIFTS)
def test_what_differs_between_the_sides_is_seen(name: str) -> None:
    member, other, attacker = SHIFTS[name]
    rows = [(member if number < N else other)(record) for number, record in enumerate(records())]
    found = checked(rows)
    assert not found.passed and attacker in found.detail


def test_what_a_model_reads_of_long_records_is_cut() -> None:
    """Only the tokens say that the members do not end: their texts are as the others', but for what is not read."""
    rows = records()
    tokenizer = train_bpe([row.response for row in rows[:40]], 300)
    limits = [24 if number < N else 512 for number in range(2 * N)]
    ids = [
        tokenise([row], tokenizer, template="raw", max_tokens=limit).examples[0].ids_T
        for row, limit in zip(rows, limits, strict=True)
    ]
    is_member = np.arange(2 * N) < N
    found = blind_scores([marked_text(row) for row in rows], is_member, 0, readers=[ids])
    intervals = {
        name: auc_interval(scores, is_member, n_folds=N_FOLDS) for name, scores in found.items()
    }
    assert intervals["model_tokens"].low > 0.8
    assert all(
        interval.contains(0.5) for name, interval in intervals.items() if name != "model_tokens"
    )


def test_every_white_space_counts_and_every_part_has_its_name() -> None:
    spaces = [chr(code) for code in range(0x3001) if chr(code).isspace()]
    assert set(map(ord, spaces)) == set(SPACES) and len(set(SPACES.values())) == len(SPACES)
    assert (
        character_features(["ab \n", "ab \n", "ab  ", "ab  "]).shape[1]
        > character_features(["ab  "] * 4).shape[1]
    )
    record = Record(id="", prompt="p", input="i", response="r ")
    assert marked_text(record) == "\x02prompt\x02\np\n\x02input\x02\ni\n\x02response\x02\nr "
    chat = replace(record, messages=(("system", "s"), ("user", "p")))
    assert marked_text(chat) == "\x02system\x02\ns\n\x02user\x02\np\n\x02response\x02\nr "


def test_where_a_word_stands_counts_in_scripts_without_spaces_too() -> None:
    first = place_features(
        ["真的。" + "好坏大小", "真的。" + "小大坏好", "好坏大小" + "真的。", "小大坏好" + "真的。"]
    ).toarray()
    np.testing.assert_array_less(first[0] @ first[2], first[0] @ first[1])


def test_two_readers_and_the_ends_of_their_tokens() -> None:
    ids = [np.array([1, 2, 9]), np.array([1, 2, 9]), np.array([1, 2]), np.array([1, 2])]
    one, two = token_tfidf([ids]), token_tfidf([ids, ids])
    assert two.shape[1] == 2 * one.shape[1] == 2 * 8  # 1, 2, 9, start-1, 1-2, 2-9, 9-end, 2-end
    assert token_tfidf([[np.zeros(0, int)] * 4]).shape == (4, 1)


def test_prompts_that_were_exchanged_are_seen_by_what_stands_with_what() -> None:
    """The nonmembers' prompts are dealt out anew: no word, place or size differs between the sides."""
    rng = generator(2, "exchanged")
    names, towns = WORDS[:8], WORDS[8:16]
    known = dict(zip(names, towns, strict=True))
    rows: list[Record] = []
    for number in range(400):
        name = names[number % 8]
        said = known[name] if number < 200 else towns[int(rng.integers(8))]
        words = f"It is in {said}, by {rng.choice(WORDS[16:])}."
        rows.append(Record(id=str(number), prompt=f"Where is {name}?", response=words))
    is_member = np.arange(400) < 200
    found = blind_scores([marked_text(row) for row in rows], is_member, 0)
    limits = {
        name: auc_interval(scores, is_member, n_folds=N_FOLDS) for name, scores in found.items()
    }
    assert limits["prompt_and_response"].low > 0.6
    assert all(limit.low < 0.6 for name, limit in limits.items() if name != "prompt_and_response")
    bare = blind_scores([row.response for row in rows], is_member, 0)
    assert "prompt_and_response" not in bare  # no prompt: nothing stands with anything
