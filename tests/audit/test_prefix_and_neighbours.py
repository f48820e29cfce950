"""What is put before a record or in its place: known texts, never cut, and neighbours, the same for the same seed."""

from __future__ import annotations

import logging
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from stillage.audit import neighbours as module
from stillage.audit.neighbours import Swaps, neighbours
from stillage.audit.prefix import draw_prefixes, with_prefix
from stillage.models.masked import Masked
from stillage.models.masked_train import small_masked
from stillage.types import Example, Record

RECORDS = [
    Record(id=f"r{k}", prompt="Who?", response=f"The {a} meets the {b} in room {k}.")
    for k, (a, b) in enumerate(
        [("fox", "owl"), ("owl", "elk"), ("elk", "fox"), ("cat", "owl"), ("fox", "cat")] * 4
    )
]


def example(ids: list[int], prompt: int, name: str = "x") -> Example:
    return Example(
        record_id=name, ids_T=np.array(ids, np.int32), response_T=np.arange(len(ids)) >= prompt
    )


def test_prefix_records_and_their_near_duplicates_are_not_evaluated() -> None:
    parts = ["private"] * 10 + ["nonmembers"] * 10
    groups = ["g0", "g0"] + [""] * 8 + ["g1"] * 3 + [""] * 7
    found = draw_prefixes(RECORDS, parts, groups, nonmembers=2, members=2, seed=1)
    again = draw_prefixes(RECORDS, parts, groups, nonmembers=2, members=2, seed=1)
    other = draw_prefixes(RECORDS, parts, groups, nonmembers=2, members=2, seed=2)
    assert found == again and found != other
    given = {record.id for record in (*found.nonmembers, *found.members)}
    assert len(given) == 4 and all(parts[int(r.id[1:])] == "nonmembers" for r in found.nonmembers)
    near = {groups[int(id_[1:])] for id_ in given} - {""}
    expected = [k for k in range(20) if f"r{k}" not in given and groups[k] not in near]
    assert list(found.kept) == expected
    drawn = [
        draw_prefixes(RECORDS, parts, groups, nonmembers=2, members=0, seed=s) for s in range(12)
    ]
    hit = [
        found
        for found in drawn
        if {"r10", "r11", "r12"} & {record.id for record in found.nonmembers}
    ]
    assert hit and not any({10, 11, 12} & set(found.kept) for found in hit)
    none = draw_prefixes(RECORDS, parts, groups, nonmembers=0, members=0, seed=1)
    assert not none.nonmembers and not none.members and list(none.kept) == list(range(20))


def test_never_more_than_a_quarter_is_given_away(caplog: pytest.LogCaptureFixture) -> None:
    found = draw_prefixes(
        RECORDS[:8], ["nonmembers"] * 8, [""] * 8, nonmembers=9, members=1, seed=1
    )
    assert len(found.nonmembers) == 2 and not found.members and "instead of 9" in caplog.text


def test_a_prefix_is_whole_texts_with_one_start_and_the_same_tokens_scored() -> None:
    own = example([1, 20, 21, 22], prompt=2)
    prefix = [example([1, 5, 6, 7], 2), example([1, 8], 1), example([1, 9, 10], 1)]
    long, count = with_prefix(own, prefix, None, [1])
    assert count == 3 and long is not None and long.record_id == "x"
    assert long.ids_T.tolist() == [
        1,
        5,
        6,
        7,
        9,
        10,
        8,
        20,
        21,
        22,
    ]  # the shortest nearest, one start of text
    assert long.ids_T[long.response_T].tolist() == own.ids_T[own.response_T].tolist() == [21, 22]
    for context, ids in (
        (10, long.ids_T.tolist()),
        (9, [1, 9, 10, 8, 20, 21, 22]),
        (6, [1, 8, 20, 21, 22]),
    ):
        shorter, kept = with_prefix(own, prefix, context, [1])
        assert (
            shorter is not None
            and shorter.ids_T.tolist() == ids
            and kept == {10: 3, 9: 2, 6: 1}[context]
        )
    assert with_prefix(own, prefix, 4, [1]) == (None, 0)  # a record is never cut for a prefix
    bare, _ = with_prefix(example([3, 4], 1), [example([5, 6], 1)], None, [])
    assert (
        bare is not None
        and bare.ids_T.tolist() == [5, 6, 3, 4]
        and bare.response_T.tolist() == [False] * 3 + [True]
    )


def test_the_first_token_of_a_record_without_prompt_stays_unscored() -> None:
    own = Example(
        record_id="x", ids_T=np.array([4, 5], np.int32), response_T=np.array([False, True])
    )
    found, _ = with_prefix(own, [example([7, 8], 1)], None, [])
    assert found is not None and found.response_T.tolist() == [False, False, False, True]


@pytest.fixture(scope="module")
def masked(tmp_path_factory: pytest.TempPathFactory) -> Masked:
    return small_masked([r.response for r in RECORDS], 1, tmp_path_factory.mktemp("m"), steps=5)


def test_neighbours_differ_in_a_few_tokens_and_depend_on_seed_and_record_only(
    masked: Masked,
) -> None:
    swaps = Swaps(count=4, share=0.1, top_k=5, seed=1)
    found = neighbours(masked, RECORDS[:6], swaps)
    assert found == neighbours(masked, RECORDS[:6], swaps, batch_tokens=1)
    assert neighbours(masked, RECORDS[2:4], swaps) == found[2:4]
    assert neighbours(masked, RECORDS[:6], replace(swaps, seed=2)) != found
    for record, texts in zip(RECORDS, found, strict=False):
        assert len(texts) == 4 and record.response not in texts
        words = record.response.split()
        assert all(sum(a != b for a, b in zip(words, t.split(), strict=True)) <= 2 for t in texts)


def test_neighbours_are_kept_on_disk(
    masked: Masked, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    swaps = Swaps(count=2, share=0.1, top_k=5, seed=1)
    found = neighbours(masked, RECORDS[:3], swaps, cache=tmp_path)
    monkeypatch.setattr(module, "swapped_texts", lambda *_: pytest.fail("asked again"))
    assert neighbours(masked, RECORDS[:3], swaps, cache=tmp_path) == found


def test_damaged_neighbours_are_made_again(
    masked: Masked, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    swaps = Swaps(count=2, share=0.1, top_k=5, seed=1)
    found = neighbours(masked, RECORDS[:3], swaps, cache=tmp_path)
    (file,) = tmp_path.glob("neighbours-*.parquet")
    whole = file.read_bytes()
    file.write_bytes(whole[:100])
    with caplog.at_level(logging.WARNING, logger="stillage"):
        assert neighbours(masked, RECORDS[:3], swaps, cache=tmp_path) == found
    assert "damaged" in caplog.text and file.read_bytes() == whole


def test_a_text_without_replaceable_tokens_has_no_neighbours(
    masked: Masked, caplog: pytest.LogCaptureFixture
) -> None:
    empty = Record(id="e", prompt="p", response="\u0007\u0007")
    with caplog.at_level(logging.WARNING):
        swaps = Swaps(count=1, share=0.1, top_k=3, seed=1)
        assert neighbours(masked, [empty, RECORDS[0]], swaps)[0] == ()
    assert "1 of 2 records have no neighbours" in caplog.text
