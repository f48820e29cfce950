"""Folders and files before the first flag, counted, and what is said where they do not fit."""

from __future__ import annotations

import pytest

from stillage.cli import VERBS, main
from stillage.cli.paths import read_paths, split_at_flags
from stillage.cli.plain_text import Read
from stillage.errors import ConfigError, did_you_mean


def test_words_are_split_at_the_first_flag() -> None:
    assert split_at_flags(["a", "b", "--out", "c"]) == (["a", "b"], ["--out", "c"])
    assert split_at_flags(["-h"]) == ([], ["-h"]) and split_at_flags([]) == ([], [])


def test_a_name_in_brackets_may_be_absent() -> None:
    names = ("CORPUS", "[OUT]")
    assert read_paths("p", ["a"], names, Read) == (["a"], Read())
    both = ["a", "b", "--limit", "1"]
    assert read_paths("p", both, names, Read) == (["a", "b"], Read(limit=1))
    for words in ([], ["a", "b", "c"]):
        with pytest.raises(ConfigError, match=r"read takes CORPUS and \[OUT\]"):
            read_paths("stillage data plain-text read", words, names, Read)


def test_a_name_with_dots_stands_for_one_word_or_more() -> None:
    names = ("SRC...", "OUT")
    assert read_paths("p", ["a", "b"], names, Read)[0] == ["a", "b"]
    assert read_paths("p", ["a", "b", "c", "--limit", "1"], names, Read)[0] == ["a", "b", "c"]
    for words in ([], ["a"]):
        with pytest.raises(ConfigError, match=r"tokenize takes SRC\.\.\. and OUT"):
            read_paths("stillage corpus tokenize", words, names, Read)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["convert", "a.gguf"], "convert takes FILE.gguf and FOLDER"),
        (["export"], "export takes RUN and FOLDER"),
        (["export", "a", "b", "--force"], "force"),
        (["doctor", "me"], "doctor takes no words"),
        (["generate", "a", "b", "--prompt", "x"], "Which model?"),
        (["data", "plain-text", "stats"], "stats takes CORPUS"),
    ],
)
def test_too_few_or_too_many_are_three_lines(
    words: list[str], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(words) == 2
    lines = capsys.readouterr().err.splitlines()
    assert said in " ".join(lines) and len(lines) <= 3


def test_the_nearest_word_is_suggested() -> None:
    assert did_you_mean("quickstrat", VERBS, "none") == "Did you mean quickstart?"
    assert did_you_mean("xyzzy", VERBS, "none") == "none"
