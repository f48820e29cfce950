"""Parallel text: line n answers line n, or the first line that does not is named."""

from __future__ import annotations

from pathlib import Path

import pytest

from stillage.data.parallel_text import read_parallel
from stillage.errors import ConfigError, DataError


def write(folder: Path, left: str | bytes, right: str | bytes, name: str = "x") -> Path:
    for suffix, content in (("src", left), ("tgt", right)):
        (folder / f"{name}.{suffix}").write_bytes(
            content if isinstance(content, bytes) else content.encode()
        )
    return folder / name


def test_lines_become_prompts_and_responses(tmp_path: Path) -> None:
    path = write(tmp_path, "\ufeffEin {Haus}\u2028rot\r\n\nZwei\n", "A red house\n\nTwo")
    loaded = read_parallel(path, template="To English {now}: {src}")
    first, second = loaded.records
    assert (first.prompt, first.response) == (
        "To English {now}: Ein {Haus}\u2028rot",
        "A red house",
    )
    assert (first.source, first.meta["src"], second.response) == (
        "x.src:1",
        "Ein {Haus}\u2028rot",
        "Two",
    )
    assert loaded.notes == {"pairs of blank lines": 1} and set(loaded.sources) == {"x.src", "x.tgt"}
    for same in (tmp_path / "x.src", tmp_path / "x.tgt", tmp_path):
        assert read_parallel(same, template="To English {now}: {src}").records == loaded.records


def test_a_folder_of_pairs_and_other_suffixes(tmp_path: Path) -> None:
    for name, word in (("b", "2"), ("a", "1")):
        (tmp_path / f"{name}.de").write_text(word)
        (tmp_path / f"{name}.en").write_text(word)
    loaded = read_parallel(tmp_path, ("de", "en"))
    assert [record.response for record in loaded.records] == ["1", "2"]


def test_a_dot_in_the_name(tmp_path: Path) -> None:
    assert len(read_parallel(write(tmp_path, "a\n", "b\n", "wmt.de-en")).records) == 1


@pytest.mark.parametrize(
    ("left", "right", "words"),
    [
        (
            "a\nb\nc\n",
            "a\nb\n",
            r"x.src: 3 lines; x.tgt: 2 lines; first without partner: x.src, line 3",
        ),
        ("a\n", "a\n\n", r"first without partner: x.tgt, line 2"),
        ("a\n\n", "a\nb\n", r"x.src, line 2: blank"),
        ("", "", "is empty"),
        ("a\n", b"\xff\n", "x.tgt, line 1: invalid UTF-8 .byte 0xff"),
    ],
)
def test_what_does_not_fit_is_refused(
    left: str, right: str | bytes, words: str, tmp_path: Path
) -> None:
    with pytest.raises(DataError, match=words):
        read_parallel(write(tmp_path, left, right))


def test_lines_without_partner_within_the_limit_are_counted(tmp_path: Path) -> None:
    loaded = read_parallel(write(tmp_path, "a\n\nc\n", "a\nb\nc\n"), max_bad_lines=1)
    assert [record.response for record in loaded.records] == ["a", "c"] and loaded.bad_lines[
        0
    ].line == 2


def test_missing_files_and_templates(tmp_path: Path) -> None:
    (tmp_path / "x.src").write_text("a\n")
    with pytest.raises(DataError, match=r"missing: .*x.tgt"):
        read_parallel(tmp_path / "x")
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match="missing: "):
        read_parallel(tmp_path / "empty")
    for template in ("Translate.", "{src} {src}"):
        with pytest.raises(ConfigError, match="exactly once"):
            read_parallel(tmp_path / "x", template=template)
