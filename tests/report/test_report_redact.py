"""Free texts lose what only protected records have: runs of characters, and every piece that identifies somebody."""

from __future__ import annotations

import itertools
import json
import re
import unicodedata
from collections.abc import Callable

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from stillage.functional.words import normal_form, words_of
from stillage.report.pieces import (
    DIGITS,
    WINDOW,
    close_codes,
    is_code,
    pieces_in,
    rests_of,
    runs_in,
    runs_of,
    short_names,
    spans_of,
)
from stillage.report.redact import Redactor, folded, redactor

MASK = "████"


def records(*rows: tuple[str, str], meta: dict[str, str] | None = None) -> pa.Table:
    names = ("id", "part", "prompt", "input", "response", "messages", "source", "meta")
    return pa.Table.from_pylist(
        [
            dict(
                zip(
                    names,
                    (f"{i:016x}", part, "", "", text, "[]", "", json.dumps(meta or {})),
                    strict=True,
                )
            )
            for i, (part, text) in enumerate(rows)
        ]
    )


def pieces_of(text: str) -> set[str]:
    form = normal_form(text)
    tokens = {re.sub(r"[\W_]", "", token) for token in form.split()}
    found = {piece for piece, _ in spans_of(form) if len(piece) > 2}
    apart = (
        {piece for piece in found if piece.isalnum() and is_code(piece)}
        - close_codes(form)
        - tokens
    )
    return found - apart | {piece for piece, _ in runs_of(form)}


def windows(text: str) -> set[str]:
    form = normal_form(text)
    return {form[i : i + WINDOW] for i in range(len(form) - WINDOW + 1)}


def linked_runs(text: str, length: int, is_part: Callable[[str], bool], barrier: str) -> set[str]:
    """Runs of such characters, with at most three others between two of them and no barrier."""
    form, found = normal_form(text), set[str]()
    places = [place for place, one in enumerate(form) if is_part(one)]
    for start in range(len(places) - length + 1):
        run = places[start : start + length]
        gaps = [form[one + 1 : other] for one, other in itertools.pairwise(run)]
        if all(len(gap) <= 3 and not re.search(barrier, gap) for gap in gaps):
            found.add("".join(form[place] for place in run))
    return found


def is_digit(one: str) -> bool:
    return one.isalnum() and unicodedata.digit(one, None) is not None


def all_runs(text: str) -> set[str]:
    """Brute force over what `runs_in` hashes."""
    digits = {
        "#" + "".join(str(unicodedata.digit(one)) for one in run)
        for run in linked_runs(text, DIGITS, is_digit, r"[^\W_]|\0")
    }
    spelled = {f"@{run}" for run in linked_runs(text, WINDOW, str.isalnum, r"\0")}
    return windows(text) | spelled | digits


@given(st.text(max_size=60), st.text(max_size=60), st.text(max_size=60))
@example(private="Jo Ng 078-051120", public="", shown="no, jo: 078,05,1120")
@example(private="Castell", public="castells", shown="Castells")
@example(private="00000A000", public="", shown="000\r0")
@example(private="abc, de-fg", public="", shown="abc-")
@example(private="xxxx A1:2B 3C", public="", shown="")
def test_no_private_run_survives_and_nothing_else_is_touched(
    private: str, public: str, shown: str
) -> None:
    """Against brute force over sets of substrings and pieces; the shown text mixes all three."""
    text = shown[:20] + private[5:40] + shown[20:] + public
    hide = redactor(records(("private", private), ("public", public)), [text])
    secret = all_runs(private) - all_runs(public)
    kept = hide(text)
    assert not all_runs(kept) & secret
    form = normal_form(public)
    pieces = pieces_of(private) - pieces_in(form, pieces_of(text), pieces_of(private))
    assert not pieces & pieces_of(kept.replace(MASK, f" {MASK} "))
    has_field = len(normal_form(private)) < WINDOW and normal_form(private) in normal_form(text)
    words = set(words_of(text))
    has_part = any(part in word for part in words_of(private) if len(part) >= 5 for word in words)
    names = words & short_names([private])
    close = re.sub(r"[\W_]", "", normal_form(private))
    codes = {code for piece in pieces_of(text) if is_code(code := re.sub(r"[\W_]", "", piece))}
    has_code = any(code in close for code in codes)
    spelled = {re.sub(r"[\W_]", "", token) for token in normal_form(private).split()}
    has_run = any(run in normal_form(private) for run, _ in runs_of(normal_form(text)))
    if not (
        all_runs(text) & secret
        or pieces & pieces_of(text)
        or has_field
        or has_part
        or names
        or has_code
        or spelled & pieces_of(text)
        or pieces & {piece for piece, _ in rests_of(normal_form(text))}
        or has_run
    ):
        assert kept == text


@given(st.text(max_size=80))
def test_every_character_of_the_normal_form_has_its_place(text: str) -> None:
    shown, form, origin = folded(text)
    assert form == normal_form(text) and len(origin) == len(form)
    assert list(origin) == sorted(origin) and all(0 <= place < len(shown) for place in origin)
    assert all(
        piece in (form[start:end], re.sub(r"[\W_]", "", form[start:end]))
        for piece, (start, end) in spans_of(form)
        if not piece.startswith("#")
    )


@given(st.text(max_size=80), st.text(alphabet="ab1-. '漢字", max_size=40))
@example(text="00\x1b\x00", close="")
def test_a_long_text_has_the_pieces_that_its_places_have(text: str, close: str) -> None:
    form = normal_form(f"{text} {close}")
    pieces = {piece for piece, _ in spans_of(form)}
    codes = {piece for piece in pieces if is_code(piece)}
    assert pieces <= pieces_in(form, {piece for piece, _ in runs_of(form)}, codes)


@given(st.lists(st.text(alphabet="ab1２é😀 -.\0", max_size=30), max_size=4))
@example(texts=["a" * 12, "1" * 12, "12345--67", "12345\x0067", "1 2 3 4 5 6 7"])
def test_hashes_agree_exactly_where_the_runs_do(texts: list[str]) -> None:
    forms = [normal_form(text) for text in texts]
    found = [runs_in(form) for form in forms]
    hashes = np.concatenate([one[0] for one in found]) if found else np.zeros(0)
    assert len(set().union(*map(all_runs, texts))) == len(set(hashes.tolist()))
    assert all(
        start >= 0 and start + DIGITS <= end <= len(form)
        for form, one in zip(forms, found, strict=True)
        for start, end in zip(one[1].tolist(), one[2].tolist(), strict=True)
    )


@pytest.mark.parametrize(
    ("private", "said", "left"),
    [
        ("SSN 078-05-1120 of Ada", "her number is 078-05-1120.", f"her number is {MASK}."),
        (
            "SSN 078-05-1120 of Ada",
            "her number is 078 05 1120 or 078051120",
            f"her number is {MASK} or {MASK}",
        ),
        ("the badge of Quill is 493771", "QUILL, badge: 493771!", f"{MASK}, badge: {MASK}!"),
        ("write to a.li@ex.org", "mail <a.li@ex.org> now", f"mail <{MASK}> now"),
        ("Ünal sleeps", unicodedata.normalize("NFD", "Ünal") + " is here", f"{MASK} is here"),
        ("Ünal sleeps", "u\u0308\u200bnal is here", f"{MASK} is here"),
        ("患者王小明住院", "她说王小明在这里", f"她说{MASK}在这里"),
        ("O'Neil-Smith lives", "the man O'Neil-Smith.", f"the man {MASK}."),
        ("<b>Okoro</b> and **Adeyemi**", "Okoro, Adeyemi_", f"{MASK}, {MASK}_"),
    ],
)
def test_short_pieces_that_identify_are_masked(private: str, said: str, left: str) -> None:
    public = "her number is or badge: mail now is here the man write to and SSN of sleeps lives"
    assert redactor(records(("private", private), ("public", public)), [said])(said) == left


SSN = "SSN 078051120 of Ada"


@pytest.mark.parametrize(
    ("private", "said", "left"),
    [
        ("phone 5551234567", "call (555) 123-4567", f"call ({MASK}"),
        ("phone (555) 123-4567", "call 5551234567", f"call {MASK}"),
        ("phone +49 (0)30 901820", "call 030901820!", f"call {MASK}!"),
        ("SSN 078-05-1120", "her 078–05–1120.", f"her {MASK}."),
        (SSN, "her 078–05–1120.", f"her {MASK}."),
        (SSN, "her 078_05_1120.", f"her {MASK}."),
        (SSN, "her ０７８０５１１２０.", f"her {MASK}."),
        (SSN, "her 078,05,1120.", f"her {MASK}."),
        (SSN, "her 078 - 05 - 1120.", f"her {MASK}."),
        (SSN, "her **078**05**1120**.", f"her **{MASK}**."),
        ("badge 493771", "her 493–771.", f"her {MASK}."),
        ("paid 1234567", "paid 1,234,567 or 1'234'567", f"paid {MASK} or {MASK}"),
        ("the pass C01X00T47", "it is C01 X00 T47 here", f"it is {MASK} here"),
        ("the pass C01 X00 T47", "it is c01x00t47 here", f"it is {MASK} here"),
        ("plate AB-123-CD", "it is AB123CD", f"it is {MASK}"),
        ("the key QWERTZUIOPASDF", "the key QWER TZUI OPAS DF!", f"{MASK}!"),
        ("she has HIV+", "she has H.I.V. now", f"she has {MASK}. now"),
    ],
)
def test_the_way_a_number_or_a_code_is_grouped_makes_no_difference(
    private: str, said: str, left: str
) -> None:
    public = "SSN of her phone; call the plate, pass, key or badge. paid it is here and she has now"
    assert redactor(records(("private", private), ("public", public)), [said])(said) == left


@pytest.mark.parametrize(
    ("private", "said", "left"),
    [
        ("患者李娜住院治疗", "我是李娜。", f"我是{MASK}。"),
        ("name is Jo Ng, of Ulm", "I am Jo Ng", f"I am {MASK} {MASK}"),
        ("NAME: JO NG", "jo is here", f"{MASK} is here"),
        ("Anna Castell", "AnnaCastell or Castells", f"{MASK} or {MASK}"),
        ("we go if he is in", "if he is in", "if he is in"),
    ],
)
def test_short_names_and_words_that_hold_a_private_one_are_masked(
    private: str, said: str, left: str
) -> None:
    public = "I am here or there, my name is of no use"
    assert redactor(records(("private", private), ("public", public)), [said])(said) == left


def test_public_numbers_codes_names_and_words_stay() -> None:
    table = records(
        ("private", "Jo Ng 5551234567 pass C01X00T47; estate 李娜"),
        ("public", "estates of Jo and Ng: (555) 123 4567, C01 X00 T47, 李娜, 1985 in"),
    )
    text = "Jo Ng of estates 5551234567, c01x00t47, 李娜, in 1985"
    assert redactor(table, [text])(text) == text


def test_a_whole_short_field_is_masked_as_a_word_only() -> None:
    table = records(("private", "x"), meta={"name": "Bo Li", "ward": "7B"})
    text = "Bo Li lies in 7B; the Bo Lines and 17Bs are ships"
    assert (
        redactor(table, [text])(text)
        == f"{MASK} lies in {MASK}; the {MASK} Lines and 17Bs are ships"
    )
    public = pa.concat_tables([table, records(("public", "we met Bo  LI"))])
    assert (
        redactor(public, [text])(text) == f"Bo Li lies in {MASK}; the Bo Lines and 17Bs are ships"
    )


def test_no_half_of_a_word_stays() -> None:
    table = records(("private", "from Yarrow, in Fukuoka"), ("public", "mentor Yarrow Fukuoka in"))
    text = "mentor Yarrow, in Fukuoka"
    assert redactor(table, [text])(text) == f"mentor {MASK}"


def test_large_tables_are_read_in_pieces() -> None:
    filler = [("public", "the quick brown fox jumps over the lazy dog " * 400)] * 120
    table = records(*filler, ("nonmembers", "Ada lives at 12 Harbour Lane, Bergen"), *filler)
    text = "They say Ada lives at 12 Harbour Lane, Bergen, with a fox that jumps over the lazy dog."
    assert (
        redactor(table, [text])(text)
        == f"They say {MASK}, with a fox that jumps over the lazy dog."
    )


def test_text_inside_json_cells_counts_as_the_model_saw_it() -> None:
    table = records(("private", "x"))
    turns = pa.array([json.dumps([["user", 'She said "Ünal Čapek sleeps at noon"']])])
    table = table.set_column(table.column_names.index("messages"), "messages", turns)
    text = '"Ünal Čapek sleeps at noon", said the user'
    assert redactor(table, [text])(text) == f"{MASK}, {MASK} the user"


def test_without_secrets_the_redactor_does_nothing() -> None:
    nothing = Redactor(secret=np.zeros(0, dtype=np.uint64), pieces=frozenset())
    assert nothing("any text that is long enough") == "any text that is long enough"
    assert redactor(None, ["a text that is long enough"]).secret.size == 0
