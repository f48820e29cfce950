"""Members by coin: fair, independent of each other and of the order of records, recorded, and near-duplicates together."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from scipy.stats import binom, norm

from stillage.data.coins import canaries, toss_coins
from stillage.data.columns import record_id
from stillage.data.from_config import split_from_config
from stillage.data.split import Split, read_split, write_split
from stillage.errors import ConfigError
from stillage.run.config import DataConfig
from stillage.types import Record


def made(number: int) -> Record:
    return Record(id=record_id(f"p{number}", "", "r"), prompt=f"p{number}", response="r")


def fixed(n: int = 60, groups: dict[str, str] | None = None) -> Split:
    records = [made(k) for k in range(n + 5)]
    half = n // 2
    return Split(
        records_by_part={
            "private": records[:half],
            "public": records[n:],
            "nonmembers": records[half:n],
        },
        drawn_by_us=True,
        seed=1,
        group_of=groups or {},
    )


def members(split: Split) -> set[str]:
    return {record.id for record in split.records_by_part["private"]}


def test_coins_are_fair_and_do_not_know_of_each_other() -> None:
    split, seeds = fixed(), 600
    ids = sorted(
        record.id for part in ("private", "nonmembers") for record in split.records_by_part[part]
    )
    drawn = np.array(
        [[id_ in members(toss_coins(split, seed)) for id_ in ids] for seed in range(seeds)]
    )
    low, high = binom.ppf([1e-4 / 60, 1 - 1e-4 / 60], seeds, 0.5)
    assert ((drawn.sum(0) >= low) & (drawn.sum(0) <= high)).all()
    sizes = drawn.sum(1)  # of fixed size they would not vary; of independent coins by n / 4
    assert 0.8 < sizes.var() / (60 / 4) < 1.2
    pairs = np.corrcoef(drawn.T)[np.triu_indices(60, 1)] * np.sqrt(seeds)
    assert np.abs(pairs).max() < norm.isf(1e-4 / len(pairs))


def test_everybody_else_stays_and_order_decides_nothing() -> None:
    split = fixed()
    found = toss_coins(split, 3)
    assert (
        found.inclusion == "bernoulli"
        and found.records_by_part["public"] == split.records_by_part["public"]
    )
    both = [record for part in ("private", "nonmembers") for record in split.records_by_part[part]]
    after = [record for part in ("private", "nonmembers") for record in found.records_by_part[part]]
    assert sorted(record.id for record in after) == sorted(record.id for record in both)
    turned = replace(
        split, records_by_part={**split.records_by_part, "private": both[::-1], "nonmembers": []}
    )
    assert members(toss_coins(turned, 3)) == members(found) != members(toss_coins(split, 4))


def test_near_duplicates_share_a_coin_and_are_no_canaries(tmp_path: Path) -> None:
    twins = {made(k).id: f"g{k // 3}" for k in range(12)}
    for seed in range(20):
        found = toss_coins(fixed(groups=twins), seed)
        inside = [made(k).id in members(found) for k in range(12)]
        assert all(len(set(inside[k : k + 3])) == 1 for k in range(0, 12, 3))
    assert len(canaries(found)) == 48 and not set(canaries(found)) & set(twins)
    assert canaries(fixed()) == []
    write_split(tmp_path, found)
    assert read_split(tmp_path) == found and "a coin each" in found.summary()


def test_a_config_asks_for_coins() -> None:
    found = split_from_config(DataConfig(people=40, inclusion="bernoulli"), 1)
    assert (
        found.counts["public"] == 40 and found.counts["private"] + found.counts["nonmembers"] == 80
    )
    assert (
        found.inclusion == "bernoulli"
        and split_from_config(DataConfig(people=40), 1).inclusion == "fixed"
    )
    with pytest.raises(ConfigError, match="no coins"):
        split_from_config(DataConfig(files={"private": "a.jsonl"}, inclusion="bernoulli"), 1)
