"""What two sets have in common, by the complaints of those who compared with other tools."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stillage.corpus import in_common
from stillage.corpus.compared import Document, Tokens, Words
from stillage.corpus.grams import grams
from stillage.corpus.in_common import NONE, InCommon, SideFindings, compare_sets
from stillage.corpus.near_copies import near_across
from stillage.corpus.overlap_tables import (
    dropped,
    overlap_table,
    read_drop_rule,
    side_counts,
    verdicts,
)
from stillage.errors import ConfigError, DataError
from stillage.functional.words import compared_form, words_of


def words(name: str, count: int) -> str:
    return " ".join(f"{name}{number}" for number in range(count))


def documents(contents: list[str], name: str = "f") -> list[Document]:
    return [
        Document(content=content, source=name, line=line)
        for line, content in enumerate(contents, start=1)
    ]


def compared(a: list[str], b: list[str], piece: int = 8) -> InCommon:
    return compare_sets(documents(a, "a"), documents(b, "b"), units=Words(), piece=piece)


def said(common: InCommon, side: int) -> list[str]:
    return verdicts(common.sides[side], common.piece).tolist()


QUESTION = "Which of the five rivers of the underworld did Charon cross with the dead?"


def test_a_short_item_in_a_long_document_is_found_on_both_sides() -> None:
    a, b = compared(
        [words("x", 900), f"{words('y', 500)} {QUESTION} {words('z', 500)}"], [QUESTION]
    ).sides
    assert (b.longest_D.tolist(), b.other_D.tolist(), b.other_start_D.tolist()) == (
        [14],
        [1],
        [500],
    )
    assert (a.longest_D.tolist(), a.covered_D.tolist(), a.words_D.tolist()) == (
        [0, 14],
        [0, 14],
        [900, 1014],
    )
    assert (a.other_D.tolist(), a.start_D.tolist()) == ([-1, 0], [0, 500])
    assert a.near_D.tolist() == [-1, 0] and b.near_D.tolist() == [1]


def test_a_piece_of_a_long_item_is_found() -> None:
    item = f"{words('p', 400)} {words('shared', 20)} {words('q', 400)}"
    common = compared([words("x", 90), f"before {words('shared', 20)} after it"], [item])
    found = common.sides[1]
    assert (found.longest_D[0], found.start_D[0], found.covered_D[0], found.other_D[0]) == (
        20,
        400,
        20,
        1,
    )
    assert common.shared_piece(1, 0) == words("shared", 20) == common.shared_piece(0, 1)


def test_a_text_in_short_lines_is_found() -> None:
    lines = (
        QUESTION.replace(" of ", " of\n")
        .replace(" did ", "  \r\n did ")
        .replace("underworld", "under-\nworld")
    )
    common = compared([f"{words('x', 50)}\n{lines}\n{words('y', 50)}"], [QUESTION])
    assert common.sides[1].longest_D[0] == 14


def test_items_too_short_to_judge_are_no_clean_ones_and_empty_ones_no_copies() -> None:
    common = compared(
        [words("x", 50), "", " \n", "\u200b"], ["x3 x4 x5", "never seen", "", words("w", 9)]
    )
    assert said(common, 1) == ["too short to judge", "too short to judge", "empty", "no such piece"]
    assert said(common, 0)[1:] == ["empty"] * 3
    assert common.sides[1].longest_D.tolist() == [3, 0, 0, 0]
    assert all((one.exact_D == NONE).all() and (one.near_D == NONE).all() for one in common.sides)


def test_short_texts_are_compared_whole() -> None:
    common = compared(["dog", "Cat!"], ["cat", "bird", "CAT!"])
    assert common.sides[1].exact_D.tolist() == [-1, -1, 1]  # "cat" and "Cat!" are near: same words
    assert common.sides[1].near_D.tolist() == [1, -1, 1]
    assert said(common, 1) == ["near-duplicate", "too short to judge", "exact copy"]


@pytest.mark.parametrize(
    "written",
    [
        QUESTION.upper(),
        QUESTION.replace("r", "r\u200b"),
        "".join(chr(ord(one) + 0xFEE0) if one.isalpha() else one for one in QUESTION),
        QUESTION.replace(" ", "\n"),
        QUESTION.replace("five", "fi\u00adve"),
    ],
)
def test_normal_forms_are_exact_copies(written: str) -> None:
    common = compared([words("x", 20), written], [QUESTION])
    assert common.sides[1].exact_D.tolist() == [1] and common.sides[0].exact_D.tolist() == [-1, 0]


def test_the_first_of_several_copies_is_named() -> None:
    common = compared(["other words", QUESTION, QUESTION, "more"], [QUESTION, QUESTION])
    assert common.sides[1].exact_D.tolist() == [1, 1]
    assert common.sides[0].exact_D.tolist() == [-1, 0, 0, -1]


@pytest.mark.parametrize(
    ("text", "count"),
    [
        ("我们明天早上去北京看望住在那里的老朋友", 19),
        ("ฉันจะไปเยี่ยมเพื่อนเก่าที่เชียงใหม่พรุ่งนี้เช้า", None),
        ("Κάθε πρωί ο γέρος ψαράς κατεβαίνει στο λιμάνι με το καλάθι του", 12),
    ],
)
def test_scripts_with_and_without_spaces(text: str, count: int | None) -> None:
    long = f"{'天地玄黄宇宙洪荒' * 3}。{text}，{words('x', 30)}"
    common = compared([words("y", 40), long], [text])
    size = len(words_of(text)) if count is None else count
    found = common.sides[1]
    assert found.longest_D.tolist() == found.words_D.tolist() == [size]
    assert found.near_D.tolist() == [1]


def test_nothing_in_common_says_what_was_compared() -> None:
    common = compared(
        [words(f"a{n}x", 20) for n in range(12)], [words(f"b{n}x", 20) for n in range(5)]
    )
    for side, count in ((0, 12), (1, 5)):
        counts = side_counts(common, side)
        assert counts["documents"] == count == counts["no such piece"] and counts["covered"] == 0
        table = overlap_table(common, side)
        assert table.num_rows == count and table["other_source"].null_count == count


@pytest.mark.parametrize(("a", "b", "name"), [([], ["x"], "A"), (["x"], [], "B"), ([], [], "A")])
def test_a_side_without_documents_is_named(a: list[str], b: list[str], name: str) -> None:
    with pytest.raises(DataError, match=f"^{name}, the .* holds no document"):
        compared(a, b)


def test_a_piece_of_nothing_is_refused() -> None:
    with pytest.raises(ConfigError, match="no words"):
        compared(["x"], ["y"], piece=0)


alphabet = st.sampled_from("ab AB cd\n")
texts = st.lists(st.text(alphabet, max_size=14), min_size=1, max_size=6)


def columns(found: SideFindings) -> list[list[object]]:
    return [
        getattr(found, name).tolist()
        for name in (
            "words_D",
            "longest_D",
            "start_D",
            "other_D",
            "other_start_D",
            "covered_D",
            "exact_D",
            "near_D",
            "is_empty_D",
        )
    ]


@settings(max_examples=80, deadline=None)
@given(a=texts, b=texts, batch=st.integers(1, 5))
def test_neither_the_sides_nor_the_batches_decide_anything(
    a: list[str], b: list[str], batch: int
) -> None:
    one = compared(a, b, piece=2)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(in_common, "BATCH_DOCUMENTS", batch)
        two = compared(b, a, piece=2)
    assert columns(one.sides[0]) == columns(two.sides[1])
    assert columns(one.sides[1]) == columns(two.sides[0])


@settings(max_examples=80, deadline=None)
@given(a=texts, b=texts)
def test_copies_equal_a_comparison_of_every_pair(a: list[str], b: list[str]) -> None:
    forms = [[compared_form(text) for text in side] for side in (a, b)]
    found = compared(a, b, piece=2).sides
    for side in (0, 1):
        first = [
            forms[1 - side].index(one) if one and one in forms[1 - side] else -1
            for one in forms[side]
        ]
        assert found[side].exact_D.tolist() == first


def test_near_copies_are_those_of_an_audit_among_documents_that_share_grams() -> None:
    rng = np.random.default_rng(0)
    vocabulary = [f"w{number}" for number in range(400)]
    a = [" ".join(rng.choice(vocabulary, rng.integers(5, 60))) for _ in range(60)]
    b = [" ".join(rng.choice(vocabulary, rng.integers(5, 60))) for _ in range(20)]
    for number in range(0, 20, 2):  # a copy with some words changed, some within other words
        copy = a[number].split()
        for place in rng.choice(len(copy), max(1, len(copy) // 12), replace=False):
            copy[place] = "changed"
        b[number] = " ".join(copy if number % 4 else [*copy, *rng.choice(vocabulary, 30)])
    found = compared(a, b).sides
    across = near_across(a, b)
    assert across.right_N.sum() >= 7
    assert (found[1].near_D != NONE).tolist() == across.right_N.tolist()
    assert (found[0].near_D != NONE).tolist() == across.left_N.tolist()
    for number, near in enumerate(found[1].near_D.tolist()):
        assert near == NONE or grams(a[near]) & grams(b[number])


def test_tokens_of_any_id() -> None:
    top = 2**32 - 1
    a = [np.array([5, 6, top, 0, 7, 8], "<u4"), np.zeros(0, "<u4")]
    b = [
        np.array([9, 6, top, 0, 7, 1], "<u4"),
        np.array([5, 6, top, 0, 7, 8], "<u4"),
        np.zeros(0, "<u4"),
    ]
    sides = [[Document(content=ids, source="s", line=1) for ids in side] for side in (a, b)]
    common = compare_sets(*sides, units=Tokens(), piece=4)
    found = common.sides[1]
    assert found.longest_D.tolist() == [4, 6, 0] and found.exact_D.tolist() == [-1, 0, -1]
    assert common.shared_piece(1, 0) == f"6 {top} 0 7" and common.unit == "tokens"
    assert said(common, 1)[2] == said(common, 0)[1] == "empty"


def test_rules_drop_what_they_say_and_name_the_document() -> None:
    near = QUESTION.replace("five", "seven").replace("dead", "souls of the dead")
    b = [
        QUESTION.lower(),
        near,
        f"{words('p', 60)} {words('shared', 15)}",
        words("clean", 20),
        "short one",
        "",
    ]
    common = compared([words("x", 30), f"{words('q', 60)} {words('shared', 15)}", QUESTION], b)
    why, other = {}, {}
    for rule in (["exact"], ["near"], ["piece:15"], ["piece:16"], ["near", "piece:13"]):
        why["+".join(rule)], found = dropped(common.sides[1], read_drop_rule(rule), common.unit)
        other["+".join(rule)] = found.tolist()
    assert why["exact"] == ["exact copy", "", "", "", "", ""]
    assert why["near"] == ["exact copy", "near-duplicate", "", "", "", ""]
    assert why["piece:15"] == ["exact copy", "", "shares 15 words", "", "", ""]
    assert why["piece:16"] == why["exact"]
    assert other["near+piece:13"] == [2, 2, 1, -1, -1, -1]


@pytest.mark.parametrize("rule", [["nearly"], ["piece"], ["piece:0"], ["piece:x"], ["exact:3"], []])
def test_unknown_rules_are_refused(rule: list[str]) -> None:
    with pytest.raises(ConfigError):
        read_drop_rule(rule)


def test_an_item_of_many_documents_has_one_row() -> None:
    common = compared(
        [f"{words(f'a{n}', 5)} {QUESTION}" for n in range(30)], [QUESTION, words("x", 9)]
    )
    table = overlap_table(common, 1, show_text=True)
    assert table.num_rows == 2 and table["other_line"].to_pylist() == [1, None]
    assert table["piece"].to_pylist() == [" ".join(words_of(QUESTION)), None]
    lines = overlap_table(common, 0)["other_line"].to_pylist()
    assert lines == list(itertools.repeat(1, 30))


def test_a_piece_that_no_number_of_the_machine_holds_is_not_shared() -> None:
    common = compared([QUESTION], [QUESTION], piece=10**30)
    assert common.sides[1].longest_D.tolist() == [14] and common.sides[1].covered_D.tolist() == [0]
