"""The time left of a scan, with simulated clocks: what is told is near what it takes."""

from __future__ import annotations

import heapq
import itertools

import pytest

from stillage.corpus.scan_part_file import PartFacts
from stillage.corpus.scan_parts import Part
from stillage.corpus.scan_progress import Count

TOKENS = 1000


def simulated(
    monkeypatch: pytest.MonkeyPatch, *, workers: int, parts: int, ready_s: float
) -> list[tuple[float, float]]:
    """Scan parts of about 10 s each: (time left as told, as it was), a pair a part."""
    ends = [(ready_s + 10 + 0.1 * worker, worker) for worker in range(workers)]
    heapq.heapify(ends)
    now_s, told, passed = 0.0, list[float](), list[float]()
    monkeypatch.setattr("stillage.corpus.scan_progress.time.monotonic", lambda: now_s)
    count = Count(
        progress=lambda name, facts: told.append(facts["eta_s"]),
        of=parts * TOKENS,
        done=0,
        workers=workers,
    )
    for number in range(parts):
        now_s, worker = heapq.heappop(ends)
        part = Part(number=number, shard=0, first=0, end=1)
        count.heard(PartFacts(plan="", part=part, documents=1, tokens=TOKENS, rows=0))
        passed.append(now_s)
        heapq.heappush(ends, (now_s + 10, worker))
    return list(zip(told, [now_s - one for one in passed], strict=True))


@pytest.mark.parametrize("workers", [1, 8])
@pytest.mark.parametrize("ready_s", [0, 20])
def test_the_time_left_is_never_far_too_small(
    monkeypatch: pytest.MonkeyPatch, workers: int, ready_s: float
) -> None:
    pairs = simulated(monkeypatch, workers=workers, parts=30 * workers, ready_s=ready_s)
    for told, real in pairs[:-workers]:
        assert 0.8 * real <= told <= 4 * real
    for told, real in itertools.islice(pairs, 7 * workers, len(pairs) - workers):
        assert told == pytest.approx(real, rel=0.35, abs=10)  # a part more or less
    assert pairs[-1] == (0, 0)


def test_what_was_done_before_counts_for_no_speed(monkeypatch: pytest.MonkeyPatch) -> None:
    times = iter([0.0, 10.0])
    monkeypatch.setattr("stillage.corpus.scan_progress.time.monotonic", lambda: next(times))
    told: list[object] = []
    count = Count(
        progress=lambda name, facts: told.append((facts["done"], facts["eta_s"])),
        of=10 * TOKENS,
        done=7 * TOKENS,
    )
    part = Part(number=0, shard=0, first=0, end=1)
    count.heard(PartFacts(plan="", part=part, documents=1, tokens=TOKENS, rows=0))
    assert told == [(8 * TOKENS, 20.0)]
