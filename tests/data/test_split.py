"""The split: a fair draw that file order cannot influence, recorded, and no record in two audited parts."""

from __future__ import annotations

import json
import random
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given as given_by
from hypothesis import settings
from hypothesis import strategies as st
from scipy import stats

from stillage.data.columns import record_id
from stillage.data.draw import check_disjoint, draw_split, share_counts, split_from_files
from stillage.data.from_config import split_from_config
from stillage.data.records import Loaded, read_records
from stillage.data.split import Split, read_split, write_split
from stillage.errors import ConfigError, DataError, UserError
from stillage.run.config import DataConfig
from stillage.types import PARTS, Part, Record

SHARES = {
    "private": 0.25,
    "public": 0.25,
    "nonmembers": 0.2,
    "counterfactual": 0.2,
    "validation": 0.05,
    "test": 0.05,
}


def made(number: int) -> Record:
    return Record(
        id=record_id(f"p{number}", "", "r"), prompt=f"p{number}", response="r", source=f"f:{number}"
    )


POOL = [made(number) for number in range(200)]


def draw(
    records: Sequence[Record], shares: Mapping[str, float], seed: int, group_by: str = ""
) -> Mapping[Part, list[Record]]:
    return draw_split(Loaded(records=list(records)), shares, seed, group_by).records_by_part


def test_the_draw_depends_on_seed_and_content_only() -> None:
    first = draw(POOL, SHARES, 1)
    shuffled = random.Random(0).sample(POOL, len(POOL))
    assert draw(shuffled, dict(reversed(SHARES.items())), 1) == first
    assert draw(POOL, SHARES, 2) != first
    assert {part: len(records) for part, records in first.items()} == {
        "private": 50,
        "public": 50,
        "nonmembers": 40,
        "counterfactual": 40,
        "validation": 10,
        "test": 10,
    }
    everyone = [record.id for records in first.values() for record in records]
    assert sorted(everyone) == sorted(record.id for record in POOL)


def test_every_record_is_equally_likely_in_every_role() -> None:
    seeds = 400
    private = Counter(
        record.id for seed in range(seeds) for record in draw(POOL, SHARES, seed)["private"]
    )
    observed = [private[record.id] for record in POOL]
    # a draw without replacement: variance per record is n p (1-p) * N/(N-1)
    chi2 = sum((count - seeds / 4) ** 2 for count in observed) / (seeds * 0.25 * 0.75)
    assert 1e-4 < stats.chi2.sf(chi2, len(POOL) - 1) < 1 - 1e-4


def test_exact_duplicates_are_collapsed_and_counted() -> None:
    split = draw_split(Loaded(records=POOL + POOL[:7]), SHARES, 1)
    assert split.duplicates_collapsed == 7
    assert split.records_by_part == draw(POOL, SHARES, 1)
    assert f"7 of {len(POOL) + 7} records were exact copies" in split.summary()


@settings(max_examples=100, deadline=None)
@given_by(
    st.integers(1, 2000),
    st.lists(st.integers(0, 20), min_size=6, max_size=6).filter(any),
    st.integers(0, 10),
)
def test_counts_add_up_and_follow_the_shares(total: int, weights: list[int], spare: int) -> None:
    shares = {
        part: weight / (sum(weights) + spare) for part, weight in zip(PARTS, weights, strict=True)
    }
    try:
        counts = share_counts(total, shares)
    except DataError:
        assert any(0 < share * total < 1 for share in shares.values())
        return
    assert set(counts) == {part for part, share in shares.items() if share > 0}
    assert all(abs(count - shares[part] * total) <= 1 for part, count in counts.items())
    assert abs(sum(counts.values()) - total * sum(shares.values())) <= 0.5 + 1e-6


def test_bad_shares_and_too_few_records() -> None:
    with pytest.raises(ConfigError, match="Did you mean private"):
        share_counts(10, {"privat": 1.0})
    with pytest.raises(ConfigError, match=r"sum 1\.2"):
        share_counts(10, {"private": 0.6, "public": 0.6})
    with pytest.raises(ConfigError):
        share_counts(10, {"private": -0.1, "public": 0.6})
    with pytest.raises(
        DataError, match=r"4 different records; none left for: validation"
    ) as caught:
        draw([*POOL[:4], POOL[0]], SHARES, 1)
    assert len(str(caught.value).splitlines()) == 3


def from_files(files: Mapping[str, str]) -> Split:
    return split_from_files(files, dict.fromkeys(files, read_records), seed=5)


def test_a_record_in_two_audited_roles_is_refused_with_count_and_ids(tmp_path: Path) -> None:
    def file(name: str, numbers: range) -> str:
        rows = [json.dumps({"prompt": f"p{number}", "response": "r"}) for number in numbers]
        (tmp_path / name).write_text("\n".join(rows))
        return str(tmp_path / name)

    with pytest.raises(DataError) as caught:
        from_files(
            {"private": file("a.jsonl", range(10)), "nonmembers": file("b.jsonl", range(7, 20))}
        )
    text = str(caught.value).splitlines()
    assert len(text) == 3
    assert text[0].startswith("3 records")
    assert "private & nonmembers: 3" in text[1]
    assert all(made(number).id in text[1] for number in (7, 8, 9))

    files = {"test": file("t.jsonl", range(9, 12)), "private": file("a.jsonl", range(10))}
    split = from_files(files)
    assert split.overlaps == {"private & test": 1}
    assert (split.drawn_by_us, split.seed, list(split.records_by_part)) == (
        False,
        5,
        ["private", "test"],
    )
    assert list(split.sources) == ["private: a.jsonl", "test: t.jsonl"]
    with pytest.raises(ConfigError, match="unknown: train"):
        from_files({"train": files["test"]})


@settings(max_examples=100, deadline=None)
@given_by(st.fixed_dictionaries({part: st.sets(st.integers(0, 30), max_size=8) for part in PARTS}))
def test_the_disjointness_check_equals_brute_force(numbers: dict[str, set[int]]) -> None:
    audited = PARTS[:4]
    clash = {n for a in audited for b in audited if a < b for n in numbers[a] & numbers[b]}
    parts = {part: [made(number) for number in numbers[part]] for part in PARTS}
    if clash:
        with pytest.raises(DataError, match=f"^{len(clash)} records"):
            check_disjoint(parts)
        return
    overlaps = check_disjoint(parts)
    expected = sum(
        len(numbers[a] & numbers[b]) for i, a in enumerate(PARTS) for b in PARTS[i + 1 :]
    )
    assert sum(overlaps.values()) == expected


def test_what_is_written_is_read_and_bytes_repeat(tmp_path: Path) -> None:
    chat = Record(
        id="0" * 16,
        prompt="q",
        response="r\u2028é",
        messages=(("system", "s"), ("user", "q")),
        meta={"badge": "1"},
    )
    split = draw_split(
        Loaded(records=[*POOL, chat, chat], notes={"blank lines": 2}, sources={"f": "00"}),
        SHARES,
        3,
    )
    for name in ("a", "b"):
        write_split(tmp_path / name, split)
        assert read_split(tmp_path / name) == split
    for file in ("records.parquet", "split.json"):
        assert (tmp_path / "a" / file).read_bytes() == (tmp_path / "b" / file).read_bytes()
    about = json.loads((tmp_path / "a" / "split.json").read_text())
    assert about["counts"]["private"] == len(split.records_by_part["private"])
    assert (about["drawn_by_us"], about["duplicates_collapsed"], about["seed"]) == (True, 1, 3)
    with pytest.raises(DataError):
        read_split(tmp_path / "absent")


def test_prepare_follows_the_config(tmp_path: Path) -> None:
    rows = [
        json.dumps({"prompt": f"p{n}", "response": "r", "badge": str(n), "group": "x"})
        for n in range(40)
    ]
    (tmp_path / "a.jsonl").write_text("\n".join(rows) + "\nbroken")
    pool = DataConfig(source=str(tmp_path / "a.jsonl"), max_bad_lines=1, slice_by=("group",))
    split = split_from_config(pool, 1, keep=("badge", ""))
    assert (split.drawn_by_us, sum(split.counts.values()), len(split.bad_lines)) == (True, 40, 1)
    record = split.records_by_part["private"][0]
    assert record.meta == {"group": "x", "badge": record.prompt[1:]}

    synthetic = split_from_config(DataConfig(people=16), 1)
    assert synthetic.drawn_by_us
    assert synthetic.counts == {
        "private": 16,
        "public": 16,
        "nonmembers": 16,
        "counterfactual": 16,
        "validation": 2,
        "test": 2,
    }

    by_file = DataConfig(files={"private": str(tmp_path / "a.jsonl")}, max_bad_lines=1)
    assert isinstance(split_from_config(by_file, 1), Split)
    with pytest.raises(UserError, match="Both a pool and a file"):
        split_from_config(DataConfig(source="x.jsonl", files={"private": "y.jsonl"}), 1)


def test_shares_without_a_pool_are_said_to_have_no_effect(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "a.jsonl").write_text(
        '{"prompt": "p", "response": "r"}\n{"prompt": "q", "response": "s"}'
    )
    file = str(tmp_path / "a.jsonl")
    by_file = DataConfig(files={"private": file})
    for data, said in [
        (replace(by_file, shares={"private": 0.5}), True),
        (DataConfig(people=8, shares={"private": 0.5}), True),
        (by_file, False),
        (DataConfig(people=8), False),
        (DataConfig(source=file, shares={"private": 1.0}), False),
    ]:
        caplog.clear()
        split_from_config(data, 1)
        assert ("data.shares has no effect" in caplog.text) is said, data
