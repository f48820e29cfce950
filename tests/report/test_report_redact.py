"""Free texts lose what only protected records have: runs of characters, and every piece that identifies somebody."""

from __future__ import annotations

import json
import unicodedata

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from stillage.functional.words import normal_form
from stillage.report.redact import (
    WINDOW,
    Redactor,
    folded,
    pieces_in,
    redactor,
    runs_of,
    spans_of,
    window_hashes,
)

MASK = "████"


def records(*rows: tuple[str, str], meta: dict[str, str] | None = None) -> pa.Table:
    names = ("id", "role", "prompt", "input", "response", "messages", "source", "meta")
    return pa.Table.from_pylist(
        [
            dict(
                zip(
                    names,
                    (f"{i:016x}", role, "", "", text, "[]", "", json.dumps(meta or {})),
                    strict=True,
                )
            )
            for i, (role, text) in enumerate(rows)
        ]
    )


def pieces_of(text: str) -> set[str]:
    return {piece for piece, _ in spans_of(normal_form(text))}


def windows(text: str) -> set[str]:
    form = normal_form(text)
    return {form[i : i + WINDOW] for i in range(len(form) - WINDOW + 1)}


@given(st.text(max_size=60), st.text(max_size=60), st.text(max_size=60))
def test_no_private_run_survives_and_nothing_else_is_touched(
    private: str, public: str, shown: str
) -> None:
    """Against brute force over sets of substrings and pieces; the shown text mixes all three."""
    text = shown[:20] + private[5:40] + shown[20:] + public
    hide = redactor(records(("private", private), ("public", public)), [text])
    secret = windows(private) - windows(public)
    kept = hide(text)
    assert not windows(kept) & secret
    pieces = pieces_of(private) - pieces_of(public)
    assert not pieces & pieces_of(kept.replace(MASK, " "))
    has_field = len(normal_form(private)) < WINDOW and normal_form(private) in normal_form(text)
    if not (windows(text) & secret or pieces & pieces_of(text) or has_field):
        assert kept == text


@given(st.text(max_size=80))
def test_every_character_of_the_normal_form_has_its_place(text: str) -> None:
    shown, form, origin = folded(text)
    assert form == normal_form(text) and len(origin) == len(form)
    assert list(origin) == sorted(origin) and all(0 <= place < len(shown) for place in origin)
    assert all(
        form[start:end] == piece
        for piece, (start, end) in spans_of(form)
        if not piece.startswith("#")
    )


@given(st.text(max_size=80), st.text(alphabet="ab1-. '漢字", max_size=40))
@example(text="00\x1b\x00", close="")
def test_a_long_text_has_the_pieces_that_its_places_have(text: str, close: str) -> None:
    form = normal_form(f"{text} {close}")
    pieces = {piece for piece, _ in spans_of(form)}
    assert pieces <= pieces_in(form, {piece for piece, _ in runs_of(form)})


@given(st.lists(st.text(alphabet="abAB é😀", max_size=30), max_size=4))
def test_hashes_agree_exactly_where_the_runs_do(texts: list[str]) -> None:
    runs = [
        run
        for text in texts
        for run in (text[i : i + WINDOW] for i in range(len(text) - WINDOW + 1))
    ]
    hashes = np.concatenate([window_hashes(text) for text in texts]) if texts else np.zeros(0)
    assert len(runs) == len(hashes)
    assert len(set(runs)) == len(set(hashes.tolist()))


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


def test_a_whole_short_field_is_masked_as_a_word_only() -> None:
    table = records(("private", "x"), meta={"name": "Bo Li", "ward": "7B"})
    text = "Bo Li lies in 7B; the Bo Lines and 17Bs are ships"
    assert (
        redactor(table, [text])(text) == f"{MASK} lies in {MASK}; the Bo Lines and 17Bs are ships"
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
    table = records(*filler, ("outsiders", "Ada lives at 12 Harbour Lane, Bergen"), *filler)
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
