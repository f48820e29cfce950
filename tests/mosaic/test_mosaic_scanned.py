"""Near-copies that a scan of a corpus found: which count, and what is drawn of them."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from rapidfuzz.distance import Levenshtein
from transformers import PreTrainedTokenizerFast

from stillage.corpus.scan_plan import ScanSettings, make_plan
from stillage.corpus.scan_results import Scan
from stillage.corpus.shards import open_shards
from stillage.corpus.targets import read_targets
from stillage.corpus.token_file import write_tokens
from stillage.corpus.tokenizers import rules_hash
from stillage.data.bpe import train_bpe
from stillage.errors import ConfigError, DataError
from stillage.mosaic.canaries import about_canaries
from stillage.mosaic.kinds import Scanned
from stillage.mosaic.scanned import ScanFound, find_scanned, scanned_variations
from stillage.mosaic.scanned_canaries import scanned_canaries
from stillage.mosaic.variations import variations_of_ids
from stillage.run.folder import sha256_file, write_json

FIRST, SECOND = list(range(60, 70)), list(range(80, 90))
NEAR = [[*FIRST[:k], 99, *FIRST[k + 1 :]] for k in (1, 4, 6)]  # one token replaced
FAR = [*FIRST[:3], 99, 98, 97, *FIRST[6:]]
DOCUMENTS = [
    [1, 2, *NEAR[0], 3, *FIRST, 4],
    [*NEAR[1], 5, 6, *NEAR[2]],
    [],
    [*FAR, 7, *NEAR[0], 8],  # NEAR[0] again
    [*SECOND, 9, 9, *SECOND[:5], 99, *SECOND[6:]],
]
OTHERS = [tuple(range(start, start + 10)) for start in range(100, 220, 20)]  # nothing in common


@pytest.fixture(scope="module")
def tokenizer() -> PreTrainedTokenizerFast:
    return train_bpe(["some words"], 258)


@pytest.fixture
def folder(
    tmp_path: Path, tokenizer: PreTrainedTokenizerFast, monkeypatch: pytest.MonkeyPatch
) -> Path:
    """Two shards, scanned for FIRST and SECOND; how a scan is written is not the matter here."""
    shards: list[dict[str, object]] = []
    for number, part in enumerate((DOCUMENTS[:2], DOCUMENTS[2:])):
        path = tmp_path / "shards" / f"shard-{number:05d}.safetensors"
        arrays = [np.array(ids, np.int64) for ids in part]
        count, tokens = write_tokens(path, arrays, vocab_size=300, about={"vocab_size": 300})
        entry = {"documents": count, "tokens": tokens, "sha256": sha256_file(path)}
        shards.append({"name": path.stem} | entry)
    facts = {
        "format": "stillage shards 1",
        "vocab_size": 300,
        "tokenizer": rules_hash(tokenizer),
        "shards": shards,
    }
    write_json(tmp_path / "shards" / "manifest.json", facts)
    listed = tmp_path / "targets.jsonl"
    listed.write_text("".join(json.dumps(ids) + "\n" for ids in (FIRST, SECOND)))
    tokens_Nm, targets = read_targets(listed)
    settings = ScanSettings(max_distance=4, tokens_per_part=100)
    scan = Scan(
        folder=tmp_path,
        plan=make_plan(open_shards(tmp_path / "shards"), tokens_Nm, targets, settings),
        targets=targets,
        tokens_Nm=tokens_Nm,
        hits=hits(),
        manifest={},
    )
    monkeypatch.setattr("stillage.mosaic.scanned.read_scan", lambda _: scan)
    return tmp_path


def hits() -> pa.Table:
    """Every window at most 4 away, the nearest of overlapping ones; and one by another metric."""
    rows: list[dict[str, object]] = []
    for target, ids in enumerate((FIRST, SECOND)):
        for document, tokens in enumerate(DOCUMENTS):
            windows = [(start, tokens[start : start + 10]) for start in range(len(tokens) - 9)]
            near = sorted((Levenshtein.distance(ids, one), start) for start, one in windows)
            taken: list[int] = []
            for distance, start in near:
                if distance <= 4 and all(abs(start - other) >= 10 for other in taken):
                    taken.append(start)
                    place = {"document": document, "start": start, "end": start + 10}
                    rows.append({"target": target, **place, "distance": distance})
    named = [row | {"metric": "levenshtein"} for row in rows]
    return pa.Table.from_pylist(
        [*named, {**rows[0], "distance": 2, "start": 0, "metric": "hamming"}]
    )


def as_lists(found: Sequence[Sequence[int]]) -> list[list[int]]:
    return [list(ids) for ids in found]


def test_different_near_copies_within_the_distances(
    folder: Path, tokenizer: PreTrainedTokenizerFast
) -> None:
    found = find_scanned(Scanned(scan=str(folder), max_distance=4), tokenizer)
    assert as_lists(found.copies[tuple(FIRST)]) == [*NEAR, FAR]
    assert found.repeated == 1 and len(found.copies[tuple(SECOND)]) == 1
    near = find_scanned(Scanned(scan=str(folder), max_distance=2), tokenizer)
    far = find_scanned(Scanned(scan=str(folder), min_distance=2, max_distance=4), tokenizer)
    assert as_lists(near.copies[tuple(FIRST)]) == NEAR
    assert as_lists(far.copies[tuple(FIRST)]) == [FAR]
    assert near.with_enough(1) == [tuple(FIRST), tuple(SECOND)]
    assert near.with_enough(2) == [tuple(FIRST)]


def test_a_targets_variations_are_drawn_without_repetition(
    folder: Path, tokenizer: PreTrainedTokenizerFast
) -> None:
    kind = Scanned(scan=str(folder), max_distance=4)
    table = variations_of_ids([FIRST], kind, count=3, seed=1, tokenizer=tokenizer)
    ids = table["ids"].to_pylist()
    assert len({tuple(one) for one in ids}) == 3 and all(one in [*NEAR, FAR] for one in ids)
    assert table["levenshtein"].to_pylist() == [3 if one == FAR else 1 for one in ids]
    found = find_scanned(kind, tokenizer)
    draws = {
        tuple(map(tuple, scanned_variations([FIRST], found, count=2, seed=seed)[0]))
        for seed in range(30)
    }
    assert len(draws) > 6
    with pytest.raises(DataError, match="canary 1: 1 near-copies; wanted: 2"):
        scanned_variations([FIRST, SECOND], found, count=2, seed=1)
    with pytest.raises(DataError, match="no target of the scan"):
        scanned_variations([[1, 2]], found, count=1, seed=1)


def test_refusals(folder: Path, tokenizer: PreTrainedTokenizerFast) -> None:
    for kind in (Scanned(scan=str(folder), min_distance=0), Scanned(scan=str(folder))):
        with pytest.raises(ConfigError):
            find_scanned(kind, tokenizer)
    other = train_bpe(["some other words"], 270)
    with pytest.raises(DataError, match="another tokenizer"):
        find_scanned(Scanned(scan=str(folder), max_distance=4), other)
    manifest = folder / "shards" / "manifest.json"
    before = manifest.read_text()
    write_json(
        manifest, json.loads(before.replace(json.loads(before)["shards"][0]["sha256"], "0" * 64))
    )
    with pytest.raises(DataError, match="not those that were scanned"):
        find_scanned(Scanned(scan=str(folder), max_distance=4), tokenizer)
    manifest.write_text(before)


def near(ids: tuple[int, ...]) -> tuple[int, ...]:
    """The ids with the first replaced."""
    return (99, *ids[1:])


def test_a_hit_that_holds_its_target_is_no_near_copy(
    folder: Path, tokenizer: PreTrainedTokenizerFast, monkeypatch: pytest.MonkeyPatch
) -> None:
    from stillage.mosaic import scanned

    scan = scanned.read_scan(folder)
    (row, *rest) = scan.hits.to_pylist()
    near_hit = {"distance": 1, "metric": "levenshtein"}
    held = row | near_hit | {"document": 0, "start": 12, "end": 23}  # FIRST and the token before it
    assert DOCUMENTS[0][13:23] == FIRST
    hit_table = pa.Table.from_pylist([held, row, *rest])
    changed = Scan(
        folder=scan.folder,
        plan=scan.plan,
        targets=scan.targets,
        tokens_Nm=scan.tokens_Nm,
        hits=hit_table,
        manifest={},
    )
    monkeypatch.setattr(scanned, "read_scan", lambda _: changed)
    found = find_scanned(Scanned(scan=str(folder), max_distance=4), tokenizer)
    assert found.holding == 1 and as_lists(found.copies[tuple(FIRST)]) == [*NEAR, FAR]


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_no_two_scanned_canaries_are_alike(
    tokenizer: PreTrainedTokenizerFast, monkeypatch: pytest.MonkeyPatch, seed: int
) -> None:
    swapped = (OTHERS[0][1], OTHERS[0][0], *OTHERS[0][2:])  # Jaccard 1 with the first
    one_off = (*OTHERS[1][:9], 98)  # a distance of 1 from the second, Jaccard 9 / 11
    copies = {ids: [near(ids)] for ids in (*OTHERS, swapped, one_off)}
    copies[OTHERS[2]] = [(1, *OTHERS[3])]  # holds another target whole
    copies[OTHERS[4]].append((1, 2, 3))
    copies[OTHERS[5]].append((1, 2, 3))  # the same near-copy
    copies[(7,) * 10] = []
    found = ScanFound(scan="scan", copies=copies, repeated=0, farthest=2)
    monkeypatch.setattr("stillage.mosaic.scanned_canaries.find_scanned", lambda *_: found)
    kinds = [Scanned(scan="scan", max_distance=2)]
    table = scanned_canaries(kinds, 1, tokenizer, max_jaccard=0.9, seed=seed)
    chosen = [tuple(ids) for ids in table["ids"].to_pylist()]
    pairs = ((OTHERS[0], swapped), (OTHERS[1], one_off), OTHERS[2:4], OTHERS[4:])
    assert all(len({*pair} & {*chosen}) == 1 for pair in pairs) and len(chosen) == 4
    assert table["role"].to_pylist() == ["member", "member", "nonmember", "nonmember"]
    about = about_canaries(table)
    assert about["left_out"] == {
        "in near-copies of another": 2,
        "near another": 1,
        "too few near-copies": 1,
        "too similar to another": 1,
    }
    with pytest.raises(DataError, match="unlike each other") as raised:
        copies.pop(OTHERS[4])
        copies.pop(OTHERS[5])
        scanned_canaries(kinds, 1, tokenizer, max_jaccard=0.9, seed=seed)
    assert "1 near another" in str(raised.value) and "max_jaccard" in str(raised.value)
