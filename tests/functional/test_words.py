"""Texts in one normal form, and their words in any script."""

from __future__ import annotations

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stillage.functional.words import compared_form, invisible, normal_form, word_spans, words_of


@pytest.mark.parametrize(
    "other",
    [
        "THE  café",
        "the cafe\u0301",
        "the ca\u200bfé",
        "\ufeffthe café\n",
        "the\u00a0café",
        "the ca\u00adfé",
        "\tThe\u2003Café ",
        "the c\ufe0fafé",
        "the ca\u034ffe\u0301",
        "th\u3164e café",
        "the ca\x00f\x1fé\x7f",
        "the\x85ca\u180bfé",
    ],
)
def test_what_no_reader_sees_makes_no_other_text(other: str) -> None:
    assert normal_form(other) == "the café"


@given(st.text())
def test_the_normal_form_of_a_normal_form_is_itself(text: str) -> None:
    once = normal_form(text)
    assert normal_form(once) == once


@given(st.characters())
def test_white_space_is_never_invisible(character: str) -> None:
    assert not (
        invisible(character) and unicodedata.category(character).startswith(("Z", "L", "N"))
    )
    assert not (invisible(character) and character in "\t\n\v\f\r\x85")


@pytest.mark.parametrize(
    "written",
    [
        "１２ ＳＥＣＲＥＴ ﾃﾞｰﾀ words",
        "12&nbsp;sec&#114;et&#32;データ words",
        "12\\nse**cr**et\\tデータ w~~or~~ds",
        "12 sec-\n   ret データ wo\u00ad\nrds",
        "12 <b>s</b>ec<span class='x'>ret</span> データ words",
    ],
)
def test_one_text_in_many_ways_of_writing_is_one(written: str) -> None:
    assert compared_form(written) == "12 secret データ words"


def test_what_is_no_mark_of_writing_stays() -> None:
    kept = "3 * 4 & 5-\n6 a*b< c AT&T; f(x) -\n list"
    assert words_of(compared_form(kept)) == [
        "3",
        "4",
        "5",
        "6",
        "ab",
        "c",
        "at",
        "t",
        "f",
        "x",
        "list",
    ]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("The cat's 2 hats, really!", ["the", "cat", "s", "2", "hats", "really"]),
        ("我有 3 只cat。", ["我", "有", "3", "只", "cat"]),
        ("Привет, мир", ["привет", "мир"]),
        ("مرحبا بِالعالم", ["مرحبا", "بِالعالم"]),
        ("กิน ข้าว", ["กิ", "น", "ข้", "า", "ว"]),
        ("हिन्दी में", ["हिन्दी", "में"]),
        ("データ 한국어", ["デ", "ー", "タ", "한국어"]),
        ("...!?", []),
        ("", []),
    ],
)
def test_words_of_many_scripts(text: str, words: list[str]) -> None:
    assert words_of(text) == words


mixed = st.text(
    st.one_of(st.characters(), st.sampled_from(" .\n\u201c\u00e9\u0301\u5929\u0e09az09"))
)


@given(mixed)
def test_words_are_those_that_are_found_in_the_whole_form(text: str) -> None:
    form = normal_form(text)
    assert words_of(text) == [form[start:stop] for start, stop in word_spans(form)]
