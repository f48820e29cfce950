"""The fuzzy scan finds what looking at every piece finds, whatever filter it chose; bad input is named."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rapidfuzz.distance import Hamming, Levenshtein
from safetensors.numpy import load_file

from stillage.corpus import count_filter as counting
from stillage.corpus import fuzzy
from stillage.corpus import seed_filter as seeding
from stillage.corpus.count_filter import count_filter
from stillage.corpus.fuzzy import plan_scan, scan, scan_with_plan
from stillage.corpus.near_plan import Metric, Mode, NearPlan
from stillage.corpus.seed_filter import seed_filter
from stillage.errors import ConfigError, DataError, UserError

GOLDEN = Path(__file__).parents[1] / "golden"
DISTANCES = {"levenshtein": Levenshtein.distance, "hamming": Hamming.distance}
Corpus = tuple[list[list[int]], list[list[int]], int]
Row = tuple[int, int, int, int, int]


def rows(table: pa.Table) -> list[Row]:
    """Target, document, start, end, distance."""
    return list(
        zip(
            *[
                table[name].to_pylist()
                for name in ("target", "document", "start", "end", "distance")
            ],
            strict=True,
        )
    )


def nearest_first(hits: list[Row], apart: int, place: int) -> list[Row]:
    """What stays of overlapping hits, one after the other."""
    left, stay = sorted(hits, key=lambda hit: (hit[4], hit[place])), []
    while left:
        stay.append(left[0])
        left = [hit for hit in left if abs(hit[place] - left[0][place]) >= apart]
    return stay


def brute(
    documents: Sequence[list[int]],
    targets: Sequence[list[int]],
    most: int,
    metric: Metric,
    mode: Mode,
    kept: bool,
) -> list[Row]:
    """Every piece of every document, measured."""
    found = []
    for number, target in enumerate(targets):
        length = len(target)
        for document, text in enumerate(documents):
            hits = []
            if mode == "window" or metric == "hamming":
                for start in range(len(text) - length + 1):
                    distance = DISTANCES[metric](target, text[start : start + length])
                    hits += [(number, document, start, start + length, distance)] * (
                        distance <= most
                    )
            else:
                for end in range(1, len(text) + 1):
                    distance, start = min(
                        (Levenshtein.distance(target, text[start:end]), start)
                        for start in range(end)
                    )
                    hits += [(number, document, start, end, distance)] * (distance <= most)
            found += hits if kept else nearest_first(hits, length, 2 if mode == "window" else 3)
    return sorted(found)


def joined(documents: Sequence[list[int]], kind: str = "int64") -> tuple[np.ndarray, np.ndarray]:
    """Tokens and offsets of documents."""
    offsets = np.cumsum([0, *map(len, documents)])
    return np.array([token for text in documents for token in text], dtype=kind), offsets


@st.composite
def corpora(draw: st.DrawFn) -> Corpus:
    """Documents of few kinds of tokens, targets cut from them and changed, and a limit."""
    largest = draw(st.sampled_from([0, 1, 4, 200, 70_000]))
    ids = st.integers(0, largest)
    documents = draw(st.lists(st.lists(ids, max_size=30), min_size=1, max_size=4))
    length = draw(st.sampled_from([1, 2, 3, 6, 11, 20]))
    text, targets = [token for one in documents for token in one], []
    for _ in range(draw(st.integers(1, 3))):
        start = draw(st.integers(0, max(0, len(text) - length)))
        target = text[start : start + length]
        for _ in range(draw(st.integers(0, 4))):
            at, change = draw(st.integers(0, length - 1)), draw(st.integers(0, 2))
            target[at : at + (change != 1)] = [] if change == 0 else [draw(ids)]
        targets.append((target + draw(st.lists(ids, min_size=length, max_size=length)))[:length])
    return documents, targets, draw(st.integers(0, length + 2))


def with_every_filter(plan: NearPlan) -> list[NearPlan]:
    """The plan with each filter that its limit allows, and with none."""
    length, most = plan.targets_NM.shape[1], plan.max_distance
    plans = [replace(plan, counters=(), seeds=None)]
    share_NM = np.full(plan.targets_NM.shape, 0.01)
    for need in {1, length - most} if length > most else ():
        counters = count_filter(
            list(plan.targets_NM[:, -most - need :]),
            np.full(len(plan.targets_NM), need),
            length=length,
        )
        plans.append(replace(plan, counters=(counters,), seeds=None))
    if length > most:
        plans.append(
            replace(plan, counters=(), seeds=seed_filter(plan.targets_NM, most + 1, share_NM))
        )
    return plans


@settings(max_examples=150, deadline=None)
@given(
    corpora(),
    st.sampled_from(["levenshtein", "hamming"]),
    st.sampled_from(["window", "substring"]),
    st.booleans(),
    st.sampled_from([1, 7, 1 << 19]),
)
def test_as_looking_at_every_piece(
    corpus: Corpus, metric: Metric, mode: Mode, kept: bool, batch: int
) -> None:
    documents, targets, most = corpus
    expected = brute(documents, targets, most, metric, mode, kept)
    tokens, offsets = joined(documents)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(fuzzy, "BATCH", batch)
        patch.setattr(fuzzy, "PENDING", 3)
        table = scan(
            tokens,
            offsets,
            targets,
            max_distance=most,
            metric=metric,
            mode=mode,
            suppress_overlaps=not kept,
        )
        assert sorted(rows(table)) == expected
        assert [row[:3] for row in rows(table)] == sorted(row[:3] for row in rows(table))
        plan = plan_scan(tokens, offsets, targets, max_distance=most, metric=metric, mode=mode)
        for other in with_every_filter(plan):
            assert (
                scan_with_plan(tokens, offsets, other, suppress_overlaps=not kept).drop_columns(
                    ["metric"]
                )
                == table
            )


@pytest.mark.parametrize("mode", ["window", "substring"])
@pytest.mark.parametrize(
    ("length", "most", "count"),
    [(100, 50, 70), (130, 60, 3), (300, 200, 3), (64, 63, 2), (65, 20, 70)],
)
def test_long_targets_and_many(length: int, most: int, count: int, mode: Mode) -> None:
    draws = np.random.default_rng(length)
    documents = [
        draws.integers(0, 300, size).tolist() for size in (0, length - 1, length, 2 * length + 7)
    ]
    targets = []
    for number in range(count):
        text = documents[2 + number % 2]
        target = list(text[:length])
        for _ in range(number % (most + 5)):
            at = int(draws.integers(0, length))
            target[at : at + int(draws.integers(0, 2))] = draws.integers(
                0, 300, int(draws.integers(0, 2))
            ).tolist()
        targets.append((target + [1] * length)[:length])
    tokens, offsets = joined(documents, "uint16")
    found = scan(tokens, offsets, targets, max_distance=most, mode=mode)
    few = range(0, count, max(1, count // 3))  # each target for itself
    for number in few:
        alone = scan(tokens, offsets, [targets[number]], max_distance=most, mode=mode)
        assert [row[1:] for row in rows(found) if row[0] == number] == [
            row[1:] for row in rows(alone)
        ]
    shown = [targets[number] for number in few]
    expected = brute(documents, shown[:2], most, "levenshtein", mode, kept=False)
    assert sorted(rows(scan(tokens, offsets, shown[:2], max_distance=most, mode=mode))) == expected
    assert expected


def test_published_scans() -> None:
    """The golden vectors; one loses the last document of each of its chunks, which is a defect."""
    cases = json.loads((GOLDEN / "near_duplicate_scan.json").read_text())["cases"]
    tensors, compared = load_file(GOLDEN / "near_duplicate_scan.safetensors"), 0
    for case in cases:
        inputs = {role: tensors[name] for role, name in case["input_roles"].items()}
        if "corpus" not in inputs:
            continue
        offsets = inputs["document_offsets"].astype(np.int64) // 2
        for metric, key in (
            ("hamming", "near_duplicates_hamming"),
            ("levenshtein", "near_duplicates_edit"),
        ):
            published = {
                (int(t), int(at) // 2, int(d)) for t, at, d in tensors[case["expected"][key]]
            }
            table = scan(
                inputs["corpus"],
                offsets,
                inputs["targets"],
                max_distance=case["options"]["max_distance"],
                metric=metric,
            )  # type: ignore[arg-type]
            ours = {
                (t, int(offsets[d]) + start, distance) for t, d, start, _, distance in rows(table)
            }
            assert published <= ours
            assert published == ours or case["name"] == "chunked_scan"
            compared += 1
    assert compared == 12


@pytest.mark.parametrize("most", [1, 4])
def test_where_more_is_found_than_there_is_room_for(
    most: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    tokens = np.tile(np.arange(12, dtype=np.uint16), 40)
    asked = (tokens, np.array([0, len(tokens)]), [np.arange(6), np.arange(1, 7)])
    expected = scan(*asked, max_distance=most)
    assert len(expected) == 80
    for module in (counting, fuzzy, seeding):
        monkeypatch.setattr(module, "ROOM", 1)
    assert scan(*asked, max_distance=most) == expected


def test_a_batch_of_a_real_text_is_counted_once(monkeypatch: pytest.MonkeyPatch) -> None:
    rounds, kernel = [], counting.counting_kernel

    def counted(words: int, planes: int) -> Callable[..., int]:
        return lambda *given: rounds.append(1) or kernel(words, planes)(*given)

    tokens = np.tile(np.arange(100, dtype=np.uint32), 400)
    plan = plan_scan(tokens, np.array([0, len(tokens)]), [np.arange(20)], max_distance=10)
    monkeypatch.setattr(counting, "counting_kernel", counted)
    block, _ = counting.candidates(tokens, plan.counters[0])
    assert len(block) > 1024 and len(rounds) == 1


def test_a_larger_limit_loses_nothing() -> None:
    for mode in ("window", "substring"):
        for most in (0, 1, 2, 3, 2**40, 10**30):
            table = scan(
                np.zeros(3, np.uint8),
                [0, 3],
                [[0]],
                max_distance=most,
                mode=mode,
                suppress_overlaps=False,
            )
            assert rows(table) == [(0, 0, at, at + 1, 0) for at in range(3)]


def test_indels_move_the_end() -> None:
    target = list(range(10, 30))
    text = [1, 2, *target[:5], 99, 98, *target[5:], 3]
    (hit,) = rows(scan(np.array(text), [0, len(text)], [target], max_distance=2, mode="substring"))
    assert hit == (0, 0, 2, 24, 2)
    text = [1, 2, *target[:5], *target[8:], 3]
    (hit,) = rows(scan(np.array(text), [0, len(text)], [target], max_distance=3, mode="substring"))
    assert hit == (0, 0, 2, 19, 3)


def test_any_array_and_nothing_changed(tmp_path: Path) -> None:
    draws = np.random.default_rng(0)
    plain, offsets, target = (
        draws.integers(0, 5, 400),
        np.array([0, 150, 150, 400]),
        [[0, 1, 2, 3, 4, 0, 1]],
    )
    expected = scan(plain, offsets, target, max_distance=3)
    assert expected.num_rows
    strided = np.repeat(plain.astype(np.int16), 3)[::3]
    strided.flags.writeable = False
    plain.astype(np.uint16).tofile(tmp_path / "tokens")
    mapped = np.memmap(tmp_path / "tokens", dtype=np.uint16, mode="r")
    for tokens in (strided, mapped, plain.astype(np.uint32)):
        before = np.array(tokens)
        assert scan(tokens, offsets, target, max_distance=3) == expected
        assert (before == tokens).all()


def test_nothing_found_keeps_columns_and_types() -> None:
    found = scan(np.arange(20), [0, 20], [[50, 51, 52]], max_distance=1)
    assert (found.num_rows, {field.name: str(field.type) for field in found.schema}) == (
        0,
        {
            "target": "int32",
            "document": "int64",
            "start": "int64",
            "end": "int64",
            "distance": "int32",
        },
    )
    assert (
        scan(np.zeros(0, np.uint16), [0, 0], [[1, 2]], max_distance=1).num_rows == 0
    )  # one empty document
    assert (
        scan(np.arange(5), [0, 5], [list(range(9))], max_distance=2).num_rows == 0
    )  # longer than any document


def test_ids_beyond_16_bits_are_themselves() -> None:
    tokens = np.array([70_000, 4_464, 2**32 - 1], dtype=np.uint64)
    assert rows(scan(tokens, [0, 3], [[70_000], [4_464], [2**32 - 1]], max_distance=0)) == [
        (n, 0, n, n + 1, 0) for n in range(3)
    ]


@pytest.mark.parametrize(
    ("change", "kind", "words"),
    [
        ({"offsets": [0]}, DataError, "documents: 0"),
        ({"offsets": [0, 9]}, DataError, "tokens: 20"),
        ({"offsets": [0, 12, 8, 20]}, DataError, "offset 2 is smaller"),
        ({"targets": []}, DataError, "targets: 0"),
        ({"targets": [[]]}, DataError, "empty"),
        ({"targets": [[1, 2], [1]]}, DataError, "target 0: 2 tokens; target 1: 1"),
        ({"targets": [[1, 2], [1, -3]]}, DataError, "target 1, token 1: -3"),
        ({"targets": [[1, 2**32]]}, DataError, "4294967296"),
        ({"targets": [[0.5]]}, DataError, "float64"),
        ({"tokens": np.full(20, -1)}, DataError, "token 0 is -1"),
        ({"tokens": np.zeros((4, 5), int)}, DataError, "[4, 5]"),
        ({"tokens": np.zeros(20)}, DataError, "float64"),
        ({"max_distance": -1}, ConfigError, "max_distance: -1"),
        ({"max_distance": 1.5}, ConfigError, "1.5"),
        ({"metric": "levenstein"}, ConfigError, "Did you mean levenshtein"),
        ({"metric": "both"}, ConfigError, "one metric"),
        ({"mode": "piece"}, ConfigError, "window, substring"),
    ],
)
def test_bad_input_is_named(change: dict, kind: type[UserError], words: str) -> None:
    given_ = {
        "tokens": np.arange(20),
        "offsets": [0, 20],
        "targets": [[1, 2]],
        "max_distance": 1,
    } | change
    with pytest.raises(kind, match=r"(?s).*") as error:
        scan(given_.pop("tokens"), given_.pop("offsets"), given_.pop("targets"), **given_)
    assert words in str(error.value)
