"""Records that belong together come into one part, and the parts still get their shares."""

from __future__ import annotations

import json
import random
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from stillage.audit.duplicates import check_overlap, check_training_overlap, trained_on
from stillage.corpus.grams import grams
from stillage.corpus.near_copies import near_across
from stillage.data.columns import record_id
from stillage.data.draw import draw_split, share_counts
from stillage.data.from_config import split_from_config
from stillage.data.grouping import (
    allot_groups,
    cluster_numbers,
    draw_groups,
    prompt_text,
    whole_text,
)
from stillage.data.records import Loaded
from stillage.data.split import read_split, write_split
from stillage.errors import DataError, UserError
from stillage.run.config import DataConfig
from stillage.types import Part, Record

SHARES = {
    "private": 0.25,
    "public": 0.25,
    "nonmembers": 0.2,
    "counterfactual": 0.2,
    "validation": 0.05,
    "test": 0.05,
}


def made(prompt: str, response: str = "r", **meta: str) -> Record:
    return Record(id=record_id(prompt, "", response), prompt=prompt, response=response, meta=meta)


def questions(passages: int, most: int, seed: int = 0) -> list[Record]:
    """1 to `most` questions on each passage of 40 words."""
    rng = np.random.default_rng(seed)
    words = [f"w{k}" for k in range(3000)]
    found = []
    for number in range(passages):
        passage = " ".join(rng.choice(words, 40))
        for _ in range(int(rng.integers(1, most + 1))):
            found.append(
                made(f"{passage} {' '.join(rng.choice(words, 8))} ?", passage_id=str(number))
            )
    return found


def near(left: Record, right: Record) -> bool:
    a, b = grams(whole_text(left)), grams(whole_text(right))
    return bool(a & b) and 2 * len(a & b) >= len(a | b)


def draw(
    records: Sequence[Record], shares: Mapping[str, float], seed: int, group_by: str = ""
) -> Mapping[Part, list[Record]]:
    return draw_split(Loaded(records=list(records)), shares, seed, group_by).records_by_part


@settings(max_examples=80, deadline=None)
@given(
    st.lists(
        st.lists(st.sampled_from("abcde"), min_size=1, max_size=9).map(" ".join),
        min_size=12,
        max_size=40,
    ),
    st.integers(0, 5),
)
def test_no_near_pair_in_two_roles_whatever_the_order(prompts: list[str], seed: int) -> None:
    records = [made(prompt) for prompt in dict.fromkeys(prompts)]
    shares = {"private": 0.4, "public": 0.2, "nonmembers": 0.3}
    try:
        parts = draw(records, shares, seed, "near")
    except DataError as error:
        assume("none left for" not in str(error))
        raise
    assert draw(records[::-1], shares, seed, "near") == parts
    ids = [record.id for found in parts.values() for record in found]
    assert len(ids) == len(set(ids)) <= len(records)
    texts = {part: [whole_text(record) for record in found] for part, found in parts.items()}
    assert not near_across(texts["private"], texts["nonmembers"]).left_N.any()
    trained = near_across([*texts["private"], *texts["nonmembers"]], texts["public"])
    assert not trained.left_N.any()
    if len(records) <= 10:  # no gram can be a template's: every pair of parts is clean
        everyone = [(part, record) for part, found in parts.items() for record in found]
        assert not any(near(a, b) for part, a in everyone for other, b in everyone if part != other)


def test_a_grouped_draw_passes_the_audits_check_and_a_plain_one_does_not() -> None:
    records = questions(150, 30)
    for group_by, passes in (("near", True), ("passage_id", True), ("", False)):
        parts = draw(records, SHARES, 3, group_by)
        inside, outside = parts["private"], parts["nonmembers"]
        check = check_overlap(
            [r.id for r in inside],
            [r.id for r in outside],
            near_across([whole_text(r) for r in inside], [whole_text(r) for r in outside]),
        )
        assert check.passed is passes, (group_by, check.detail)
        role_of: dict[str, set[Part]] = {}
        for part, found in parts.items():
            for record in found:
                role_of.setdefault(record.meta["passage_id"], set()).add(part)
        parted = sum(len(found) > 1 for found in role_of.values())
        assert (parted == 0) is passes
        counts = share_counts(len(records), SHARES)
        assert all(
            abs(len(parts[part]) - count) <= (30 if passes else 0) for part, count in counts.items()
        )


def test_records_with_one_prompt_of_their_own_stay_together_and_an_instruction_ties_nobody() -> (
    None
):
    asked = [f"what does passage number {number // 3} say of it" for number in range(300)]
    order = "please answer this question in one word"
    records = [
        made(prompt, response=f"answer {i}") for i, prompt in enumerate([*asked, *[order] * 200])
    ]
    parts = draw(records, SHARES, 1, "near")
    audited, public = [*parts["private"], *parts["nonmembers"]], parts["public"]
    prompts, texts = [prompt_text(r) for r in audited], [whole_text(r) for r in audited]
    trained = [prompt_text(r) for r in public], [whole_text(r) for r in public]
    found = check_training_overlap(*trained_on(prompts, texts, *trained))
    assert found.passed and found.values["same prompt"] == 0
    assert all(
        sum(r.prompt == order for r in parts[part]) > 10
        for part in ("private", "public", "nonmembers")
    )
    alone = draw(records, SHARES, 1, "")
    audited, public = [*alone["private"], *alone["nonmembers"]], alone["public"]
    prompts, texts = [prompt_text(r) for r in audited], [whole_text(r) for r in audited]
    trained = [prompt_text(r) for r in public], [whole_text(r) for r in public]
    assert not check_training_overlap(*trained_on(prompts, texts, *trained)).passed


def test_shares_are_exact_where_single_records_can_even_them_out() -> None:
    records = questions(60, 8) + [made(f"alone {number} one two three") for number in range(300)]
    for seed in range(5):
        parts = draw(records, SHARES, seed, "near")
        assert {part: len(found) for part, found in parts.items()} == share_counts(
            len(records), SHARES
        )


def test_without_groups_it_is_the_plain_draw_and_with_them_it_is_fair() -> None:
    records = sorted(questions(40, 1), key=lambda record: record.id)
    counts = share_counts(len(records), SHARES)
    assert allot_groups(records, np.arange(len(records)), counts, 4) == draw(records, SHARES, 4)

    ordered = sorted(questions(40, 4), key=lambda record: record.id)
    numbers = np.array([int(record.meta["passage_id"]) for record in ordered])
    half: dict[Part, int] = {
        "private": len(ordered) // 2,
        "nonmembers": len(ordered) - len(ordered) // 2,
    }
    seeds = 400
    private = Counter(
        r.id for s in range(seeds) for r in allot_groups(ordered, numbers, half, s)["private"]
    )
    shares = np.array([private[record.id] / seeds for record in ordered])
    assert abs(shares - 0.5).max() < 0.12  # 4.8 standard errors


def test_one_large_group_is_refused_where_it_leaves_a_role_empty() -> None:
    passage = " ".join(f"w{k}" for k in range(60))
    records = [made(f"{passage} q{number}") for number in range(9)]
    with pytest.raises(DataError, match="largest group 9; none left for") as caught:
        draw(records, {"private": 0.5, "nonmembers": 0.5}, 1, "near")
    assert len(str(caught.value).splitlines()) == 3


def test_the_split_says_how_it_was_grouped_and_a_column_is_found(tmp_path: Path) -> None:
    rows = [
        {"prompt": r.prompt, "response": r.response, "passage_id": r.meta["passage_id"]}
        for r in questions(30, 5)
    ]
    random.Random(0).shuffle(rows)
    (tmp_path / "a.jsonl").write_text("\n".join(map(json.dumps, rows)))
    for group_by, groups in (("near", 30), ("passage_id", 30), ("", 0)):
        split = split_from_config(
            DataConfig(source=str(tmp_path / "a.jsonl"), group_by=group_by), 2
        )
        assert (split.group_by, split.groups) == (group_by, groups)
        assert split.largest_group == (5 if groups else 0)
        assert ("30 groups, largest 5" in split.summary()) is bool(groups)
        assert sorted(Counter(split.group_of.values()).values()) == (
            several(rows) if groups else []
        )
        write_split(tmp_path / "split", split)
        assert read_split(tmp_path / "split") == split
    with pytest.raises(UserError, match="missing: chapter"):
        split_from_config(DataConfig(source=str(tmp_path / "a.jsonl"), group_by="chapter"), 2)


def several(rows: list[dict[str, str]]) -> list[int]:
    """How many questions each passage has that has more than one."""
    return sorted(
        count for count in Counter(row["passage_id"] for row in rows).values() if count > 1
    )


def test_in_files_of_the_users_own_near_duplicates_are_found_for_the_intervals(
    tmp_path: Path,
) -> None:
    rows = [
        {"prompt": r.prompt, "response": r.response, "passage_id": r.meta["passage_id"]}
        for r in questions(20, 3)
    ]
    cut = next(
        n for n in range(20, len(rows)) if rows[n]["passage_id"] == rows[n - 1]["passage_id"]
    )
    for name, part in (
        ("private", rows[:cut]),
        ("nonmembers", rows[cut:]),
    ):  # one passage is on both sides
        (tmp_path / f"{name}.jsonl").write_text("\n".join(map(json.dumps, part)))
    files = {name: str(tmp_path / f"{name}.jsonl") for name in ("private", "nonmembers")}
    for group_by in ("near", "passage_id"):
        split = split_from_config(DataConfig(files=files, group_by=group_by), 2)
        assert sorted(Counter(split.group_of.values()).values()) == several(rows)
        sides = {group: set() for group in split.group_of.values()}
        for part, records in split.records_by_part.items():
            for record in records:
                sides.get(split.group_of.get(record.id, ""), set()).add(part)
        assert sum(len(side) == 2 for side in sides.values()) == 1
    assert not split_from_config(DataConfig(files=files, group_by=""), 2).group_of


def test_clusters_are_groups_and_records_of_their_own() -> None:
    assert cluster_numbers(["a", "b", "c", "7"], ["7", "", "7", ""]).tolist() == [0, 2, 0, 1]


def test_a_record_without_a_value_of_the_column_is_alone(caplog: pytest.LogCaptureFixture) -> None:
    records = [made(f"p{n}", unit="u") for n in range(4)] + [made(f"p{n}") for n in range(4, 12)]
    _, numbers = draw_groups(records, {"private": 6, "nonmembers": 6}, 1, "unit")
    assert sorted(Counter(numbers.values()).values()) == [1] * 8 + [4]
    assert "8 of 12 records have no unit" in caplog.text
