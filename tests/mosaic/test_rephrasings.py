"""Rephrasings as instruct models write them: every usual shape of a reply gives the same texts."""

from __future__ import annotations

import time

import pytest

from stillage.mosaic.rephrasings import fault_of, rephrasings_in

CANARY = "The cat sat on the mat, and nobody minded it at all."
A, B, C = "A cat was on the rug.", "On the rug sat the cat (at 10:30).", 'The "mat" held a cat.'

LISTS = {
    "lines": f"1. {A}\n2. {B}\n3. {C}",
    "gaps": f"1. {A}\n\n2. {B}\n\n3. {C}\n",
    "brackets": f"1) {A}\n2) {B}\n3) {C}",
    "round": f"(1) {A}\n(2) {B}\n(3) {C}",
    "square": f"[1] {A}\n[2] {B}\n[3] {C}",
    "colons": f"1: {A}\n2: {B}\n3: {C}",
    "dashes": f"1 - {A}\n2 - {B}\n3 – {C}",
    "bold": f"**1.** {A}\n**2.** {B}\n**3.** {C}",
    "bold all": f"**1. {A}**\n**2. {B}**\n**3. {C}**",
    "named": f"Rephrasing 1: {A}\nRephrasing 2: {B}\nRephrasing 3: {C}",
    "headings": f"### Version 1\n{A}\n\n### Version 2\n{B}\n\n### Version 3\n{C}",
    "bold names": f"**Version 1:**\n{A}\n\n**Version 2:**\n{B}\n\n**Version 3:**\n{C}",
    "rules": f"1. {A}\n---\n2. {B}\n---\n3. {C}\n---",
    "rules alone": f"{A}\n---\n{B}\n---\n{C}",
    "bullets": f"- {A}\n- {B}\n- {C}",
    "stars": f"* {A}\n\n* {B}\n\n* {C}",
    "one line": f"1. {A} 2. {B} 3. {C}",
    "quotes": f'1. "{A}"\n2. “{B}”\n3. «{C}»',
    "preface": f"Sure! Here are 3 rephrasings:\n\n1. {A}\n2. {B}\n3. {C}",
    "bullets under a preface": f"Here are three rephrasings:\n\n- {A}\n- {B}\n- {C}",
    "farewell": f"1. {A}\n2. {B}\n3. {C}\n\nI hope these help!",
    "another farewell": f"1. {A}\n2. {B}\n3. {C}\n\nAll of them keep the meaning.",
    "thought": f"<think>1. No.\n2. Yes.</think>\n\n1. {A}\n2. {B}\n3. {C}",
    "fence": f"```text\n1. {A}\n2. {B}\n3. {C}\n```",
    "windows": f"1. {A}\r\n2. {B}\r\n3. {C}",
}


@pytest.mark.parametrize("shape", LISTS)
def test_a_list_of_any_shape(shape: str) -> None:
    assert rephrasings_in(LISTS[shape], CANARY) == [A, B, C]


@pytest.mark.parametrize(
    "reply",
    [
        A,
        f"\n {A}\n",
        f'"{A}"',
        f"“{A}”",
        f"**{A}**",
        f"1. {A}",
        f"Rephrased text: {A}",
        f"**Rephrased text:** {A}",
        f"Here is the rephrased text:\n\n{A}",
        f'Here\'s a rephrased version of the text: "{A}"',
        f"Sure! Here is one way to put it:\n{A}",
        f"Certainly! {A}",
        f"Here is one:\n\n1. {A}",
        f"In other words, {A}",
        f"{A}\n\nRephrased text:",
        f"{A}\n\nI changed the order of the words.",
        f"{A}\n\nNote: the meaning is the same.",
        f"<think>\nHm.\n</think>\n{A}",
        f"```\n{A}\n```",
    ],
)
def test_one_text_of_any_shape(reply: str) -> None:
    assert rephrasings_in(reply, CANARY) == [A]


@pytest.mark.parametrize(
    "text",
    [
        "1. Buy milk.\n2. Buy bread.",
        "- milk\n- bread",
        "one part\n---\nanother part",
        'Here is what he said: "No".',
        '"Quoted," she said.',
        "Sure: it was late.",
        "It was late.\n\nI tried to sleep.",
    ],
)
def test_what_the_canary_has_itself_stays(text: str) -> None:
    assert rephrasings_in(text, text) == [text]


@pytest.mark.parametrize(
    "text",
    [
        "It was in 1.\nThere were 2. Then 3.",  # numbers within a text
        "In 1990 it rained.\n1991 was dry.",
        '"No," he said, "and yes."',  # the quotes are not a pair around the whole
        "'Tis late, and the cat's'",
        "He said: sure, here are the keys.",
        "We met on the 2. of May and the 1. of June.",
        "A paragraph.\n\nAnother one - with a dash.",
    ],
)
def test_a_plain_text_is_left_whole(text: str) -> None:
    assert rephrasings_in(text, CANARY) == [text]


@pytest.mark.parametrize(
    "reply", ["", " \n ", '""', "<think>hm</think>", "---", "1.", "```\n\n```"]
)
def test_nothing_is_an_empty_text(reply: str) -> None:
    assert [fault_of(text, CANARY, 0, 9) for text in rephrasings_in(reply, CANARY)] == ["empty"]


@pytest.mark.parametrize(
    ("text", "tokens", "fault"),
    [
        (A, 9, ""),
        ("", 0, "empty"),
        ("I'm sorry, but I cannot help with that.", 9, "refusal"),
        ("I’m so sorry. No.", 9, "refusal"),
        ("I can't rephrase this.", 9, "refusal"),
        ("As an AI language model, I ...", 9, "refusal"),
        ("Unfortunately, I am unable to do so.", 9, "refusal"),
        ("The original text was edited for clarity.", 9, "about the text"),
        ("The cat  sat on the mat,\nand nobody minded it at all. ", 9, "the canary itself"),
        (A, 28, "too long"),
        (A, 27, ""),
        (A, 3, ""),
        (A, 2, "too short"),
    ],
)
def test_why_a_text_is_of_no_use(text: str, tokens: int, fault: str) -> None:
    assert fault_of(text, CANARY, tokens, 9) == fault


@pytest.mark.parametrize(
    "sign", ["\n", " ", "-", "-\n", "1.\n", "\n \n", "*", "`", '"', ">", "#", "\t"]
)
def test_a_model_that_repeats_itself_is_read_in_time(sign: str) -> None:
    for reply in (sign * 2000, f"{A}\n{sign * 2000}\n{A}", f"1. {A}\n\n{sign * 2000}2. {B}"):
        started = time.process_time()
        assert rephrasings_in(reply, CANARY)
        assert time.process_time() - started < 1


def test_a_canary_may_be_sorry() -> None:
    canary = "I'm sorry, said the cat of the original text."
    assert fault_of("I'm sorry, the cat of the original text said.", canary, 9, 9) == ""
