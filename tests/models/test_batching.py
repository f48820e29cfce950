"""Batches: every row once, in its place, however they are cut and however often memory runs out."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from stillage.errors import UserError
from stillage.models.batching import attempt, out_of_memory, run_batches


@settings(deadline=None, max_examples=60)
@given(
    lengths=st.lists(st.integers(0, 40), min_size=1, max_size=30),
    limit=st.integers(1, 100),
    kinds=st.integers(1, 3),
)
def test_every_row_is_in_one_batch_of_one_kind_within_the_limit(
    lengths: list[int], limit: int, kinds: int
) -> None:
    kind_of, seen = [k % kinds for k in range(len(lengths))], list[list[int]]()
    run_batches(lengths, limit, seen.append, kinds=kind_of)
    assert sorted(row for batch in seen for row in batch) == list(range(len(lengths)))
    for batch in seen:
        assert len({kind_of[row] for row in batch}) == 1
        longest = max(1, *(lengths[row] for row in batch))
        assert len(batch) == 1 or len(batch) * longest <= limit


def test_the_longest_row_comes_first_and_progress_ends_at_one() -> None:
    seen, shares = list[list[int]](), list[tuple[int, int, float]]()
    run_batches(
        [3, 9, 5],
        9,
        seen.append,
        lambda done, of, share: shares.append((done, of, share)),
        kinds="aaa",
    )
    assert seen == [[1], [2], [0]]
    assert shares[0] == (1, 3, pytest.approx(9 / 17)) and shares[-1] == (3, 3, 1.0)


def test_half_as_many_rows_are_tried_where_memory_runs_out() -> None:
    sizes, done = list[int](), list[int]()

    def run(batch: list[int]) -> None:
        sizes.append(len(batch))
        if len(batch) > 2:
            raise torch.OutOfMemoryError("too many")
        done.extend(batch)

    run_batches([4] * 8, 32, run, kinds=[0] * 8)
    assert sizes == [8, 4, 2, 2, 2, 2] and sorted(done) == list(range(8))


def test_a_single_row_that_does_not_fit_is_the_users_to_mend() -> None:
    def run(batch: list[int]) -> None:
        raise MemoryError

    with pytest.raises(UserError, match="single record"):
        run_batches([7], 100, run, kinds=[0])


def test_other_errors_are_not_taken_for_a_lack_of_memory() -> None:
    def broken(batch: list[int]) -> None:
        raise RuntimeError("shapes do not fit")

    with pytest.raises(RuntimeError, match="shapes"):
        attempt(broken, [0])
    assert out_of_memory(RuntimeError("DefaultCPUAllocator: can't allocate memory"))
    assert out_of_memory(MemoryError()) and not out_of_memory(ValueError("no"))
