"""Settings as help shows them: every one with a type, a default and a sentence."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import pytest

from stillage.distill.methods import METHODS
from stillage.run.config import Config
from stillage.run.flags import ALIASES, setting_kinds
from stillage.run.setting_texts import (
    Setting,
    field_texts,
    group_texts,
    kind_word,
    setting_rows,
    word,
)


@dataclass(frozen=True)
class Inner:
    """A group."""

    rate: float = 0.5
    """How fast, e.g. 0.1. The rest is
    on another line."""


@dataclass(frozen=True)
class Outer:
    """A few settings."""

    name: str = ""
    """What it is called."""
    silent: int = 3
    inner: Inner = field(default_factory=Inner)


def test_a_row_a_setting_groups_opened() -> None:
    rows = setting_rows(Outer(), "x.")
    assert [(row.path, row.kind, row.default) for row in rows] == [
        ("x.name", "TEXT", "none"),
        ("x.silent", "N", "3"),
        ("x.inner.rate", "X", "0.5"),
    ]
    assert rows[1].text == "" and rows[2].first_sentence == "How fast, e.g. 0.1"
    assert rows[2].text == "How fast, e.g. 0.1. The rest is on another line."


def test_every_setting_is_explained() -> None:
    rows = setting_rows(Config())
    assert [row.path for row in rows] == list(setting_kinds())
    assert [row.path for row in rows if not row.first_sentence] == []
    for method in METHODS.values():
        texts = field_texts(method.params)
        assert [name for name, text in texts.items() if not text] == [], method.name


def test_defaults_are_written_as_they_are_typed() -> None:
    assert [word(value) for value in (True, None, "", (), {})] == ["true", *["none"] * 4]
    assert word(("a", 2)) == "a 2" and word({"x": 0.25, "y": 1e-5}) == "x 0.25 y 1e-05"
    assert word("two\nlines") == "two\\nlines" and word(Path("a/b")) == "a/b"


@pytest.mark.parametrize(
    ("kind", "said"),
    [
        (int, "N"),
        (float, "X"),
        (bool, "true | false"),
        (str, "TEXT"),
        (Path, "PATH"),
        (Literal["a", "b"], "a | b"),
        (tuple[int, ...], "N ..."),
        (dict[str, float], "NAME X ..."),
        (tuple[Literal["a", "b"], ...], "a | b ..."),
    ],
)
def test_a_type_is_what_is_typed_for_it(kind: object, said: str) -> None:
    assert kind_word(kind) == said


def test_a_flag_is_the_shortest_that_there_is() -> None:
    def setting(path: str) -> Setting:
        return Setting(path=path, kind="", default="", text="")

    assert setting("data.max_tokens").flag == "--data.max-tokens"
    for alias, path in ALIASES.items():
        assert ALIASES[setting(path).flag.removeprefix("--").replace("-", "_")] == path, alias
    assert setting("seed").section == "run" and setting("student_train.beta1").section == "student"


def test_every_group_says_what_it_is() -> None:
    groups = group_texts()
    assert list(groups) == list(dict.fromkeys(p.split(".")[0] for p in setting_kinds() if "." in p))
    assert all(text.endswith(".") and "\n" not in text for text in groups.values())
