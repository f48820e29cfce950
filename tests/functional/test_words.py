"""Texts in one normal form, and their words in any script."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stillage.functional.words import normal_form, words_of


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
    ],
)
def test_what_no_reader_sees_makes_no_other_text(other: str) -> None:
    assert normal_form(other) == "the café"


@given(st.text())
def test_the_normal_form_of_a_normal_form_is_itself(text: str) -> None:
    once = normal_form(text)
    assert normal_form(once) == once


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
